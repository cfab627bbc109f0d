package watcher

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// writerOf asks the kernel whether anybody has f, which is open for reading
// only, open for writing: a read lease is granted only where nobody has
// (fcntl(2), F_SETLEASE). It is given back at once; a writer that comes in
// between waits for some microseconds. The kernel refuses to answer about
// files of other users, unless one has CAP_LEASE, and where the file system
// knows no leases.
//
// fsnotify tells of IN_CLOSE_WRITE only within its own package. Asking the
// file is worth more anyway: it also answers after a restart and a rescan.
func writerOf(f *os.File) writer {
	conn, err := f.SyscallConn()
	if err != nil {
		return unknown
	}
	state := unknown
	err = conn.Control(func(fd uintptr) {
		switch _, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK); {
		case err == nil:
			state = closed
			// The lease ends with the descriptor in any case.
			_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
		case errors.Is(err, unix.EAGAIN):
			state = open
		}
	})
	if err != nil {
		return unknown
	}
	return state
}

// zfsMagic and ntfs3Magic are not in package unix.
const (
	zfsMagic   = 0x2fc12fc1
	ntfs3Magic = 0x7366746e
	xfsMagic   = 0x58465342
)

// isLocal reports whether everything that happens on the file system of dir
// goes through this kernel, so that events are complete and leases mean
// something. It is not so on network file systems, FUSE and 9p; whatever is
// not known here is treated like them.
func isLocal(dir *os.File) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, xfsMagic, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, zfsMagic, unix.BCACHEFS_SUPER_MAGIC,
		unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.REISERFS_SUPER_MAGIC, unix.NILFS_SUPER_MAGIC,
		unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, ntfs3Magic, unix.SQUASHFS_MAGIC, unix.ISOFS_SUPER_MAGIC:
		return true
	}
	return false
}

// sightOf keeps what is needed of a file's metadata.
func sightOf(info fs.FileInfo) sight {
	s := sight{size: info.Size(), modified: info.ModTime().UnixNano(), mode: uint32(info.Mode())}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode, s.changed = st.Ino, st.Ctim.Nano()
	}
	return s
}
