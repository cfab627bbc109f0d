package dest

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"

	"masvfs/fetch/dirent"
)

// RemoveRoot removes the package folder, if it is empty and still ours.
func (t *Tree) RemoveRoot() error {
	t.naming.Lock()
	defer t.naming.Unlock()
	own, err := t.placed()
	if errors.Is(err, ErrMissing) || err == nil && own == t.parent {
		return nil
	}
	if err != nil {
		return err
	}
	if err := dirent.Remove(t.parent.file, t.name, true); err != nil && !gone(err) && !full(err) {
		return wrap("remove", filepath.Join(t.path, t.name), err)
	}
	return t.flushParent()
}

// Discard removes the work folder and all in it, and flushes what was removed
// before. No Partial may be open.
func (t *Tree) Discard() error {
	t.naming.Lock()
	defer t.naming.Unlock()
	if err := t.flushFolders(nil); err != nil {
		return err
	}
	_, err := t.workFolder(false)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInTheWay) {
		return t.flushParent() // what has its name is not ours
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	err = errors.Join(t.work.close(), t.parent.root.RemoveAll(t.workName()))
	t.work = nil
	t.mu.Unlock()
	if err != nil {
		return wrap("remove work folder", filepath.Join(t.path, t.workName()), err)
	}
	return t.flushParent()
}

// gone reports whether there is nothing of that name, or nothing of that kind.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInTheWay)
}

// full reports whether a folder was not removed because it is not empty.
func full(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist)
}
