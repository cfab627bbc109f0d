package watcher

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"masvfs/watcher/linkfile"
)

// loop looks at files as events, their patience and rescans say, one after
// the other, until ctx ends.
func (w *Watcher) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if !time.Now().Before(w.nextScan) {
			w.nextScan = never
			w.scan(ctx)
			w.scanWithin(w.interval())
		}
		w.lookAtDue(ctx)
		timer.Reset(time.Until(w.nextDue()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case event := <-w.events():
			w.note(event)
			w.noteMore()
		case err := <-w.failures():
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				w.log.Warn("events of the inbox failed, rescanning it", "inbox", w.folder, "error", err)
			}
			w.scanWithin(0)
		}
	}
}

// never is later than anything.
var never = time.Unix(1<<40, 0)

// scanWithin has the next rescan come no later than after d.
func (w *Watcher) scanWithin(d time.Duration) {
	if at := time.Now().Add(d); at.Before(w.nextScan) {
		w.nextScan = at
	}
}

// interval is the time from the end of one rescan to the next.
func (w *Watcher) interval() time.Duration {
	every := w.rescan
	switch {
	case every > 0:
	case w.local && w.watched():
		every = rescanWatched
	default:
		every = rescanAlone
	}
	if w.inbox == nil {
		every = min(every, rescanMissing)
	}
	return every
}

// maxBad is how many files are rejected in one round, at a few flushes each:
// others that come meanwhile are not to wait for thousands.
const maxBad = 64

// lookAtDue looks at the files whose time has come; at bad ones last.
func (w *Watcher) lookAtDue(ctx context.Context) {
	w.round = time.Now()
	var names, bad []string
	for name, p := range w.pending {
		switch {
		case p.due.After(w.round):
		case p.bad:
			bad = append(bad, name)
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names) // 01.masvlink, 02.masvlink… are queued in that order
	slices.Sort(bad)
	for _, name := range append(names, bad[:min(len(bad), maxBad)]...) {
		if ctx.Err() != nil {
			return
		}
		w.look(ctx, name)
	}
	if w.crowded && len(w.pending) < maxPending/2 {
		w.crowded = false
		w.scanWithin(0)
	}
}

// nextDue is when there is something to do next.
func (w *Watcher) nextDue() time.Time {
	due := w.nextScan
	for _, p := range w.pending {
		if p.due.Before(due) {
			due = p.due
		}
	}
	return due
}

// noteMore notes the events that have gathered, so that a burst on one name
// is one look. It stops after as many as the buffer holds: a name that never
// rests must not keep the others waiting.
func (w *Watcher) noteMore() {
	for range 256 {
		select {
		case event := <-w.events():
			w.note(event)
		default:
			return
		}
	}
}

// note takes an event as a reason to look at a name.
func (w *Watcher) note(event fsnotify.Event) {
	if event.Name == w.folder {
		if event.Has(fsnotify.Remove | fsnotify.Rename) {
			w.scanWithin(0)
		}
		return
	}
	name := filepath.Base(event.Name)
	if (name == accepted || name == rejected) && event.Has(fsnotify.Remove) {
		// Somebody may be removing the whole inbox. Of that there is no event
		// as long as we hold it open.
		w.scanWithin(rescanMissing)
		return
	}
	if !linkfile.Named(name) || w.inbox == nil {
		return
	}
	now := time.Now()
	p := w.pending[name]
	if p == nil {
		w.await(name, now)
		return
	}
	due := now
	if event.Has(fsnotify.Write) {
		p.since = now
		due = now.Add(w.patience.linger)
	}
	if due.Before(p.due) {
		p.due = due
	}
}

// await makes name a pending file, to be looked at now. If there are too many
// it returns nil; a rescan will find the file when there are fewer.
func (w *Watcher) await(name string, now time.Time) *pending {
	if len(w.pending) >= maxPending {
		w.crowded = true
		return nil
	}
	p := &pending{since: now, due: now}
	w.pending[name] = p
	return p
}
