package watcher

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"

	"masvfs/watcher/linkfile"
)

// batch is how many names a rescan reads at a time, so that an inbox of a
// million files takes no more memory than a small one.
const batch = 512

// scan looks at every link file in the inbox that is not known, has changed,
// or waits for its turn. What has not changed is not read again.
func (w *Watcher) scan(ctx context.Context) {
	err := w.attach()
	if err == nil {
		err = w.scanFolder(ctx)
	}
	switch {
	case ctx.Err() != nil:
	case err == nil && w.troubled:
		w.troubled = false
		w.log.Info("inbox can be read again", "inbox", w.folder)
	case err != nil:
		// A descriptor of a share that went away stays stale: open it afresh.
		w.detach()
		if !w.troubled {
			w.troubled = true
			w.log.Error("inbox cannot be read, waiting for it", "inbox", w.folder, "error", err)
		}
	}
}

func (w *Watcher) scanFolder(ctx context.Context) error {
	w.pass++
	began := time.Now()
	w.round = began
	w.readOnly = false
	dir, err := w.inbox.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	empty, complete := true, true
	for {
		entries, err := dir.ReadDir(batch)
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
		for _, entry := range entries {
			if ctx.Err() != nil {
				return nil
			}
			empty = false
			if name := entry.Name(); linkfile.Named(name) && !w.scanFile(ctx, name) {
				complete = false
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		// What is dropped meanwhile does not wait for the rest of a full inbox.
		w.noteMore()
		w.lookAtDue(ctx)
		w.round = began
	}
	for name, k := range w.kept {
		if k.pass != w.pass {
			w.drop(name)
		}
	}
	// A folder without anything in it, not even accepted/, may be the mount
	// point of a share that is not mounted: that proves no file gone.
	if w.sweepDue && complete && !empty {
		w.sweep(ctx)
	}
	return nil
}

// scanFile looks at one file unless there is a time set for that. It returns
// false if there may have been no room to wait for the file.
func (w *Watcher) scanFile(ctx context.Context, name string) bool {
	if p := w.pending[name]; p != nil {
		if p.due.After(time.Now()) {
			return true
		}
	}
	w.look(ctx, name)
	_, waits := w.pending[name]
	_, known := w.kept[name]
	return waits || known || !w.crowded
}

// sweep lets the agent forget the origins whose files are gone: those of
// a crash between a move and its Forget, and of files that somebody removed
// from an inbox in which they had to stay. An origin is kept while a file of
// its name is there and might still be the one.
func (w *Watcher) sweep(ctx context.Context) {
	origins, err := w.agent.Origins(ctx)
	if err != nil || len(origins) == 0 {
		w.sweepDue = err != nil
		return
	}
	// A file may be gone only in the cache: then a power cut brings it back,
	// and it must not be taken for a new one.
	if err := w.syncAll(); err != nil {
		return
	}
	const undecided = "?"
	standing := make(map[string]string, len(w.kept)+len(w.pending))
	for name, k := range w.kept {
		standing[nameHash(name)] = k.what.origin
		if k.what.unread {
			standing[nameHash(name)] = undecided
		}
	}
	for name := range w.pending {
		standing[nameHash(name)] = undecided
	}
	w.sweepDue = false
	for _, origin := range origins {
		hash, ok := nameOfOrigin(origin)
		if !ok {
			continue
		}
		switch standing[hash] {
		case origin:
		case undecided:
			w.sweepDue = true
		default:
			if err := w.agent.Forget(ctx, origin); err != nil {
				w.sweepDue = true
				return
			}
		}
	}
}

// syncAll makes durable what was moved out of the inbox, and where to.
func (w *Watcher) syncAll() error {
	for _, name := range []string{accepted, rejected} {
		info, err := w.inbox.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			continue
		}
		in, err := w.inbox.inner(name)
		if err != nil {
			return err
		}
		err = in.sync()
		in.close()
		if err != nil {
			return err
		}
	}
	return w.inbox.sync()
}
