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

// flushFolders flushes the folders in which something was made, renamed or
// removed since the last time. failed is told those that could not be; if it
// is nil, folders that are gone are left out.
func (t *Tree) flushFolders(failed func(folder string, err error)) error {
	t.mu.Lock()
	dirty := t.dirty
	t.dirty = make(map[string]struct{})
	t.mu.Unlock()
	if len(dirty) > few && t.traits.flushAll && t.sys.flushAll(t.parent.file) == nil {
		return nil
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
