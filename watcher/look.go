package watcher

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"masvfs/fetch"
	"masvfs/watcher/linkfile"
)

// errChanged means that a file is no longer the one that was looked at.
var errChanged = errors.New("the file changed meanwhile")

// look finds out what stands under name, and does with it what is due.
func (w *Watcher) look(ctx context.Context, name string) {
	now := time.Now()
	info, err := w.inbox.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		w.drop(name)
		return
	}
	if err == nil && !info.Mode().IsRegular() {
		w.leaveAlone(name, info)
		return
	}
	var seen sight
	if err == nil {
		seen = sightOf(info)
		if k, ok := w.kept[name]; ok {
			if k.seen == seen {
				w.lookAtKept(ctx, name, k)
				return
			}
			w.drop(name)
		}
	}
	p := w.pending[name]
	if p == nil {
		if p = w.await(name, now); p == nil {
			// There is no room to wait for it, but it may be ripe.
			p = &pending{since: now}
		}
	} else if err == nil && !p.seen.same(seen) && p.seen != (sight{}) {
		p.since, p.failures, p.bad = now, 0, false
	}
	p.seen = seen
	if err == nil {
		err = w.judge(ctx, name, p, now)
	}
	w.settle(ctx, name, p, now, err)
}

// leaveAlone says, once, that something has the name of a link file and is no
// file: whoever put it there waits for it to be taken. It is not opened, nor
// followed: a pipe would block, a symlink lead to what its owner may not read.
func (w *Watcher) leaveAlone(name string, info fs.FileInfo) {
	seen := sightOf(info)
	seen = sight{inode: seen.inode, mode: seen.mode}
	if k, ok := w.kept[name]; !ok || k.seen != seen {
		w.drop(name)
		if linkfile.Own(name) { // of the others most are not ours
			w.log.Warn("not a link file but something else of that name, left alone", "file", name, "is", kindOf(info.Mode()))
		}
	}
	w.keep(name, seen, verdict{leave: true})
}

func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a folder"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a pipe"
	case fs.ModeSocket:
		return "a socket"
	default:
		return "a device"
	}
}

// settle decides when to look at a file again after a look ended in err.
func (w *Watcher) settle(ctx context.Context, name string, p *pending, now time.Time, err error) {
	switch {
	case err == nil:
	case ctx.Err() != nil:
	case errors.Is(err, errChanged):
		p.since, p.due = now, now.Add(w.patience.linger)
	case errors.Is(err, fs.ErrNotExist):
		// Gone since, or so is a folder above it: the next look will tell.
		p.due = now.Add(w.patience.linger)
	default:
		p.failures++
		p.due = now.Add(w.patience.pause(p.failures))
		if p.failures == 1 {
			w.log.Warn("link file cannot be taken yet, trying again", "file", name, "error", err)
		}
	}
}

// judge waits, takes, rejects or leaves a file alone. It returns nil when that
// is decided, p.due being set where it is to wait.
func (w *Watcher) judge(ctx context.Context, name string, p *pending, now time.Time) error {
	file, err := w.inbox.open(name, p.seen)
	if errors.Is(err, fs.ErrPermission) {
		w.log.Warn("link file may not be read, waiting for its permissions to change", "file", name, "error", err)
		w.keep(name, p.seen, verdict{unread: true})
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()

	state := unknown
	if w.local {
		state = writerOf(file)
	}
	quiet := now.Sub(p.since)
	if state == closed {
		// Renamed into place, or dropped before we came: quiet for longer
		// than we have known it. The same moment counts for all files of a
		// round, or a later name could be ripe a moment before an earlier one.
		quiet = max(quiet, w.round.Sub(p.seen.modTime()))
	}
	if need := w.patience.toTake(state); quiet < need {
		p.due = w.patience.next(now, p.since, state, need)
		return nil
	}
	v, err := w.read(ctx, name, file, p.seen)
	if err != nil {
		return err
	}
	v.open = state == open
	if need := w.patience.toReject(state); v.early && now.Sub(p.since) < need {
		p.bad = true
		p.due = w.patience.next(now, p.since, state, need)
		return nil
	}
	if v.leave {
		w.keep(name, p.seen, v)
		return nil
	}
	return w.carryOut(ctx, name, p.seen, v)
}

// read reads a file and has its links recorded, and returns what is left to
// do with it.
func (w *Watcher) read(ctx context.Context, name string, file *os.File, seen sight) (verdict, error) {
	if seen.size > linkfile.MaxSize {
		return verdict{reason: linkfile.TooLarge().Error(), early: true}, nil
	}
	data, err := io.ReadAll(io.LimitReader(file, linkfile.MaxSize+1))
	if err != nil {
		return verdict{}, err
	}
	info, err := file.Stat()
	if err != nil {
		return verdict{}, err
	}
	if !sightOf(info).same(seen) || int64(len(data)) != seen.size {
		return verdict{}, errChanged
	}
	origin := originOf(name, seen, data)
	// Asked before anything else: what was recorded before a crash stays
	// valid even if it would be refused today.
	taken, err := w.agent.Taken(ctx, origin)
	if err != nil {
		return verdict{}, err
	}
	if taken {
		return verdict{origin: origin}, nil
	}
	items, err := linkfile.Parse(name, data)
	if errors.Is(err, linkfile.ErrNotOurs) {
		return verdict{leave: true}, nil
	}
	if err != nil {
		return verdict{reason: err.Error(), early: true}, nil
	}
	requests := make([]fetch.Request, len(items))
	for i, item := range items {
		requests[i] = item.Request
	}
	err = w.agent.Accept(ctx, origin, requests)
	var invalid *fetch.InvalidError
	if errors.As(err, &invalid) {
		bad := linkfile.Error{Message: invalid.Error()}
		if i := invalid.Index; i >= 0 && i < len(items) {
			bad.Line = items[i].FieldLine(invalid.Field)
		}
		return verdict{reason: bad.Error()}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	w.log.Info("links of a file accepted", "file", name, "links", len(items))
	return verdict{origin: origin}, nil
}

// keep remembers that a file has been dealt with although it stays.
func (w *Watcher) keep(name string, seen sight, v verdict) {
	delete(w.pending, name)
	w.kept[name] = kept{seen: seen, pass: w.pass, what: v}
}

// drop forgets a name whose file is gone or has changed.
func (w *Watcher) drop(name string) {
	delete(w.pending, name)
	if k, ok := w.kept[name]; ok {
		delete(w.kept, name)
		w.sweepDue = w.sweepDue || k.what.origin != ""
	}
}
