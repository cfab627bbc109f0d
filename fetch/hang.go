package fetch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"masvfs/fetch/store"
)

// A disk on a network may not answer for as long as it likes, and whoever has
// asked it something waits and cannot be called back. So the agent asks each
// disk that it works on, now and then, something that takes no time, and goes
// on without those that do not answer: their downloads are in error, with
// their turn in the queue given up, until what waits for the disk has ended.

// watch waits until done is closed; or until ctx ends; or until the disk of a
// folder does not answer, which is ErrHangs.
func (a *Agent) watch(ctx context.Context, folder string, done <-chan struct{}) error {
	tick := time.NewTicker(a.cfg.DiskTimeout / 2)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			if f, err := a.roots.Existing(folder); err == nil {
				f.Space() // the kernel has no answer to that by itself
				f.Close()
			}
		}()
		select {
		case <-answered:
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(a.cfg.DiskTimeout):
			return ErrHangs
		}
	}
}

// attend watches over the disk of a run.
func (a *Agent) attend(ctx context.Context, d *download, r *run) {
	err := a.watch(ctx, a.row(d).DstFolder, r.ended)
	if err == nil {
		return
	}
	if err == ErrHangs {
		r.cancel(ErrHangs)
		a.fail(a.ctx, d, problemOf(ErrHangs, a.row(d).DstFolder), ErrHangs)
	} else if a.watch(context.Background(), a.row(d).DstFolder, r.ended) == nil {
		return // it was stopped, and has put down what it had
	}
	a.queue.leave(r.ticket)
}

// windUp waits until nothing works on any download any more, but for what a
// disk keeps that does not answer. It reports whether there is no such thing.
func (a *Agent) windUp() bool {
	var waiting sync.WaitGroup
	var hangs atomic.Bool
	a.mu.Lock()
	for _, d := range a.order {
		for _, ended := range d.works() {
			folder := d.row.DstFolder
			waiting.Go(func() {
				if a.watch(context.Background(), folder, ended) != nil && !hangs.Swap(true) {
					a.log.Warn("the disk does not answer; what waits for it is left behind, and taken up again at the next start", "folder", folder)
				}
			})
		}
	}
	a.mu.Unlock()
	waiting.Wait()
	if hangs.Load() {
		return false
	}
	a.runs.Wait()
	return true
}

// works returns what is closed when the work on d has ended; Agent.mu is held.
func (d *download) works() (ended []<-chan struct{}) {
	if d.run != nil {
		ended = append(ended, d.run.ended)
	}
	if d.deleting != nil {
		ended = append(ended, d.deleting.ended)
	}
	return ended
}

// fail makes a problem the state of a download that is transferring. A disk
// that is full may be full for the database too: as long as the state cannot
// be stored it is not told, and fail does not return before ctx ends.
func (a *Agent) fail(ctx context.Context, d *download, p *Problem, cause error) {
	a.mu.Lock()
	d.tries++
	tries := d.tries
	a.mu.Unlock()
	p.RetryAt = a.retryAt(p, tries)
	a.log.Warn("download has a problem", "download", d.id, "error", cause)
	for {
		err := a.change(d, func(row *store.Download) error {
			if row.State != string(Transferring) {
				return errUnchanged
			}
			row.State = string(Failed)
			row.Code, row.Message, row.Recoverable, row.RetryAt = string(p.Code), p.Message, p.Recoverable, p.RetryAt
			return nil
		})
		if err == nil || err == errUnchanged {
			return
		}
		a.log.Error("download's problem cannot be recorded; trying again", "download", d.id, "error", err)
		select {
		case <-time.After(a.cfg.MendInterval):
		case <-ctx.Done():
			return
		}
	}
}

// deleting is a deletion that is under way.
type deleting struct {
	ended chan struct{}
	err   error // how, then
}

// deletion begins to delete what is marked for it, unless that is under way.
func (a *Agent) deletion(d *download) *deleting {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d.deleting != nil {
		return d.deleting
	}
	x := &deleting{ended: make(chan struct{})}
	d.deleting = x
	a.goDo(func() {
		defer close(x.ended)
		if x.err = a.halt(a.ctx, d); x.err == nil {
			a.hub.await(a.ctx, d)
			x.err = a.delete(d)
		}
		if x.err != nil && a.ctx.Err() == nil {
			a.log.Error("download cannot be deleted; it is tried again", "download", d.id, "error", x.err)
		}
		a.mu.Lock()
		d.deleting = nil
		a.mu.Unlock()
	})
	return x
}
