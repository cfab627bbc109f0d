package transfer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Why a file failed for good: Supply.Done gets an error that wraps one of
// these, or what a Source marked with Permanent.
var (
	ErrRefused = errors.New("the storage refuses the file")                 // also with fresh URLs
	ErrChanged = errors.New("the stored object is not the one listed")      // its size differs, or it changes all the time
	ErrInvalid = errors.New("the storage gives answers that make no sense") // again and again
)

// Permanent marks an error of a Source: this file has failed for good.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// Abort marks an error of a Source, Supply or Sink: the whole job stops, and
// Run returns err.
func Abort(err error) error {
	if err == nil {
		return nil
	}
	return &abortError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

type abortError struct{ err error }

func (e *abortError) Error() string { return e.err.Error() }
func (e *abortError) Unwrap() error { return e.err }

// What an attempt may end with, beside what the network says. judge, in
// verdict.go, decides what follows from each.
type (
	// refusal: this URL does not give the bytes.
	refusal struct{ what string }
	// wrongLength: the object has another size than the file.
	wrongLength struct {
		has    string // a number, or what is known of it
		listed int64
	}
	// senseless: an answer that breaks the protocol.
	senseless struct{ what string }
	// unavailable: the storage asks to come back later.
	unavailable struct {
		status int
		after  time.Duration
	}
)

func (e *refusal) Error() string   { return e.what }
func (e *senseless) Error() string { return e.what }
func (e *wrongLength) Error() string {
	return fmt.Sprintf("object has %s bytes, listing says %d", e.has, e.listed)
}
func (e *unavailable) Error() string {
	if e.status == http.StatusOK {
		return "a web page answers in the storage's place"
	}
	return fmt.Sprintf("storage answers %d", e.status)
}
func (e *unavailable) RetryAfter() time.Duration { return e.after }

var (
	errOtherVersion = errors.New("the stored object was replaced while it was being fetched")
	errUnguarded    = errors.New("storage sends the whole object again, and nothing tells that it is the same one")
	errDropped      = errors.New("the bytes asked for are no longer wanted")
	errStalled      = errors.New("no byte arrived for too long")
	errSilent       = errors.New("no byte arrived for a while, another connection is tried")
	errYield        = errors.New("another job is given the connection")
	errTruncated    = errors.New("the answer ended before its time")
)

// retryAfter is the pause that err asks for, within reason.
func retryAfter(err error) time.Duration {
	var asks interface{ RetryAfter() time.Duration }
	if !errors.As(err, &asks) {
		return 0
	}
	return min(max(asks.RetryAfter(), 0), maxRetryAfter)
}

// maxRetryAfter bounds what a server can ask for, so that a mistyped date
// does not put a file to sleep for years.
const maxRetryAfter = 10 * time.Minute

// foreign is an error of the network with a text that the storage has no part
// in. The error itself can be asked for by kind, not printed.
type foreign struct {
	text string
	err  error
}

func (e *foreign) Error() string        { return e.text }
func (e *foreign) Is(target error) bool { return errors.Is(e.err, target) }
func (e *foreign) As(target any) bool   { return errors.As(e.err, target) }

// sayable gives an error that came of a request a text that can be shown.
// Package net/http quotes what it cannot parse, and a storage that sends back
// what it was asked for would have the signed URL in the log.
func sayable(err error) error {
	var (
		network   *net.OpError
		refused   *refusal
		length    *wrongLength
		nonsense  *senseless
		untrusted *tls.CertificateVerificationError
		noTLS     tls.RecordHeaderError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused), errors.As(err, &length), errors.As(err, &nonsense):
		return err
	case errors.As(err, &untrusted):
		return &foreign{"the storage's certificate is not trusted", err}
	case errors.As(err, &noTLS):
		return &foreign{"the storage does not speak TLS, which https:// needs", err}
	case errors.As(err, &network):
		return &foreign{network.Error(), err} // addresses, names and the system's words
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &foreign{"the connection was closed before its time", err}
	}
	return &foreign{"the connection failed, or what came over it was not HTTP", err}
}
