package dest

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
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

// Discard removes the work folder and what was made in it, and flushes what
// was removed before. No Partial may be open. Whatever else is in there stays,
// and the folder with it: somebody may have put another in its place, and
// nothing of that is ours to remove.
func (t *Tree) Discard() error {
	t.naming.Lock()
	defer t.naming.Unlock()
	if err := t.flushFolders(nil); err != nil {
		return err
	}
	work, err := t.workFolder(false)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInTheWay) {
		return t.flushParent() // what has its name is not ours
	}
	if err != nil {
		return err
	}
	err = work.removeMade()
	there, herr := t.parent.holds(t.workName(), work)
	t.mu.Lock()
	err = errors.Join(err, herr, t.work.close())
	t.work = nil
	t.mu.Unlock()
	if err == nil && there {
		err = dirent.Remove(t.parent.file, t.workName(), true)
	}
	if err != nil && !gone(err) && !full(err) {
		return wrap("remove work folder", filepath.Join(t.path, t.workName()), err)
	}
	return t.flushParent()
}

// removeMade removes from a work folder what a Tree makes in one.
func (d *dir) removeMade() error {
	list, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer list.Close()
	for {
		names, err := list.Readdirnames(1000)
		for _, name := range names {
			if !isMade(name) {
				continue
			}
			if err := dirent.Remove(d.file, name, name == treeName); err != nil && !gone(err) && !full(err) {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// isMade reports whether something in a work folder is called as a Tree calls
// what it makes there.
func isMade(name string) bool {
	id, kind, _ := strings.Cut(name, ".")
	switch kind {
	case "":
		return name == treeName
	case "new", "part", "note":
		return id != "" && strings.Trim(id, "0123456789") == ""
	}
	return false
}

// gone reports whether there is nothing of that name, or nothing of that kind.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInTheWay)
}

// full reports whether a folder was not removed because it is not empty.
func full(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist)
}
