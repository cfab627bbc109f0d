package watcher

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// attach makes sure that the inbox is open, is the folder that has its path
// now, and is watched if it can be. Only its being there is required.
func (w *Watcher) attach() error {
	now, err := os.Stat(w.folder)
	if err == nil && !now.IsDir() {
		err = &os.PathError{Op: "open", Path: w.folder, Err: syscall.ENOTDIR}
	}
	if err != nil {
		w.detach()
		return err
	}
	if w.inbox != nil && !w.inbox.is(now) {
		w.detach()
	}
	if w.inbox == nil {
		if w.inbox, err = newFolder(os.OpenRoot(w.folder)); err != nil {
			return err
		}
		w.local = isLocal(w.inbox.dir)
	}
	if w.watched() || w.noEvents {
		return nil
	}
	w.tellWatching(w.watch())
	// The path was resolved twice: to open the folder, and to watch it.
	if now, err = os.Stat(w.folder); err != nil || !w.inbox.is(now) {
		w.detach()
		return errors.Join(err, fmt.Errorf("inbox %s was replaced while it was opened", w.folder))
	}
	return nil
}

// detach lets go of a folder that is no longer the inbox, and of what was
// known about the files in it. Their origins stay with the agent.
func (w *Watcher) detach() {
	if w.inbox == nil {
		return
	}
	if w.watched() {
		// The kernel may have dropped the watch a moment ago, with the folder.
		_ = w.notify.Remove(w.folder)
	}
	w.inbox.close()
	w.inbox = nil
	clear(w.pending)
	clear(w.kept)
	w.sweepDue = true
}

// watch asks the kernel for events.
func (w *Watcher) watch() error {
	if w.notify == nil {
		var err error
		// The buffer lets a burst pass while a file is being dealt with.
		if w.notify, err = fsnotify.NewBufferedWatcher(256); err != nil {
			return err
		}
	}
	return w.notify.Add(w.folder)
}

// watched reports whether events come. It is fsnotify that knows: the watch
// ends by itself when the folder is removed, moved away or unmounted.
func (w *Watcher) watched() bool {
	return w.notify != nil && slices.Contains(w.notify.WatchList(), w.folder)
}

// tellWatching logs why there are no events, once for each reason.
func (w *Watcher) tellWatching(err error) {
	if err == nil {
		if w.noWatching != "" {
			w.log.Info("inbox is watched again", "inbox", w.folder)
		}
		w.noWatching = ""
		return
	}
	if w.noWatching == err.Error() {
		return
	}
	w.noWatching = err.Error()
	attrs := []any{"inbox", w.folder, "rescan", w.interval(), "error", err}
	switch {
	case errors.Is(err, syscall.ENOSPC):
		attrs = append(attrs, "remedy", "raise the limit: sysctl fs.inotify.max_user_watches=524288")
	case errors.Is(err, syscall.EMFILE):
		attrs = append(attrs, "remedy", "raise the limit: sysctl fs.inotify.max_user_instances=1024")
	}
	w.log.Warn("inbox cannot be watched, rescanning it instead", attrs...)
}

// events and failures are the kernel's; they block forever where it has none.
func (w *Watcher) events() <-chan fsnotify.Event {
	if w.notify == nil {
		return nil
	}
	return w.notify.Events
}

func (w *Watcher) failures() <-chan error {
	if w.notify == nil {
		return nil
	}
	return w.notify.Errors
}
