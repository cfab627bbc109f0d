package dest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// treeName is what the package folder is called in the work folder, until it
// has got its first name.
const treeName = "tree"

// Place makes the package folder. It is built in the work folder, then renamed
// to the first of candidate(1), candidate(2), … (made a hidden name if the
// Spec says so) that nothing has yet. record is called with a name, and must
// remember it durably, before that name is tried: so after a crash, a folder
// still in the work folder has got no name, and one that is gone from there
// has the name recorded last. recorded is that name, from an earlier run; "" if
// there is none.
//
// Place returns the name, and does nothing if the folder is placed.
func (t *Tree) Place(recorded string, candidate func(n int) string, record func(name string) error) (folder string, err error) {
	t.naming.Lock()
	defer t.naming.Unlock()
	if t.own != nil {
		return t.name, nil
	}
	_, err = t.workFolder(false)
	if errors.Is(err, fs.ErrNotExist) && recorded != "" {
		// Somebody has removed the work folder. Without it nothing tells
		// whether the folder of that name is ours.
		if err := record(""); err != nil {
			return "", err
		}
		recorded = ""
	}
	work, err := t.workFolder(true)
	if err != nil {
		return "", err
	}
	if recorded != "" {
		_, err := work.root.Lstat(treeName)
		if errors.Is(err, fs.ErrNotExist) {
			if err = t.adopt(recorded); err == nil {
				err = t.flushParent()
			}
			if !errors.Is(err, ErrMissing) {
				return t.name, err
			}
			// It was removed while it was still empty: make another.
		}
	}
	own, err := t.makeDir(work, treeName)
	if err == nil {
		// If it was there, a crash may have come before it had its owner.
		err = errors.Join(t.sys.own(own.file, t.traits, t.spec.UID, t.spec.GID), t.sys.syncDir(work))
	}
	if err != nil {
		return "", wrap("make package folder", filepath.Join(t.path, t.workName(), treeName), err)
	}
	named := candidate
	if t.spec.hides() {
		named = func(n int) string { return hide(candidate(n), t.spec.ID) }
	}
	folder, err = t.rename(work, treeName, own, named, record)
	if err != nil {
		own.close()
		return "", err
	}
	return folder, errors.Join(t.flushParent(), t.sys.syncDir(work))
}

// Publish gives a hidden package folder its final name, with candidates and
// records as in Place. It returns the name, and does nothing if the folder
// has got it. Before, all pieces must have been drained.
func (t *Tree) Publish(recorded string, candidate func(n int) string, record func(name string) error) (folder string, err error) {
	t.naming.Lock()
	defer t.naming.Unlock()
	if !t.spec.hides() || t.own != nil && !isHidden(t.name, t.spec.ID) {
		return t.name, t.flushParent()
	}
	own, err := t.placed()
	if errors.Is(err, ErrMissing) && recorded != "" && t.own == nil {
		// It is gone from its hidden name: it has the one recorded.
		err = t.adopt(recorded)
		return t.name, errors.Join(err, t.flushParent())
	}
	if err != nil {
		return "", err
	}
	folder, err = t.rename(t.parent, t.name, own, candidate, record)
	if err != nil {
		return "", err
	}
	return folder, t.flushParent()
}

// rename gives the folder own, which is called name in from, the first of the
// candidates that is not taken.
func (t *Tree) rename(from *dir, name string, own *dir, candidate func(n int) string, record func(name string) error) (string, error) {
	last := ""
	for n := 1; ; n++ {
		next := candidate(n)
		if err := checkName("name package folder", next); err != nil {
			return "", err
		}
		if next == last {
			return "", wrap("name package folder", filepath.Join(t.path, next), fs.ErrExist)
		}
		last = next
		if err := record(next); err != nil {
			return "", fmt.Errorf("record the package folder's name: %w", err)
		}
		t.mu.Lock()
		err := t.sys.MoveFolder(from.file, name, t.parent.file, next)
		if err == nil {
			t.name, t.own = next, own
		}
		t.mu.Unlock()
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", wrap("name package folder", filepath.Join(t.path, next), err)
		}
	}
}

func (t *Tree) flushParent() error {
	if err := t.sys.syncDir(t.parent); err != nil {
		return wrap("flush", t.path, err)
	}
	return nil
}
