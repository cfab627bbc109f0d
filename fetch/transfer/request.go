package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxRedirects is how many redirects of one request are followed.
const maxRedirects = 5

// get asks for a span of the object at rawURL, if its version is still that
// one where a version is known, and follows redirects. It does so by itself
// because http.Client would send a Referer, which is the pre-signed URL, and
// name URLs in its errors.
func (e *Engine) get(ctx context.Context, rawURL string, want Span, version string) (*http.Response, error) {
	at, err := url.Parse(rawURL)
	if err != nil {
		return nil, &refusal{"the URL of the object cannot be parsed"}
	}
	for hops := 0; ; hops++ {
		if at.Scheme != "http" && at.Scheme != "https" || at.Host == "" {
			return nil, &refusal{"the URL of the object is not one of HTTP"}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return nil, &refusal{"the URL of the object cannot be used"}
		}
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", want.Start, want.End-1))
		if v := validator(version); v != "" {
			req.Header.Set("If-Range", v)
		}
		if e.cfg.UserAgent != "" {
			req.Header.Set("User-Agent", e.cfg.UserAgent)
		}
		resp, err := e.cfg.Transport.RoundTrip(req)
		if barred, ok := errors.AsType[forbidden](err); ok {
			return nil, &refusal{"the URL of the object leads to where it must not: " + barred.Error()}
		}
		if err != nil {
			return nil, err
		}
		if !redirects(resp.StatusCode) {
			return resp, nil
		}
		drain(resp)
		if hops == maxRedirects {
			return nil, &refusal{fmt.Sprintf("storage redirects more than %d times", maxRedirects)}
		}
		to := resp.Header.Get("Location")
		next, err := at.Parse(to)
		if to == "" || err != nil {
			return nil, &refusal{"storage redirects to nowhere"}
		}
		if at.Scheme == "https" && next.Scheme != "https" {
			return nil, &refusal{"storage redirects from HTTPS to an unprotected address"}
		}
		at = next
	}
}

// forbidden is an error of the transport that says that an address may not be
// asked at all. Time does not mend that, another URL may.
type forbidden interface {
	error
	Forbidden() bool
}

func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// validator returns what If-Range may carry for a version: a strong entity tag
// or a date, RFC 9110, section 13.1.5; else "".
func validator(version string) string {
	if strings.HasPrefix(version, `"`) {
		return version
	}
	if _, err := http.ParseTime(version); err == nil {
		return version
	}
	return ""
}

// drain ends an answer whose body is of no interest. A short body is read, so
// that the connection can be used again.
func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, 4<<10)
	resp.Body.Close()
}
