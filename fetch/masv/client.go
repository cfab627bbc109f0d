// Package masv speaks to the MASV cloud: it reads links, opens them, lists
// the files of their packages and asks where a file's bytes lie.
//
// It promises that an error says what kind of failure it is (see the Err…
// classes and Temporary), that nothing secret is in any error or any value
// that can be printed, and that secrets go to the API's own server only: a
// redirect is followed to the same scheme, host and port alone. What the
// server says is not trusted: every answer is bounded in size and in time,
// and the listing, which may hold a million entries, is handed out while it
// arrives.
//
// One call is one attempt. When to try again, and what to do with an answer,
// is the caller's to decide; the package knows nothing of disks, databases or
// of the bytes of files.
package masv

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is where MASV's API lives.
const DefaultBaseURL = "https://api.massive.app/v1"

// Config says how a Client reaches the API. The zero Config is MASV's own.
type Config struct {
	BaseURL   string            // http or https, its path is kept; empty: DefaultBaseURL
	Transport http.RoundTripper // nil: http.DefaultTransport
	UserAgent string            // empty: "masvfs"
	Timeout   time.Duration     // for a whole answer, and between two reads of a listing; 0: 30 s
}

// Client makes the calls of the API. It is safe for concurrent use.
type Client struct {
	base      string // without a trailing slash
	transport http.RoundTripper
	userAgent string
	timeout   time.Duration
}

// NewClient returns a Client; it makes no call. The error says what is wrong
// with the configuration.
func NewClient(cfg Config) (*Client, error) {
	base, err := baseURL(cmp.Or(cfg.BaseURL, DefaultBaseURL))
	if err != nil {
		return nil, fmt.Errorf("address of the MASV API: %w", err)
	}
	c := &Client{
		base:      base,
		transport: cfg.Transport,
		userAgent: cmp.Or(cfg.UserAgent, "masvfs"),
		timeout:   cmp.Or(cfg.Timeout, 30*time.Second),
	}
	if c.transport == nil {
		c.transport = http.DefaultTransport
	}
	if !sendable(c.userAgent) {
		return nil, errors.New("user agent: has a character that cannot be sent")
	}
	if c.timeout < 0 {
		return nil, fmt.Errorf("timeout of the MASV API: %v is negative", c.timeout)
	}
	return c, nil
}

// baseURL checks the address of the API. Its errors do not quote the text,
// which may hold a password.
func baseURL(text string) (string, error) {
	u, err := url.Parse(text)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the text around it quotes the address
	}
	switch {
	case err != nil:
		return "", err
	case u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("must begin with https:// or http://")
	case u.Hostname() == "":
		return "", errors.New("has no host")
	case u.User != nil:
		return "", errors.New("must not hold a user name or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("must not hold a '?' or '#'")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// sendable reports whether text can be the value of a header field.
// Source: RFC 9110, section 5.5.
func sendable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
