// Package dirent changes what folders list. It moves files and folders without
// ever replacing another, by whatever means the file system has, and it makes
// folders that a power cut does not take back.
//
// Names are relative to open folders, and no symlink is followed.
package dirent

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Remove removes a file, or an empty folder. Unlike os.Root.Remove it does not
// try the one when it is not the other.
func Remove(in *os.File, name string, folder bool) error {
	flags := 0
	if folder {
		flags = unix.AT_REMOVEDIR
	}
	return WithFD(in, func(fd int) error { return unix.Unlinkat(fd, name, flags) })
}

// Same reports whether two names are links of one file.
func Same(a *os.File, name string, b *os.File, other string) bool {
	x, err := lstat(a, name)
	if err != nil {
		return false
	}
	y, err := lstat(b, other)
	return err == nil && x.Dev == y.Dev && x.Ino == y.Ino
}

func lstat(in *os.File, name string) (st unix.Stat_t, err error) {
	err = WithFD(in, func(fd int) error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// Refused reports whether a file system does not know a call or its flags.
func Refused(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP)
}

// WithFD calls f with a file's descriptor, which stays open meanwhile.
func WithFD(file *os.File, f func(fd int) error) error {
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
