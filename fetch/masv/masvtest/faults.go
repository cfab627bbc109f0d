package masvtest

import (
	"net/http"
	"time"
)

// Status answers with that status and the usual error body.
func Status(status int) *Fault { return &Fault{Status: status} }

// Busy answers with that status, usually 429 or 503, and Retry-After.
func Busy(status int, retryAfter time.Duration) *Fault {
	return &Fault{Status: status, RetryAfter: retryAfter}
}

// HTML answers with a page, as a proxy does in place of the server.
func HTML(status int) *Fault {
	return &Fault{
		Status:      status,
		ContentType: "text/html; charset=utf-8",
		Body:        "<!DOCTYPE html>\n<html><head><title>Gateway</title></head><body><h1>" + http.StatusText(status) + "</h1></body></html>\n",
	}
}

// JSON answers 200 with that text, which may be anything but what it should be.
func JSON(text string) *Fault { return &Fault{Status: http.StatusOK, Body: text} }

// Redirect answers with that status and the same path and query at base
// ("http://host:port"), or, if base is "self", at the host asked: a loop.
func Redirect(status int, base string) *Fault { return &Fault{Status: status, Location: base} }

// Reset resets the connection in place of an answer.
func Reset() *Fault { return &Fault{Ending: EndReset, After: BeforeHeader} }

// ResetAfter resets the connection after n bytes of the body. The client may
// get fewer: what was under way is lost, as in life.
func ResetAfter(n int64) *Fault { return &Fault{Ending: EndReset, After: n} }

// Truncate closes the connection cleanly after n bytes of the body.
func Truncate(n int64) *Fault { return &Fault{Ending: EndClose, After: n} }

// Cut ends the body after n bytes as if that were all, which cuts JSON in two.
func Cut(n int64) *Fault { return &Fault{Ending: EndCut, After: n} }

// Stall sends nothing in place of an answer, until the client gives up.
func Stall() *Fault { return &Fault{Ending: EndStall, After: BeforeHeader} }

// StallAfter sends n bytes of the body, then nothing until release is closed
// (nil: never) or the client gives up.
func StallAfter(n int64, release <-chan struct{}) *Fault {
	return &Fault{Ending: EndStall, After: n, Release: release}
}

// Delay answers as it should, but later.
func Delay(d time.Duration) *Fault { return &Fault{Latency: d} }

// Slow sends the body at that rate.
func Slow(bytesPerSecond int64) *Fault { return &Fault{Rate: bytesPerSecond} }

// Whole ignores Range: 200 and the whole object.
func Whole() *Fault { return &Fault{Whole: true} }

// WrongRange serves another range, shift bytes further on, and says so.
func WrongRange(shift int64) *Fault { return &Fault{Shift: shift} }

// WrongLength serves delta bytes too many, or too few if it is negative, under
// a Content-Length to match.
func WrongLength(delta int64) *Fault { return &Fault{ExtraBytes: delta} }

// WrongContentRange serves the right bytes under that Content-Range; "" leaves
// the header out.
func WrongContentRange(value string) *Fault { return withHeader("Content-Range", value) }

// WrongETag serves the right bytes under that ETag; "" leaves the header out.
func WrongETag(value string) *Fault { return withHeader("Etag", value) }

// Gzip compresses the body, though nobody asked for it.
func Gzip() *Fault { return &Fault{Gzip: true} }

// NewVersion replaces the object by content of that seed, with another ETag,
// just before it is served.
func NewVersion(seed uint64) *Fault { return &Fault{NewSeed: seed} }

func withHeader(key, value string) *Fault {
	return &Fault{Header: func(h http.Header) {
		if value == "" {
			h.Del(key)
		} else if h.Get(key) != "" { // not on error answers, which have none
			h.Set(key, value)
		}
	}}
}
