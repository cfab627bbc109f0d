// Package transfer brings the bytes of many files to disk over a bounded
// number of connections.
//
// It owns the connections and the one decision of what is fetched next, in
// units of a range of a file (schedule.go). A caller starts a Job with Run;
// the job's Supply hands out files one after the other, each with a Source
// that says where its bytes are and a Sink that they are written to.
//
// It promises that
//   - a file is only Done without an error when each of its bytes was written
//     to its Sink, all from one version of the object;
//   - outages of the network and of the storage are waited out, for ever, with
//     growing pauses, and bytes that arrived are not fetched again;
//   - what it hands to Supply.Checkpoint was flushed before, so that it may be
//     believed after a power cut;
//   - memory and open files are a function of the number of connections;
//   - it neither logs nor reports a URL: pre-signed URLs are secrets.
//
// It knows nothing of the cloud that the URLs come from, of databases, and of
// folders and names.
package transfer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how an Engine works. The zero value of every field means its
// default.
type Config struct {
	// Connections is how many requests are made at once, over all jobs, where
	// so many are worth it; 32 by default.
	Connections int

	// Transport makes the requests. It should speak HTTP/1.1, so that a
	// request is a connection, and keep Connections idle connections a host.
	// Redirects are followed here; cookies and credentials are never sent.
	Transport http.RoundTripper

	// UserAgent is sent to the storage; empty: Go's own.
	UserAgent string

	// RateLimit bounds the bytes a second that all connections read together,
	// until SetRateLimit changes it; 0: no bound.
	RateLimit int64

	// StallTimeout is how long a connection may stay without a byte, from the
	// moment it is dialled; 30 s by default.
	StallTimeout time.Duration

	// Patience is how long it may, at least, before another one is tried in
	// its place; 3 s by default.
	Patience time.Duration

	// MinBackoff and MaxBackoff bound the pauses after failures, see Backoff;
	// 500 ms and 1 min by default.
	MinBackoff, MaxBackoff time.Duration

	// A file is flushed and its checkpoint taken when CheckpointBytes of it
	// arrived since the last one (16 MiB by default), or any did and
	// CheckpointInterval has passed (2 s by default).
	CheckpointBytes    int64
	CheckpointInterval time.Duration

	// Log gets a line when a file does not get on; nil: none.
	Log *slog.Logger
}

// ErrClosed is what Run returns after Close.
var ErrClosed = errors.New("the transfer engine is closed")

// An Engine transfers the files of any number of jobs. Its methods may be
// called from several goroutines.
type Engine struct {
	cfg     Config
	buffers sync.Pool // of *[bufferSize]byte
	limit   atomic.Pointer[limit]
	epoch   time.Time // what listening is counted from

	mu      sync.Mutex // guards all below, and every field of a job, file or claim that is not said to be constant
	jobs    []*job
	busy    int // connections in use
	leaving int // of these, how many were told to make room
	asking  int // URLs that are being asked for
	width   width
	gauge   gauge
	slow    time.Duration // how long answers take, at the slowest, lately
	served  uint64        // counts turns, for fairness
	wake    *time.Timer   // calls dispatch
	timer   *time.Timer   // calls pulse
	beating bool          // it is set
	closed  bool
	runs    sync.WaitGroup
}

// New returns an engine that waits for its first Run.
func New(cfg Config) *Engine {
	if cfg.Connections <= 0 {
		cfg.Connections = 32
	}
	if cfg.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, cfg.Connections
		t.TLSClientConfig, t.TLSNextProto = nil, nil // they offer HTTP/2
		t.Protocols = new(http.Protocols)
		t.Protocols.SetHTTP1(true)
		cfg.Transport = t
	}
	setDefault(&cfg.StallTimeout, 30*time.Second)
	setDefault(&cfg.Patience, 3*time.Second)
	setDefault(&cfg.MinBackoff, 500*time.Millisecond)
	setDefault(&cfg.MaxBackoff, time.Minute)
	setDefault(&cfg.CheckpointBytes, 16<<20)
	setDefault(&cfg.CheckpointInterval, 2*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{cfg: cfg, epoch: time.Now(), width: newWidth(cfg.Connections)}
	e.buffers.New = func() any { return new([bufferSize]byte) }
	e.wake = time.AfterFunc(time.Hour, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.dispatch()
	})
	e.wake.Stop()
	e.timer = time.AfterFunc(time.Hour, e.pulse)
	e.timer.Stop()
	e.limit.Store(newLimit(cfg.RateLimit))
	return e
}

func setDefault[T ~int64](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Close ends every Run with ErrClosed, as the end of its context would, and
// waits until they have returned.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	for _, j := range e.jobs {
		j.stop(ErrClosed)
	}
	e.mu.Unlock()
	e.runs.Wait()
}

// Connections returns how many connections the jobs of a name use, how many
// all jobs may just now, and, for people, why there are not more.
func (e *Engine) Connections(name string) (busy, allowed int, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, j := range e.jobs {
		if j.Name == name {
			busy += j.running
		}
	}
	allowed, why = e.allowed()
	if e.busy < allowed {
		why = "there is no work for more"
	}
	return busy, allowed, why
}

// Run transfers the files of a job and returns nil when each of them was Done.
//
// When ctx ends, the job's requests are stopped, its open files are flushed,
// their checkpoints taken and their sinks closed; then Run returns the cause.
// So it does, with that error, after an Abort error of the job's Source, any
// error of its Supply, and any error of a Sink. Nothing of the job goes on
// after Run has returned.
//
// Jobs that run at the same time share the connections: the highest priority
// comes first, equal ones get equal numbers of them.
func (e *Engine) Run(ctx context.Context, spec Job) error {
	j := &job{Job: spec, engine: e, parent: ctx, over: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancel(ctx)
	defer j.cancel()

	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return ErrClosed
	}
	e.runs.Add(1)
	defer e.runs.Done()
	if len(e.jobs) == 0 {
		e.width = newWidth(e.cfg.Connections)
		e.gauge.restart(time.Now(), true)
	}
	e.jobs = append(e.jobs, j)
	if !e.beating {
		e.beating = true
		e.timer.Reset(beat)
	}
	e.dispatch()
	e.mu.Unlock()

	select {
	case <-j.over:
	case <-ctx.Done():
		e.mu.Lock()
		j.stop(ctx.Err())
		e.mu.Unlock()
		<-j.over
	}
	j.tasks.Wait()

	e.mu.Lock()
	defer e.mu.Unlock()
	e.remove(j)
	return j.cause
}
