package dest

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"masvfs/fetch/dirent"
)

// Mkdir makes a folder of the package, and those above it, unless they are
// there. It is durable when the tree was drained.
func (t *Tree) Mkdir(p string) error {
	if err := checkPath("make folder", p); err != nil {
		return err
	}
	d, err := t.enter(p, true)
	if err != nil {
		return err
	}
	t.leave(d)
	return nil
}

// OpenFinished opens a finished file of a tree that is placed, for reading. It
// follows no symlink in the tree, and opens nothing but regular files.
func (r *Roots) OpenFinished(dst string, spec Spec, folder, p string) (*os.File, error) {
	if err := r.Check(dst); err != nil {
		return nil, err
	}
	if spec.PackageFolder && folder == "" {
		return nil, fmt.Errorf("open tree in %s: %w", dst, ErrMissing)
	}
	// Readers of many small files wait for nothing but this.
	allowed, _ := r.above(dst)
	if f := openBelow(allowed, filepath.Clean(dst), filepath.Join(folder, filepath.FromSlash(p))); f != nil {
		return f, nil
	}
	// What is wrong, if anything, is found out step by step.
	at, err := r.Existing(dst)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	t, err := at.Tree(spec, folder)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	return t.Open(p)
}

// Open opens a finished file for reading, as OpenFinished does.
func (t *Tree) Open(p string) (*os.File, error) {
	if err := checkPath("open file", p); err != nil {
		return nil, err
	}
	d, err := t.enter(parent(p), false)
	if err != nil {
		return nil, err
	}
	defer t.leave(d)
	f, err := openRegular(d, path.Base(p), os.O_RDONLY)
	if err != nil {
		return nil, wrap("open file", t.abs(p), err)
	}
	return f, nil
}

// Remove removes a file or an empty folder that was placed earlier. One that
// is gone, or that is not empty, is no error; what is neither a file nor a
// folder is not ours, and stays.
func (t *Tree) Remove(p string) error {
	if err := checkPath("remove", p); err != nil {
		return err
	}
	above := parent(p)
	d, err := t.enter(above, false)
	if gone(err) || errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	defer t.leave(d)
	info, err := d.root.Lstat(path.Base(p))
	if err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return nil
	}
	if err == nil {
		err = dirent.Remove(d.file, path.Base(p), info.IsDir())
	}
	if gone(err) || full(err) {
		return nil
	}
	if err != nil {
		return wrap("remove", t.abs(p), err)
	}
	t.noteDirty(above)
	return nil
}

// openRegular opens a regular file in d, and nothing else.
func openRegular(d *dir, name string, flags int) (*os.File, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s", ErrInTheWay, describe(info))
	}
	// Without waiting: it may have become a FIFO since.
	f, err := d.root.OpenFile(name, flags|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(info, now) {
		err = fmt.Errorf("%w: it was replaced just now", ErrInTheWay)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
