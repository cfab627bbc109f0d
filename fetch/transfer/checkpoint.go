package transfer

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// finalTimeout bounds the last Checkpoint of a file whose job was stopped: its
// context has ended by then.
const finalTimeout = 10 * time.Second

// saveIfDue starts a checkpoint if enough has arrived since the last one.
// At most one runs for a file, beside its connections. Files of one range do
// without: what a crash can cost of them is little. Called with engine.mu held.
func (f *file) saveIfDue(now time.Time) {
	cfg := f.job.engine.cfg
	if f.busy || f.lost || f.job.stopping || f.Size <= minRange || f.bytes == f.Size {
		return
	}
	if f.unsaved < cfg.CheckpointBytes && now.Sub(f.savedAt) < cfg.CheckpointInterval {
		return
	}
	f.busy = true
	f.saving = make(chan struct{})
	f.job.tasks.Go(f.save)
}

// mostUnsaved is of how many bytes of a file a power cut may find no record,
// but for those that connections are writing just then. On a line that is
// faster than the disk, and with a page cache that takes hundreds of MiB, the
// line waits.
const mostUnsaved = 48 << 20

// awaitSaved waits while too much of the file is not saved. If the connection
// is to end meanwhile, it gives the reason. It is not taken for a silent one,
// since it does not wait for bytes.
func (c *claim) awaitSaved() error {
	f, e := c.file, c.file.job.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for f.saving != nil && f.underway+f.unsaved >= mostUnsaved {
		saved := f.saving
		e.mu.Unlock()
		select {
		case <-saved:
		case <-c.ctx.Done():
		}
		e.mu.Lock()
		if c.ctx.Err() != nil {
			return context.Cause(c.ctx)
		}
	}
	return nil
}

// tellEvery is after how many more bytes of a file the Supply is told what is
// written: what a killed program has to fetch again, for each file.
const tellEvery = 1 << 20

// tellWritten tells the Supply what is written by now. A connection is at the
// file, so its bytes are not thrown away meanwhile.
func (f *file) tellWritten() {
	f.telling.Lock()
	defer f.telling.Unlock()
	e := f.job.engine
	e.mu.Lock()
	a := Arrived{ETag: f.version, Spans: slices.Clone(f.arrived)}
	e.mu.Unlock()
	f.job.Supply.Written(f.File, a)
}

// save takes a checkpoint while the file's connections go on.
func (f *file) save() {
	err := f.checkpoint(f.job.ctx)

	e := f.job.engine
	e.mu.Lock()
	f.busy = false
	f.underway = 0
	close(f.saving)
	f.saving = nil
	f.savedAt = time.Now()
	if err != nil {
		f.job.stop(err)
	}
	next := f.settle()
	e.dispatch()
	e.mu.Unlock()
	if next != nil {
		next()
	}
}

// checkpoint flushes the file and has the Supply record what had arrived when
// the flush began: bytes that came later may not have reached the disk. f.busy
// is set.
func (f *file) checkpoint(ctx context.Context) error {
	e := f.job.engine
	e.mu.Lock()
	a := Arrived{ETag: f.version, Spans: slices.Clone(f.arrived)}
	epoch := f.epoch
	f.underway, f.unsaved, f.dirty = f.unsaved, 0, false
	e.mu.Unlock()

	err := f.Sink.Sync()

	e.mu.Lock()
	if err != nil {
		// The kernel tells of a failed flush once. A second one would
		// succeed and prove nothing.
		f.lost = true
	}
	thrown := epoch != f.epoch
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("flush a partial file: %w", err)
	}
	if thrown {
		return nil // f.dirty is set again
	}
	if err := f.job.Supply.Checkpoint(ctx, f.File, a); err != nil {
		e.mu.Lock()
		f.dirty = true
		e.mu.Unlock()
		return fmt.Errorf("record what has arrived: %w", err)
	}
	return nil
}

// forget tells the Supply that everything was thrown away. f.busy is set, and
// no connection is at the file.
func (f *file) forget() {
	e := f.job.engine
	e.mu.Lock()
	thrown := f.thrown
	f.thrown = 0
	e.mu.Unlock()

	if thrown > 0 {
		f.job.Supply.Moved(f.File, -thrown)
	}
	f.job.Supply.Written(f.File, Arrived{})
	err := f.job.Supply.Checkpoint(f.job.ctx, f.File, Arrived{})

	e.mu.Lock()
	f.busy = false
	if err != nil {
		f.job.stop(fmt.Errorf("record that nothing has arrived: %w", err))
	} else {
		f.emptied, f.dirty = false, false
	}
	next := f.settle()
	e.dispatch()
	e.mu.Unlock()
	if next != nil {
		next()
	}
}

// putDown ends the work on a file of a job that was stopped, so that another
// Run can take it up again. f.busy is set, and no connection is at the file.
func (f *file) putDown() {
	e := f.job.engine
	e.mu.Lock()
	thrown := f.thrown
	f.thrown = 0
	dirty := f.dirty && !f.lost
	e.mu.Unlock()

	if thrown > 0 {
		f.job.Supply.Moved(f.File, -thrown)
	}
	if dirty {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.job.ctx), finalTimeout)
		if err := f.checkpoint(ctx); err != nil {
			f.log().Warn("what arrived since the last checkpoint will be fetched again", "error", err)
		}
		cancel()
	}
	if err := f.Sink.Close(); err != nil {
		f.log().Warn("a partial file was not closed", "error", err)
	}
	f.job.remove(f)
}
