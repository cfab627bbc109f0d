package masvtest

import (
	"net/http"
	"sync/atomic"
	"time"
)

// A Call is a kind of request.
type Call int

const (
	CallLink    Call = iota // GET /v1/links/{ID}
	CallListing             // GET /v1/packages/{ID}/files
	CallFileURL             // GET /v1/packages/{ID}/files/{FID}/download
	CallStorage             // the storage: any object
	CallOther               // an unknown path or method of the API; no fault meets it
)

func (c Call) String() string {
	return [...]string{"link", "listing", "file URL", "storage", "other"}[c]
}

// A Request is what a fault may go by.
type Request struct {
	Call      Call
	Method    string
	LinkID    string
	PackageID string
	FileID    string // of a file's calls
	Index     int    // of the file in its package; -1 for link and listing
	Path      string // the file's path and name, as listed
	Ranged    bool   // storage: a satisfiable Range was asked for
	Offset    int64  // storage: the first byte asked for
	Length    int64  // storage: how many bytes of the object were asked for
	N         int    // how many calls of this kind this link, package or file has had, from 1

	serial int // of the package on this server
}

// An Ending says how an answer ends.
type Ending int

const (
	EndWhole Ending = iota // as it should
	EndReset               // the connection is reset; over HTTP/2 all its streams are
	EndClose               // the connection is closed cleanly, short of what was announced; over HTTP/2 only the stream
	EndCut                 // the body stops short, but HTTP ends as it should (where no length was announced)
	EndStall               // nothing more is sent until Release, StallFor or the client's patience is over; then the rest
)

// BeforeHeader, as Fault.After, ends an answer before its status line: the
// request was received and nothing was done about it.
const BeforeHeader = -1

// A Fault is what is wrong with one answer. Its parts can be combined; the
// constructors give the usual ones. It must not be changed once it is in use.
type Fault struct {
	Latency time.Duration // before anything else

	// Status is answered in place of the real answer, if it is not 0, with
	// Body; the real call then has no effect.
	Status      int
	RetryAfter  time.Duration // the header, in seconds rounded up; 0: none
	Location    string        // the scheme and host of a redirect, to the same path and query; "self" is this host
	Body        string        // "": the usual error of the API or storage
	ContentType string        // of Body; "": application/json

	Header func(http.Header) // changes the header of the answer, last of all

	Ending   Ending
	After    int64           // the bytes of body sent before the ending; or BeforeHeader
	Release  <-chan struct{} // ends a stall when closed; nil: never
	StallFor time.Duration   // ends a stall; 0: never
	Rate     int64           // bytes per second of this answer; 0: unlimited

	// For storage alone:

	Whole      bool   // 200 and the whole object, whatever range was asked for
	Shift      int64  // the range served lies so many bytes further on, and the header says so
	ExtraBytes int64  // the body, and its Content-Length, is so much longer (or shorter: negative) than the range
	Gzip       bool   // the body is compressed, though nobody asked for it
	NewSeed    uint64 // the object is replaced by content of this seed from now on; 0: it is not
}

// A FaultFunc chooses the fault of a request, nil for none. It is called once
// for each, from many goroutines.
type FaultFunc func(Request) *Fault

// Fault makes f choose the faults from now on; nil ends them.
func (s *Server) Fault(f FaultFunc) { s.faults.Store(&f) }

// fault returns what is wrong with the answer to that request.
func (s *Server) fault(r Request) Fault {
	if f := s.faults.Load(); f != nil && *f != nil {
		if fault := (*f)(r); fault != nil {
			return *fault
		}
	}
	return Fault{}
}

// On gives every call of a kind the same fault.
func On(call Call, fault *Fault) FaultFunc {
	return func(r Request) *Fault {
		if r.Call != call {
			return nil
		}
		return fault
	}
}

// Times lets the first n faults that f chooses happen, and no more.
func Times(n int, f FaultFunc) FaultFunc {
	var left atomic.Int64
	left.Store(int64(n))
	return func(r Request) *Fault {
		fault := f(r)
		if fault == nil || left.Add(-1) < 0 {
			return nil
		}
		return fault
	}
}

// First chooses the fault of the first of fs that has one.
func First(fs ...FaultFunc) FaultFunc {
	return func(r Request) *Fault {
		for _, f := range fs {
			if fault := f(r); fault != nil {
				return fault
			}
		}
		return nil
	}
}
