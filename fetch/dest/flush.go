package dest

import (
	"errors"
)

func (t *Tree) noteDirty(folder string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty[folder] = struct{}{}
}

// few is how many files or folders are flushed one by one rather than with
// all that the file system has to write, of other programs too.
const few = 8

// flushAll flushes all that is on the tree's file system, if that can be relied
// on, and reports whether it has. It does so through a descriptor that was
// opened before the bytes were written: it is told of errors since then, but of
// each once, and not of which file. So after the first one, files that were on
// their way then have to be asked one by one, and nothing says which those are.
func (t *Tree) flushAll() (bool, error) {
	t.mu.RLock()
	lossy := t.lossy
	t.mu.RUnlock()
	if lossy || !t.traits.flushAll {
		return false, nil
	}
	err := t.sys.flushAll(t.parent.file)
	if err == nil {
		return true, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lossy = true
	return false, err
}

// flushFolders flushes the folders in which something was made, renamed or
// removed since the last time. failed is told those that could not be; if it
// is nil, folders that are gone are left out.
func (t *Tree) flushFolders(failed func(folder string, err error)) error {
	t.mu.Lock()
	dirty := t.dirty
	t.dirty = make(map[string]struct{})
	t.mu.Unlock()
	if len(dirty) > few {
		if done, _ := t.flushAll(); done {
			return nil
		}
	}
	var first error
	for folder := range dirty {
		err := t.flushFolder(folder)
		if err == nil || failed == nil && (gone(err) || errors.Is(err, ErrMissing)) {
			continue
		}
		if !gone(err) {
			t.noteDirty(folder)
		}
		if failed != nil {
			failed(folder, err)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (t *Tree) flushFolder(folder string) error {
	d, err := t.enter(folder, false)
	if err != nil {
		return err
	}
	defer t.leave(d)
	if err := t.sys.syncDir(d); err != nil {
		return wrap("flush folder", t.abs(folder), err)
	}
	return nil
}
