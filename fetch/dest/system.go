package dest

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// system are the calls that os has no words for. Tests put others in their
// place, to have them fail as they do on file systems that are not at hand.
type system struct {
	renameNoReplace func(from *os.File, name string, to *os.File, newName string) error
	rename          func(from *os.File, name string, to *os.File, newName string) error
	link            func(from *os.File, name string, to *os.File, newName string) error
	flushAll        func(*os.File) error // everything on the file system of an open folder
	flushData       func(*os.File) error
	flushDir        func(*os.File) error
	allocate        func(f *os.File, size int64) error
	chown           func(f *os.File, uid, gid int) error
	traits          func(*os.File) (traits, error)
	space           func(*os.File) (Space, error)
}

var native = system{
	renameNoReplace: renameNoReplace,
	rename:          at2(unix.Renameat),
	link: at2(func(from int, name string, to int, newName string) error {
		return unix.Linkat(from, name, to, newName, 0)
	}),
	flushAll:  flushAll,
	flushData: flushData,
	flushDir:  (*os.File).Sync,
	allocate:  allocate,
	chown:     (*os.File).Chown,
	traits:    traitsOf,
	space:     spaceOf,
}

// traits are what a kind of file system does and does not do.
type traits struct {
	flushAll bool // syncfs flushes everything, and tells of errors
	allocate bool // fallocate takes no time
	dense    bool // files have no holes: extending one writes zeros
	owners   bool // files have owners, so that refusing one is an error
	local    bool // what was written is there for the next program, flushed or not
}

// moveFile renames a file without replacing anything; fs.ErrExist says that
// the name is taken.
func (s *system) moveFile(from *dir, name string, to *dir, newName string) error {
	err := s.renameNoReplace(from.file, name, to.file, newName)
	if !refused(err) {
		return err
	}
	err = s.link(from.file, name, to.file, newName)
	if err == nil {
		return unlink(from, name, false)
	}
	// Without hard links, the file system says EPERM (link(2)).
	if !refused(err) && !errors.Is(err, syscall.EPERM) {
		return err
	}
	return s.moveUnlessThere(from, name, to, newName)
}

// moveFolder is moveFile for folders, of which there are no hard links.
func (s *system) moveFolder(from *dir, name string, to *dir, newName string) error {
	err := s.renameNoReplace(from.file, name, to.file, newName)
	if !refused(err) {
		return err
	}
	err = s.moveUnlessThere(from, name, to, newName)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.ENOTDIR) {
		return fs.ErrExist // it came in between
	}
	return err
}

// moveUnlessThere is the last resort, where the file system has no means to
// do both in one step.
func (s *system) moveUnlessThere(from *dir, name string, to *dir, newName string) error {
	switch _, err := to.root.Lstat(newName); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return s.rename(from.file, name, to.file, newName)
}

// own gives a file or folder its owner, where there are owners.
func (s *system) own(f *os.File, t traits, uid, gid *int) error {
	if uid == nil && gid == nil {
		return nil
	}
	u, g := -1, -1
	if uid != nil {
		u = *uid
	}
	if gid != nil {
		g = *gid
	}
	err := s.chown(f, u, g)
	if err != nil && (!t.owners || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS)) {
		return nil
	}
	return err
}

// syncDir flushes a folder. Some file systems have no such call for folders;
// there is nothing more to be done about them.
func (s *system) syncDir(d *dir) error {
	if err := s.flushDir(d.file); !refused(err) {
		return err
	}
	return nil
}

// refused reports whether a file system does not know a call or its flags.
func refused(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP)
}

// unlink removes a file, or an empty folder. Unlike os.Root.Remove it does
// not try the one when it is not the other.
func unlink(d *dir, name string, folder bool) error {
	flags := 0
	if folder {
		flags = unix.AT_REMOVEDIR
	}
	return withFD(d.file, func(fd int) error { return unix.Unlinkat(fd, name, flags) })
}

// withFD calls f with a file's descriptor, which stays open meanwhile.
func withFD(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var called error
	err = conn.Control(func(fd uintptr) {
		for {
			if called = f(int(fd)); called != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return called
}

// at2 turns a call on names in two folders into one on their open files.
func at2(call func(from int, name string, to int, newName string) error) func(*os.File, string, *os.File, string) error {
	return func(from *os.File, name string, to *os.File, newName string) error {
		return withFD(from, func(fromFD int) error {
			return withFD(to, func(toFD int) error { return call(fromFD, name, toFD, newName) })
		})
	}
}
