package transfer

import (
	"cmp"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// An answer is what the head of a good response promises of its body.
type answer struct {
	Span
	whole   bool   // the body is the object from its first byte, and not a range
	version string // ETag, else Last-Modified, else ""
	counted bool   // the head says how long the body is
}

// read judges the head of a response to a request for a span of an object
// that must have size bytes.
func read(resp *http.Response, want Span, size int64) (answer, error) {
	a := answer{
		Span:    Span{0, size},
		version: cmp.Or(resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")),
		counted: resp.ContentLength >= 0,
	}
	switch status := resp.StatusCode; {
	case status == http.StatusPartialContent:
		start, end, total, ok := parseContentRange(resp.Header.Get("Content-Range"))
		switch {
		case !ok:
			return a, &senseless{"storage sends a part without a usable Content-Range"}
		case total != size:
			return a, &wrongLength{fmt.Sprint(total), size}
		case start != want.Start || end > want.End:
			return a, &senseless{fmt.Sprintf("storage sends the bytes %d to %d in place of %d to %d", start, end, want.Start, want.End)}
		}
		a.Span = Span{start, end}
	case status == http.StatusOK:
		a.whole = true
		// A page of a proxy or of the line's own log-in, in the object's place,
		// says nothing about the object. It goes away again.
		if typ, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); typ == "text/html" && resp.ContentLength != size {
			return a, &unavailable{status: status}
		}
		if a.counted && resp.ContentLength != size {
			return a, &wrongLength{fmt.Sprint(resp.ContentLength), size}
		}
	case status == http.StatusRequestedRangeNotSatisfiable:
		has := "fewer"
		if total, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes */"); ok {
			if n, ok := parseCount(total); ok {
				has = fmt.Sprint(n)
			}
		}
		return a, &wrongLength{has, size}
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return a, &unavailable{status, parseRetryAfter(resp.Header, time.Now())}
	default:
		return a, &refusal{fmt.Sprintf("storage answers %d", status)}
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return a, &senseless{"storage sends the object encoded, which nobody asked for"}
	}
	if !a.whole && a.counted && resp.ContentLength != a.Len() {
		return a, &senseless{fmt.Sprintf("storage sends %d bytes as the bytes %d to %d", resp.ContentLength, a.Start, a.End)}
	}
	return a, nil
}

// short is the error for a body that has ended at the offset at, too early.
func (a answer) short(resp *http.Response, at int64) error {
	if a.whole && len(resp.TransferEncoding) > 0 {
		return &wrongLength{fmt.Sprint(at), a.End} // a chunked body that ends is complete
	}
	return errTruncated
}

// finish makes sure that a body whose length the head did not tell ends where
// it should: the object may be longer than it ought to be.
func (a answer) finish(c *claim, body io.Reader) error {
	var one [1]byte
	for {
		c.listen()
		n, err := body.Read(one[:])
		c.heard()
		switch {
		case n > 0 && a.whole:
			return &wrongLength{"more", a.End}
		case n > 0 || err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// parseContentRange parses "bytes FIRST-LAST/TOTAL", RFC 9110, section 14.4;
// end is LAST + 1.
func parseContentRange(text string) (start, end, total int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	if !ok {
		return 0, 0, 0, false
	}
	span, size, _ := strings.Cut(text, "/")
	first, last, _ := strings.Cut(span, "-")
	start, ok1 := parseCount(first)
	end, ok2 := parseCount(last)
	total, ok3 := parseCount(size)
	end++
	return start, end, total, ok1 && ok2 && ok3 && start < end && end <= total
}

// parseCount parses a number of bytes: digits, nothing else.
func parseCount(text string) (int64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err == nil
}

// parseRetryAfter returns the pause that a server asks for, in seconds or as a
// date, RFC 9110, section 10.2.3.
func parseRetryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, ok := parseCount(text); ok {
		return time.Duration(min(n, int64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date // two moments of one clock, whatever this machine's says
	}
	return max(0, at.Sub(now))
}
