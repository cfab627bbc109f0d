package masv

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The classes of errors. The documented statuses are few, so an error is of a
// class by its status alone, but for ErrSignIn.
var (
	ErrNotFound    = errors.New("not found, disabled or expired")    // 400, 404, 410
	ErrDenied      = errors.New("access denied")                     // 401, 403: password or secret wrong, limit reached, token not valid
	ErrSignIn      = errors.New("the recipient must be signed in")   // 401, 403 whose message says so
	ErrNotReady    = errors.New("not ready yet")                     // 409, 423; 202
	ErrRateLimited = errors.New("too many calls")                    // 429
	ErrUnavailable = errors.New("MASV cannot be reached or is busy") // 5xx, 407, 408; network, time-out, an answer cut short, a web page in its place
	ErrInvalid     = errors.New("the answer makes no sense")         // everything that is not as documented
)

// Error is why a call failed. Its text holds no secret.
type Error struct {
	Op         string        // what was being done, to what
	Status     int           // of the HTTP answer; 0: there was none
	Class      error         // one of the Err… above; nil if the caller's context ended the call
	Message    string        // what the server said: printable, on one line, bounded, secrets cut out; often empty
	RetryAfter time.Duration // what the server asked for, at most an hour; 0: nothing
	Err        error         // the cause, as seen from here; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Class != nil {
		b.WriteString(": " + e.Class.Error())
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Class != nil {
		errs = append(errs, e.Class)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// Temporary reports whether the same call may succeed later, with nobody
// doing anything about it.
func Temporary(err error) bool {
	return errors.Is(err, ErrNotReady) || errors.Is(err, ErrRateLimited) || errors.Is(err, ErrUnavailable)
}

// RetryAfter returns how long the server asked to be left alone, at most an
// hour; 0 if it asked for nothing.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
