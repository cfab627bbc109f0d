package transfer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A file is a File that is open.
type file struct {
	*File
	job *job

	// The rest is guarded by engine.mu.

	arrived spans
	bytes   int64  // in arrived
	step    int64  // range size
	version string // of the object that arrived comes from, if known
	known   bool   // the version is known, be it "": none is ever told
	epoch   int    // counts how often everything was thrown away
	claims  []*claim
	full    bool // nothing is unclaimed
	single  bool // the storage does not do ranges: one connection, from the start

	url, stale string // stale is the one before
	issue      int    // of url: the Source may give the same one again
	issued     time.Time
	worked     bool // bytes have come from url, to a request made since it was issued
	asking     bool // the Source is being asked for one

	trouble           // what went wrong lately
	cuts    int       // how often connections were cut for their silence, since bytes came
	cutAt   time.Time // the last time

	err     error // it failed for good
	emptied bool  // everything was thrown away, and the Supply does not know yet
	thrown  int64 // how many bytes that were
	busy    bool  // Sync, Checkpoint, Done or Close is under way
	lost    bool  // a Sync has failed: nothing is known of what was written

	untold  int64      // bytes that arrived since the Supply was last told what is written
	telling sync.Mutex // held while it is, so that no older word comes after a newer one

	unsaved  int64         // bytes that arrived since the last checkpoint began
	underway int64         // bytes that it is about
	saving   chan struct{} // closed when the one that is under way has ended; nil: none is
	dirty    bool          // something has changed since it began
	savedAt  time.Time
}

// A claim is a range of a file that one connection is at. done and taken lie
// between start and end: up to done the bytes are written, from there up to
// taken they are being written.
type claim struct {
	try
	file                    *file
	start, done, taken, end int64
	ctx                     context.Context
	cancel                  context.CancelCauseFunc
	listening               atomic.Int64 // since when bytes are waited for, from engine.epoch; 0: they are not
	storing                 atomic.Int64 // since when its bytes are being written, as listening; 0: they are not
	stuck                   bool         // that takes so long that it does not count as a connection
	proven                  bool         // the answer's head told the size of the object, and rightly
	dropped                 bool         // its bytes are not wanted any more
	leaves                  bool         // it was told to make room
}

// A try is one attempt at getting something: bytes, or a URL, of which the
// last two are not known then.
type try struct {
	began time.Time
	url   string
	issue int // of url
}

func newFile(j *job, spec *File) *file {
	f := &file{File: spec, job: j, savedAt: time.Now()}
	f.backoff = Backoff{Min: j.engine.cfg.MinBackoff, Max: j.engine.cfg.MaxBackoff}
	if spec.Size < 0 {
		f.err = fmt.Errorf("%w: its size is negative", ErrInvalid)
		return f
	}
	f.arrived = normal(spec.Arrived.Spans, spec.Size)
	f.bytes = f.arrived.bytes()
	f.step = rangeSize(spec.Size-f.bytes, j.engine.cfg.Connections)
	if f.bytes > 0 {
		f.version, f.known = spec.Arrived.ETag, true
	}
	return f
}

// claim takes a range for a connection and returns the connection's work.
func (f *file) claim(r Span, now time.Time) (work func()) {
	c := &claim{try: try{now, f.url, f.issue}, file: f, start: r.Start, done: r.Start, taken: r.Start, end: r.End}
	c.ctx, c.cancel = context.WithCancelCause(f.job.ctx)
	f.claims = append(f.claims, c)
	return func() { f.job.engine.fetch(c) }
}

// fetch makes one attempt at a claim and sees to what follows.
func (e *Engine) fetch(c *claim) {
	err := e.attempt(c)
	c.cancel(nil)

	f := c.file
	e.mu.Lock()
	f.claims = slices.DeleteFunc(f.claims, func(d *claim) bool { return d == c })
	f.full = f.full && c.done >= c.end
	var note func()
	if !c.dropped {
		note = f.judge(c.try, err)
	}
	if c.leaves {
		e.leaving--
	}
	e.busy--
	f.job.running--
	next := f.settle()
	e.dispatch()
	e.mu.Unlock()
	if note != nil {
		note()
	}
	if next != nil {
		next()
	}
}

// ask asks the Source for a URL. It occupies no connection to the storage.
func (f *file) ask(t try, stale string) {
	url, err := f.Source.URL(f.job.ctx, stale)

	e := f.job.engine
	e.mu.Lock()
	e.asking--
	f.asking = false
	var note func()
	if err == nil {
		f.url, f.worked, f.issued = url, false, time.Now()
	} else {
		note = f.judge(t, err)
	}
	next := f.settle()
	e.dispatch()
	e.mu.Unlock()
	if note != nil {
		note()
	}
	if next != nil {
		next()
	}
}

// drop ends a claim whose bytes are not wanted any more.
func (c *claim) drop() {
	c.dropped = true
	c.cancel(errDropped)
}

// restart throws away what has arrived, because it may be of another version
// of the object. No range is claimed until all claims have ended and the
// Supply knows, so old bytes are neither written over new ones nor believed in.
func (f *file) restart() {
	for _, c := range f.claims {
		c.drop()
	}
	f.thrown += f.bytes
	f.arrived, f.bytes, f.unsaved = nil, 0, 0
	f.step = rangeSize(f.Size, f.job.engine.cfg.Connections)
	f.version, f.known = "", false
	f.emptied, f.dirty, f.full = true, true, false
	f.epoch++
}

// settle returns what is to be done for the file now that no connection and
// nothing else is at it, if anything: the last thing mostly. It is to be
// called, with engine.mu held, whenever that may have come about; what it
// returns without.
func (f *file) settle() (next func()) {
	if f.busy || f.asking || len(f.claims) > 0 {
		return nil
	}
	switch {
	case f.err != nil:
		next = f.giveUp
	case f.job.stopping:
		next = f.putDown
	case f.emptied:
		next = f.forget
	case f.bytes == f.Size:
		next = f.deliver
	default:
		return nil
	}
	f.busy = true
	return next
}

// deliver hands over a file that is whole.
func (f *file) deliver() {
	f.job.Supply.Done(f.File, nil)
	f.job.remove(f)
}

// giveUp reports a file that has failed for good.
func (f *file) giveUp() {
	if err := f.Sink.Close(); err != nil {
		f.log().Warn("a file that failed was not closed", "error", err)
	}
	f.job.Supply.Done(f.File, f.err)
	f.job.remove(f)
}
