package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// A job is a Job while Run is at it.
type job struct {
	Job
	engine *Engine
	parent context.Context // Run's
	ctx    context.Context // ends with parent, or when the job stops
	cancel context.CancelFunc
	over   chan struct{}  // closed when nothing is left to do
	tasks  sync.WaitGroup // every goroutine of the job

	// Guarded by engine.mu:
	files     []*file // open, in the order of supply
	running   int     // connections
	stuck     int     // connections that wait for the disk, and do not count
	served    uint64  // the turn it had last
	drawing   bool    // Supply.Next is being called
	exhausted bool    // Supply.Next has no more
	stopping  bool
	ended     bool  // over is closed
	cause     error // why it stopped
}

// draw gets the next file from the Supply.
func (j *job) draw() {
	spec, err := j.Supply.Next(j.ctx)

	e := j.engine
	e.mu.Lock()
	j.drawing = false
	var next func()
	switch {
	case err != nil:
		j.stop(fmt.Errorf("next file: %w", err))
	case spec == nil:
		j.exhausted = true
	default:
		f := newFile(j, spec)
		j.files = append(j.files, f)
		next = f.settle()
	}
	j.settle()
	e.dispatch()
	e.mu.Unlock()
	if next != nil {
		next()
	}
}

// stop ends the job for a reason: its requests are cut short, then its files
// are put down one by one. Called with engine.mu held; the first reason counts,
// but none above the end of Run's context.
func (j *job) stop(reason error) {
	if j.stopping || j.ended {
		return
	}
	j.stopping = true
	var abort *abortError
	switch {
	case j.parent.Err() != nil:
		j.cause = context.Cause(j.parent)
	case errors.As(reason, &abort):
		j.cause = abort.err
	default:
		j.cause = reason
	}
	j.cancel()
	for _, f := range j.files {
		if next := f.settle(); next != nil {
			j.tasks.Go(next)
		}
	}
	j.settle()
}

// remove forgets a file that is over and done with.
func (j *job) remove(f *file) {
	e := j.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	j.files = slices.DeleteFunc(j.files, func(g *file) bool { return g == f })
	e.gauge.moved += fileWorth
	j.settle()
	e.dispatch()
}

// settle ends the job when nothing is left to do. Called with engine.mu held.
func (j *job) settle() {
	if j.ended || j.drawing || len(j.files) > 0 || !j.exhausted && !j.stopping {
		return
	}
	j.ended = true
	close(j.over)
}

// remove forgets a job whose Run is about to return. Called with e.mu held.
func (e *Engine) remove(j *job) {
	e.jobs = slices.DeleteFunc(e.jobs, func(k *job) bool { return k == j })
}
