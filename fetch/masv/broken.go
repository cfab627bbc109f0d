package masv

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
)

// broken makes the error of a call whose connection failed, or whose answer
// ended early.
func (k *call) broken(err error) *Error {
	if ended := k.caller.Err(); ended != nil {
		return k.fail(nil, ended)
	}
	if k.ctx.Err() != nil {
		return k.fail(ErrUnavailable, fmt.Errorf("%w for %v", errSilent, k.timeout))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return k.fail(ErrUnavailable, &cause{"the answer was cut short", err})
	}
	return k.fail(ErrUnavailable, explain(err, k.secrets()))
}

// undecodable makes the error of a call whose answer could not be decoded, or
// not be read to its end; what names the part of the answer it is about. The
// texts of encoding/json are not used: they quote what the server sent.
func (k *call) undecodable(what string, err error) *Error {
	if shape, ok := errors.AsType[shapeError](err); ok {
		return k.invalid("%s %w", what, shape)
	}
	if errors.Is(err, errPage) {
		return k.fail(ErrUnavailable, errPage)
	}
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if typ.Field == "" {
			return k.invalid("%s is not a JSON object", what)
		}
		return k.invalid("%s has a value of a wrong kind in %q", what, clean(typ.Field))
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return k.invalid("%s is not valid JSON (at byte %d)", what, syntax.Offset)
	}
	return k.broken(err)
}

// shapeError says in which way a part of an answer is not as documented.
type shapeError string

func (e shapeError) Error() string { return string(e) }

// cause is a foreign error with a text that is fit to be shown. The error
// itself can be asked for by kind, not printed: its text may quote an
// address with a secret in it, or what the server sent.
type cause struct {
	text string
	err  error
}

func (c *cause) Error() string        { return c.text }
func (c *cause) Is(target error) bool { return errors.Is(c.err, target) }
func (c *cause) As(target any) bool   { return errors.As(c.err, target) }

var quotation = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// explain says plainly why no answer came.
func explain(err error, secrets []Secret) error {
	inner := err
	for wrapped, ok := errors.AsType[*url.Error](inner); ok; wrapped, ok = errors.AsType[*url.Error](inner) {
		inner = wrapped.Err
	}
	if untrusted, ok := errors.AsType[*tls.CertificateVerificationError](inner); ok {
		return &cause{"the server's certificate is not trusted: " + clean(untrusted.Err.Error(), secrets...), inner}
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](inner); ok {
		return &cause{"the server does not speak TLS, which https:// needs", inner}
	}
	// Addresses, names and the system's words: nothing that the server chose.
	if network, ok := errors.AsType[*net.OpError](inner); ok {
		return &cause{network.Error(), inner}
	}
	// What is quoted is an address, or what the server sent.
	if text := clean(quotation.ReplaceAllString(inner.Error(), `"…"`), secrets...); text != "" {
		return &cause{text, inner}
	}
	return &cause{"the connection failed", inner}
}
