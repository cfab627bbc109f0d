package dest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Folder is an open destination. Its methods are safe for concurrent use, and
// its trees live on after it is closed.
type Folder struct {
	path   string
	dir    *dir
	traits traits
	sys    *system
}

func newFolder(path string, d *dir, sys *system) (*Folder, error) {
	traits, err := sys.traits(d.file)
	if err != nil {
		d.close()
		return nil, wrap("open destination", path, err)
	}
	return &Folder{path: path, dir: d, traits: traits, sys: sys}, nil
}

// Path returns the folder's clean absolute path.
func (f *Folder) Path() string { return f.path }

// Device identifies the file system that the folder is on, until the next
// start of the machine.
func (f *Folder) Device() uint64 { return f.dir.device() }

// Space tells how much room the folder's file system has.
func (f *Folder) Space() (Space, error) {
	s, err := f.sys.space(f.dir.file)
	if err != nil {
		return Space{}, wrap("ask for the space of", f.path, err)
	}
	return s, nil
}

// Close releases the folder.
func (f *Folder) Close() error { return f.dir.close() }

// dir is an open folder: a Root for what os.Root can do, and the descriptor
// for what it cannot.
type dir struct {
	root *os.Root
	file *os.File
	info fs.FileInfo

	// Of those that a Tree keeps; guarded by opened.mu.
	path    string
	users   int
	kept    bool
	settled bool // the entry of this folder was noted for flushing since it was opened
}

// openDir opens the folder name below r, over symlinks that stay in r.
func openDir(r *os.Root, name string) (*dir, error) {
	// As the last component but one it is opened with O_DIRECTORY: a FIFO
	// that has come in its place would hold up an ordinary open for ever.
	root, err := r.OpenRoot(name + "/.")
	if err != nil {
		return nil, err
	}
	file, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	d := &dir{root: root, file: file}
	if d.info, err = file.Stat(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// openChild opens the folder name in d. A symlink, or anything else that is
// no folder, is ErrInTheWay.
func openChild(d *dir, name string) (*dir, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s", ErrInTheWay, describe(info))
	}
	child, err := openDir(d.root, name)
	// Between the two calls the name may have become a symlink.
	if err == nil && !os.SameFile(info, child.info) {
		child.close()
		return nil, fmt.Errorf("%w: it was replaced just now", ErrInTheWay)
	}
	if now, _ := d.root.Lstat(name); err != nil && now != nil && !now.IsDir() {
		return nil, fmt.Errorf("%w: %s", ErrInTheWay, describe(now))
	}
	return child, err
}

// holds reports whether name in d still is the folder c.
func (d *dir) holds(name string, c *dir) (bool, error) {
	info, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(info, c.info), err
}

// owner returns the user to whom the folder belonged when it was opened.
func (d *dir) owner() int { return int(d.info.Sys().(*syscall.Stat_t).Uid) }

func (d *dir) device() uint64 { return uint64(d.info.Sys().(*syscall.Stat_t).Dev) }

func (d *dir) close() error {
	d.root.Close()
	return d.file.Close()
}

// describe says what stands in the way.
func describe(info fs.FileInfo) string {
	switch info.Mode().Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a folder"
	case fs.ModeSymlink:
		return "a symlink"
	default:
		return "a special file"
	}
}
