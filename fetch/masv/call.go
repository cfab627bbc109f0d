package masv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxRedirects bounds how many redirects a call follows.
const maxRedirects = 5

// request is what a call asks for.
type request struct {
	op       string   // what is being done, to what: every error begins with it
	path     []string // below the API's address, to be escaped one by one
	secret   Secret   // of a link; empty: none
	password Secret   // of a link; empty: none
	token    Secret   // of a package; empty: none
	direct   bool     // a redirect is the answer, not to be followed
}

// call is one attempt at a request: a bounded time, and in the end an answer.
// It belongs to one goroutine.
type call struct {
	request
	caller  context.Context // what the caller may end
	ctx     context.Context // ends with caller, or when silence runs out
	cancel  context.CancelCauseFunc
	timeout time.Duration
	silence *time.Timer    // runs while something is awaited of the server
	resp    *http.Response // the last answer; nil: none yet

	protected bool // the API is asked over TLS
}

// errSilent ends a call whose server kept it waiting.
var errSilent = errors.New("the server fell silent")

// start makes the call and returns it with an answer that is one (a 2xx with
// a body or, where asked for, a redirect) and the time for it still running.
// The caller must close the call. Errors are *Error.
func (c *Client) start(caller context.Context, r request) (*call, error) {
	k := &call{request: r, caller: caller, timeout: c.timeout, protected: strings.HasPrefix(c.base, "https:")}
	ctx, cancel := context.WithCancelCause(caller)
	k.ctx, k.cancel = ctx, cancel
	k.silence = time.AfterFunc(c.timeout, func() { cancel(errSilent) })
	if err := k.send(c); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

// close gives back all that the call holds.
func (k *call) close() {
	k.silence.Stop()
	k.cancel(nil)
	if k.resp != nil {
		k.resp.Body.Close()
	}
}

// send asks until there is an answer that is no redirect. It uses the
// transport, not an http.Client, because the latter tells every redirect's
// target in a Referer where it came from, secret included.
func (k *call) send(c *Client) error {
	req, err := k.first(c)
	if err != nil {
		return err
	}
	for hops := 0; ; hops++ {
		resp, err := c.transport.RoundTrip(req)
		if err != nil {
			return k.broken(err)
		}
		k.resp = resp
		switch {
		case answered(resp.StatusCode):
			return nil
		case !redirects(resp.StatusCode):
			return k.refused()
		}
		io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
		if k.direct {
			return nil
		}
		if hops == maxRedirects {
			return k.invalid("more than %d redirects", maxRedirects)
		}
		next, err := k.target(req.URL)
		if err != nil {
			return err
		}
		resp.Body.Close()
		k.resp = nil
		req = req.Clone(k.ctx)
		req.URL, req.Host = next, ""
	}
}

// first builds the request itself.
func (k *call) first(c *Client) (*http.Request, error) {
	var address strings.Builder
	address.WriteString(c.base)
	for _, segment := range k.path {
		if segment == "" || segment == "." || segment == ".." {
			return nil, k.invalid("%q is no identifier", segment)
		}
		address.WriteString("/" + url.PathEscape(segment))
	}
	if k.secret != "" {
		address.WriteString("?secret=" + url.QueryEscape(k.secret.Reveal()))
	}
	req, err := http.NewRequestWithContext(k.ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, k.invalid("no address can be made of it")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	if !sendable(k.password.Reveal()) {
		// No link can have such a password: the API takes it in a header.
		return nil, k.fail(ErrDenied, errors.New("the password has a character that cannot be sent, a line break perhaps"))
	}
	if k.password != "" {
		req.Header.Set("X-Link-Password", k.password.Reveal())
	}
	if !sendable(k.token.Reveal()) {
		return nil, k.invalid("the package token has a character that cannot be sent")
	}
	if k.token != "" {
		req.Header.Set("X-Package-Token", k.token.Reveal())
	}
	return req, nil
}

// target returns where a redirect leads, if it may be followed there.
func (k *call) target(from *url.URL) (*url.URL, error) {
	location := k.resp.Header.Get("Location")
	if location == "" {
		return nil, k.invalid("a redirect that leads nowhere")
	}
	to, err := from.Parse(location)
	if err != nil {
		return nil, k.invalid("a redirect to what is no address")
	}
	if !sameServer(from, to) {
		return nil, k.invalid("a redirect to another server (%s), which gets no secrets", clean(to.Scheme+"://"+to.Host, k.secrets()...))
	}
	return to, nil
}

// sameServer reports whether a and b have scheme, host and port in common.
func sameServer(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// secrets returns what must not be seen in anything that the server says.
func (k *call) secrets() []Secret { return []Secret{k.secret, k.password, k.token} }

// fail makes the error of the call.
func (k *call) fail(class, err error) *Error {
	e := &Error{Op: k.op, Class: class, Err: err}
	if k.resp != nil {
		e.Status = k.resp.StatusCode
	}
	return e
}

func (k *call) invalid(format string, args ...any) *Error {
	return k.fail(ErrInvalid, fmt.Errorf(format, args...))
}

// errPage is a login page of a network, or a proxy's own, where JSON should be.
var errPage = errors.New("a web page came in place of an answer; does this network ask for a login?")

// isPage reports whether the answer says of itself that it is a web page.
func (k *call) isPage() bool {
	kind, _, _ := mime.ParseMediaType(k.resp.Header.Get("Content-Type"))
	return kind == "text/html" || kind == "application/xhtml+xml"
}
