package masvtest

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"
)

// answer writes one answer with what is wrong with it.
type answer struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	call   Call
	fault  Fault
	note   func(n int64) // told how many bytes of the body go out; may be nil

	sent  int64 // bytes of the body
	ended bool  // the ending has happened
	pace  pacer
}

// errCut makes a handler stop after EndCut.
var errCut = errors.New("answer cut short on purpose")

// answer begins the answer to a call; it has counted the call. It reports
// false if the fault was all of the answer.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, req Request) (*answer, bool) {
	req.Method = r.Method
	a := &answer{server: s, w: w, r: r, call: req.Call, fault: s.fault(req)}
	s.counts.called(req.Call)
	a.wait(a.fault.Latency, nil)
	if a.fault.Ending != EndWhole && a.fault.After < 0 {
		a.end()
	}
	if a.fault.Status == 0 {
		return a, true
	}
	h := w.Header()
	if wait := a.fault.RetryAfter; wait > 0 {
		h.Set("Retry-After", seconds(wait))
	}
	if to := a.fault.Location; to != "" {
		if to == "self" {
			to = ""
		}
		h.Set("Location", to+r.URL.RequestURI())
	}
	switch {
	case a.fault.Body != "":
		a.body(a.fault.Status, a.fault.ContentType, a.fault.Body)
	case req.Call == CallStorage:
		a.storageError(a.fault.Status, "InternalError", http.StatusText(a.fault.Status))
	default:
		a.fail(a.fault.Status, http.StatusText(a.fault.Status))
	}
	return a, false
}

// begin sends the header.
func (a *answer) begin(status int) {
	if a.fault.Header != nil {
		a.fault.Header(a.w.Header())
	}
	a.server.counts.status(a.call, status)
	a.w.WriteHeader(status)
	// Here, because no Write may follow; a cut is nothing to an empty body.
	if a.fault.After == 0 && !a.ended && a.fault.Ending != EndWhole && a.fault.Ending != EndCut {
		a.end()
	}
}

// body sends a whole answer.
func (a *answer) body(status int, contentType, text string) {
	if contentType == "" {
		contentType = "application/json"
	}
	a.w.Header().Set("Content-Type", contentType)
	a.begin(status)
	if a.r.Method != http.MethodHead {
		a.Write([]byte(text)) // a client that hung up needs no answer
	}
}

// plain reports whether nothing is to happen while the body is sent.
func (a *answer) plain() bool {
	return (a.fault.Ending == EndWhole || a.ended) && a.fault.Rate == 0
}

// Write implements io.Writer for the body.
func (a *answer) Write(p []byte) (n int, err error) {
	if a.plain() {
		return a.write(p)
	}
	for {
		piece := p[n:]
		if a.fault.Rate > 0 {
			piece = piece[:min(len(piece), portion(a.fault.Rate))]
		}
		if left := a.fault.After - a.sent; !a.ended && a.fault.Ending != EndWhole && int64(len(piece)) >= left {
			m, err := a.write(piece[:left])
			n += m
			if err == nil {
				err = a.end()
			}
			if err != nil {
				return n, err
			}
			continue
		}
		m, err := a.write(piece)
		n += m
		if err != nil || n == len(p) {
			return n, err
		}
		if a.fault.Rate > 0 {
			a.flush()
			if !a.wait(a.pace.spend(m, a.fault.Rate), nil) {
				return n, context.Cause(a.r.Context())
			}
		}
	}
}

func (a *answer) write(p []byte) (int, error) {
	if a.note != nil {
		a.note(int64(len(p))) // before the client has them, so that it finds them counted
	}
	n, err := a.w.Write(p)
	a.sent += int64(n)
	return n, err
}

func (a *answer) flush() { http.NewResponseController(a.w).Flush() }

// end lets the ending happen. It returns after a stall; it returns errCut where
// the handler has to stop; and net/http's own way to cut an answer off is a panic.
func (a *answer) end() error {
	a.ended = true
	started := a.fault.After >= 0
	if started {
		a.flush()
	}
	switch a.fault.Ending {
	case EndCut:
		return errCut
	case EndStall:
		stall := a.fault.StallFor
		if stall == 0 {
			stall = math.MaxInt64
		}
		if a.wait(stall, a.fault.Release) {
			return nil
		}
	}
	if !started {
		a.server.counts.status(a.call, 0)
	}
	if a.fault.Ending == EndReset {
		connOf(a.r.Context()).reset()
	}
	panic(http.ErrAbortHandler)
}

// wait returns true after d or release, false when nobody waits for the answer
// any more.
func (a *answer) wait(d time.Duration, release <-chan struct{}) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-release:
		return true
	case <-a.r.Context().Done():
	case <-a.server.closing:
	}
	return false
}

// seconds is a duration as Retry-After has it, rounded up (RFC 9110, 10.2.3).
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
