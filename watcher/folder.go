package watcher

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"masvfs/fetch/dirent"
)

// folder is an open folder: the inbox, or one of the two inside it. Nothing
// that is done through it leads out of it.
type folder struct {
	root *os.Root
	dir  *os.File // the same, as a descriptor for the calls that os.Root lacks
}

// newFolder makes a folder of a root that was just opened; the arguments are
// what os.OpenRoot and its kin return.
func newFolder(root *os.Root, err error) (*folder, error) {
	if err != nil {
		return nil, err
	}
	dir, err := root.OpenFile(".", os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		root.Close()
		return nil, err
	}
	return &folder{root: root, dir: dir}, nil
}

func (f *folder) close() {
	f.dir.Close()
	f.root.Close()
}

// inner opens a folder inside f, which is made, of mode 0700, when missing. A
// symbolic link in its place is refused.
func (f *folder) inner(name string) (*folder, error) {
	switch err := f.root.Mkdir(name, 0o700); {
	case err == nil:
		if err := f.sync(); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	want, err := f.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !want.IsDir() {
		return nil, fmt.Errorf("%q in the inbox must be a folder: move away what is there", name)
	}
	in, err := newFolder(f.root.OpenRoot(name))
	if err != nil {
		return nil, err
	}
	have, err := in.dir.Stat()
	if err == nil && !os.SameFile(want, have) {
		err = fmt.Errorf("%q in the inbox was replaced while it was opened", name)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	if have.Mode().Perm() != 0o700 {
		// Best effort: shares without modes refuse it, and the files in it
		// are better moved there than left.
		_ = in.dir.Chmod(0o700)
	}
	return in, nil
}

// sync makes what was done to the folder's names durable.
func (f *folder) sync() error { return dirent.Sync(f.dir) }

// sight returns what stands under a name, without following a link.
func (f *folder) sight(name string) (sight, error) {
	info, err := f.root.Lstat(name)
	if err != nil {
		return sight{}, err
	}
	return sightOf(info), nil
}

// open opens a regular file for reading. What has taken its place since it
// was seen, a pipe that would block or another file, gives errChanged.
func (f *folder) open(name string, seen sight) (*os.File, error) {
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || !sightOf(info).same(seen)) {
		err = errChanged
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// write makes a file of mode 0600 that appears under its name whole and
// durable, or not at all. If one of the same content is there, that is it.
func (f *folder) write(name string, data []byte) error {
	if f.holds(name, data) {
		return nil
	}
	const unfinished = ".unfinished.error.txt"
	if err := f.root.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := f.root.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = move(f, unfinished, f, name)
	}
	if err != nil {
		err = errors.Join(err, f.root.Remove(unfinished))
	}
	return err
}

// holds reports whether a regular file of that content is there.
func (f *folder) holds(name string, data []byte) bool {
	info, err := f.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(data)) {
		return false
	}
	file, err := f.open(name, sightOf(info))
	if err != nil {
		return false
	}
	defer file.Close()
	have, err := io.ReadAll(io.LimitReader(file, int64(len(data))+1))
	return err == nil && bytes.Equal(have, data)
}

// move gives a file another name, and never replaces what has that name
// already: that is fs.ErrExist. The gap that dirent.MoveFile leaves on some
// file systems is open only to another writer of accepted/ or rejected/, both
// of mode 0700.
func move(from *folder, name string, to *folder, target string) error {
	if err := dirent.Native.MoveFile(from.dir, name, to.dir, target); err != nil {
		return &os.LinkError{Op: "rename", Old: name, New: target, Err: err}
	}
	return nil
}

// is reports whether f is the folder that info describes.
func (f *folder) is(info fs.FileInfo) bool {
	have, err := f.dir.Stat()
	return err == nil && os.SameFile(have, info)
}
