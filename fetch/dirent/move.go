package dirent

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Call is a system call on names in two folders.
type Call func(from *os.File, name string, to *os.File, newName string) error

// Calls are what a move is made of. Tests put others in their place, to have
// them fail as they do on file systems that are not at hand.
type Calls struct {
	RenameNoReplace, Rename, Link Call
}

// Native are the system's own calls.
var Native = Calls{
	RenameNoReplace: renameNoReplace,
	Rename:          at2(unix.Renameat),
	Link: at2(func(from int, name string, to int, newName string) error {
		return unix.Linkat(from, name, to, newName, 0)
	}),
}

// MoveFile gives a file another name; fs.ErrExist says that another file has
// it. What a move that was cut short has left is finished.
//
// Where the file system cannot rename so, the file is linked and unlinked;
// where it cannot do that either, the name is looked up first, which leaves a
// gap that another program could fall into.
func (c *Calls) MoveFile(from *os.File, name string, to *os.File, newName string) error {
	err := c.RenameNoReplace(from, name, to, newName)
	if Refused(err) {
		if err = c.Link(from, name, to, newName); err == nil {
			return removeLinked(from, name)
		}
		// Without hard links, the file system says EPERM (link(2)).
		if Refused(err) || errors.Is(err, syscall.EPERM) {
			err = c.moveUnlessThere(from, name, to, newName)
		}
	}
	if errors.Is(err, fs.ErrExist) && Same(from, name, to, newName) {
		// A crash came between link and unlink, or a network file system has
		// linked it and the answer got lost.
		return removeLinked(from, name)
	}
	return err
}

// removeLinked removes a name of a file that has another. That stays also if
// this fails: where answers get lost, it may be the last one.
func removeLinked(in *os.File, name string) error {
	err := Remove(in, name, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed it was, and the answer got lost
	}
	return err
}

// MoveFolder is MoveFile for folders, of which there are no hard links.
func (c *Calls) MoveFolder(from *os.File, name string, to *os.File, newName string) error {
	err := c.RenameNoReplace(from, name, to, newName)
	if !Refused(err) {
		return err
	}
	err = c.moveUnlessThere(from, name, to, newName)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
		return fs.ErrExist // it came in between
	}
	return err
}

// moveUnlessThere is the last resort, where the file system has no means to
// do both in one step.
func (c *Calls) moveUnlessThere(from *os.File, name string, to *os.File, newName string) error {
	switch _, err := lstat(to, newName); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return c.Rename(from, name, to, newName)
}

// at2 turns a call on descriptors into one on open folders.
func at2(call func(from int, name string, to int, newName string) error) Call {
	return func(from *os.File, name string, to *os.File, newName string) error {
		return WithFD(from, func(fromFD int) error {
			return WithFD(to, func(toFD int) error { return call(fromFD, name, toFD, newName) })
		})
	}
}
