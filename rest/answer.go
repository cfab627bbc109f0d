package rest

import (
	"encoding/json"
	"net/http"
	"time"

	"masvfs/rest/api"
)

const (
	// stallTimeout is how long a client may take to accept writeBuffer more
	// bytes of an answer. There is no limit to a whole answer: one that
	// progresses is never cut.
	stallTimeout = 2 * time.Minute

	// bodyTimeout is how long a client may take to send a body.
	bodyTimeout = 30 * time.Second
)

// answer is the ResponseWriter of one request. It puts a deadline on every
// write and knows whether anything has left yet.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	request *http.Request
	stall   time.Duration
	turns   turns
	begun   bool // the header is written: there is no other answer any more
}

func newAnswer(w http.ResponseWriter, r *http.Request, stall time.Duration, turns turns) *answer {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	return &answer{ResponseWriter: w, control: http.NewResponseController(w), request: r, stall: stall, turns: turns}
}

// limitBody sets the time by which the body must have been sent. Deadlines
// are given to the connection and not to the whole server, whose ReadTimeout
// would also end the context of a call that takes long to make.
//
// Where the connection has no deadlines, as in a test without one, there is
// nothing to protect; the error says nothing else.
func (a *answer) limitBody() {
	if a.request.ContentLength != 0 {
		_ = a.control.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
}

// bodyRead ends what limitBody began.
func (a *answer) bodyRead() {
	if a.request.ContentLength != 0 {
		_ = a.control.SetReadDeadline(time.Time{})
	}
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.begun = true
	// Each time anew: a deadline of an earlier answer holds on for the connection.
	_ = a.control.SetWriteDeadline(time.Now().Add(a.stall))
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	} else {
		_ = a.control.SetWriteDeadline(time.Now().Add(a.stall))
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap serves http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// json answers with one value.
func (a *answer) json(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	a.Header().Set("Content-Type", "application/json")
	a.WriteHeader(status)
	_, _ = a.Write(append(b, '\n')) // a client that is gone needs no answer
	return nil
}

// problem answers with a problem document.
func (a *answer) problem(p *api.Problem) {
	if p.Code == api.Unauthorized {
		a.Header().Set("WWW-Authenticate", `Bearer realm="masvfs"`)
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and a number: cannot happen
	}
	a.Header().Del("Location")
	a.Header().Set("Content-Type", api.ProblemType)
	a.WriteHeader(p.Status)
	_, _ = a.Write(append(b, '\n'))
}
