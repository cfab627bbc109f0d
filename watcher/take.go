package watcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"masvfs/fetch/dirent"
	"masvfs/fetch/pathname"
)

// The folders inside the inbox into which files are moved.
const (
	accepted = "accepted"
	rejected = "rejected"
)

// verdict is what is to be done with a file that has been read.
type verdict struct {
	origin string // recorded with the agent: the file goes to accepted/
	reason string // a sentence: it goes to rejected/
	leave  bool   // neither: it is not ours
	unread bool   // neither: it may not be read

	early bool // the reason may pass while the file is young
	open  bool // somebody had it open for writing when it was read
}

// carryOut moves a file to where its verdict sends it, or remembers that it
// cannot be moved.
//
// The order of an accepted file: (1) the agent has recorded its links and its
// origin; (2) it is moved; (3) both folders are flushed; (4) the origin is
// forgotten. A crash after 1 or 2 leaves a recorded origin. If the file is
// still in the inbox, or is there again because the move was not on disk yet,
// the origin says that it is taken, and only the move is repeated. If it is
// gone, a rescan forgets the origin.
//
// The order of a rejected one: (1) the explanation is written, whole and
// flushed, under the name that the file will have, with ".error.txt" added; (2)
// the file is moved beside it; (3) both folders are flushed. A crash after 1
// leaves the file in the inbox, where it is rejected again; the explanation,
// being the same, is recognised and used. The other order could leave a
// rejected file without its explanation for ever.
func (w *Watcher) carryOut(ctx context.Context, name string, seen sight, v verdict) error {
	err := w.takeAway(name, seen, v)
	switch {
	case err == nil:
		w.drop(name)
		if v.reason != "" {
			w.log.Warn("link file rejected", "file", name, "reason", v.reason)
		} else if err := w.agent.Forget(ctx, v.origin); err != nil {
			w.sweepDue = true // it is harmless until then
		}
		return nil
	case errors.Is(err, errChanged):
		// What was recorded belongs to a content that is gone.
		w.sweepDue = w.sweepDue || v.origin != ""
		return err
	case isReadOnly(err):
		w.readOnly = true
		if _, known := w.kept[name]; !known && v.reason != "" {
			w.log.Warn("link file rejected", "file", name, "reason", v.reason)
		}
		if !w.toldStays {
			w.toldStays = true
			w.log.Warn("inbox cannot be written to: its files stay there and are remembered", "inbox", w.folder, "error", err)
		}
		w.keep(name, seen, v)
		return nil
	default:
		// It may have been moved all the same, and only the flush have failed.
		w.sweepDue = w.sweepDue || v.origin != ""
		return err
	}
}

// lookAtKept tries again, once a rescan, to move a file that had to stay. When
// that is refused once, it is for the rest of the rescan.
func (w *Watcher) lookAtKept(ctx context.Context, name string, k kept) {
	delete(w.pending, name)
	k.pass = w.pass
	w.kept[name] = k
	if w.readOnly || k.what.origin == "" && k.what.reason == "" {
		return
	}
	if err := w.carryOut(ctx, name, k.seen, k.what); err != nil {
		w.drop(name)
		if p := w.await(name, time.Now()); p != nil {
			p.seen = k.seen
		}
	}
}

// isReadOnly reports whether a move failed because nothing may be written
// there. Only trying tells: permission bits are not all that decides.
func isReadOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

// maxNumber bounds the search for a free name.
const maxNumber = 1_000_000

// takeAway moves a file into accepted/, or with its explanation into
// rejected/, under the first free name there.
func (w *Watcher) takeAway(name string, seen sight, v verdict) error {
	now, err := w.inbox.sight(name)
	if err != nil {
		return err
	}
	if !now.same(seen) {
		return errChanged
	}
	in := accepted
	if v.reason != "" {
		in = rejected
	}
	to, err := w.inbox.inner(in)
	if err != nil {
		return fmt.Errorf("open %s in the inbox: %w", in, err)
	}
	defer to.close()
	target, err := w.place(name, to, v.reason)
	if err != nil {
		return err
	}
	if !w.unchanged(to, target, seen, v.open) {
		// Something was written between the reading and the move, or is about
		// to be: there may be another link in it.
		return w.putBack(to, target, name, v.reason)
	}
	return errors.Join(to.sync(), w.inbox.sync())
}

// place finds a free name for a file and moves it there.
func (w *Watcher) place(name string, to *folder, reason string) (target string, err error) {
	for n := 1; n <= maxNumber; n++ {
		target = numbered(name, n)
		if _, err := to.root.Lstat(target); err == nil && !dirent.Same(w.inbox.dir, name, to.dir, target) {
			continue
		}
		if reason != "" {
			if err = to.write(errorName(target), explanation(name, reason)); errors.Is(err, fs.ErrExist) {
				continue
			} else if err != nil {
				return "", fmt.Errorf("explain why %q is rejected: %w", name, err)
			}
		}
		err = move(w.inbox, name, to, target)
		if err != nil && reason != "" {
			err = errors.Join(err, to.root.Remove(errorName(target)))
		}
		if !errors.Is(err, fs.ErrExist) {
			return target, err
		}
	}
	return "", fmt.Errorf("no free name for %q: a million are taken", name)
}

// unchanged reports whether a file that was just moved is what was read.
func (w *Watcher) unchanged(in *folder, name string, seen sight, wasOpen bool) bool {
	file, err := in.open(name, seen)
	if errors.Is(err, errChanged) {
		return false
	}
	if err != nil {
		return true // it cannot be told, and it is where it belongs
	}
	defer file.Close()
	return !w.local || wasOpen || writerOf(file) != open
}

// putBack undoes a move. It returns errChanged if that worked.
func (w *Watcher) putBack(from *folder, target, name, reason string) error {
	for n := 1; n <= maxNumber; n++ {
		err := move(from, target, w.inbox, numbered(name, n))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil && reason != "" {
			err = from.root.Remove(errorName(target))
		}
		return errors.Join(errChanged, err)
	}
	return errChanged
}

func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	return pathname.Numbered(name, n, false)
}

// errorName is the name of the explanation beside a rejected file. It is cut
// to the 255 bytes that a name can have.
func errorName(name string) string {
	const suffix, most = ".error.txt", 255
	for len(name) > most-len(suffix) {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name + suffix
}

// explanation is what a person finds beside a rejected file. It is the same
// for the same file and reason: see carryOut.
func explanation(name, reason string) []byte {
	reason = strings.TrimRight(reason, ". ")
	// It may repeat what the file says, of which a terminal might obey some.
	reason = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, reason)
	return fmt.Appendf(nil, "%q was rejected: %s.\nNothing of it is being downloaded. Correct it and drop it into the inbox again.\n", name, reason)
}
