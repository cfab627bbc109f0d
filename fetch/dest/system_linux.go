package dest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"masvfs/fetch/dirent"
)

func flushAll(f *os.File) error { return dirent.WithFD(f, unix.Syncfs) }

func allocate(f *os.File, size int64) error {
	return dirent.WithFD(f, func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
}

func traitsOf(f *os.File) (traits, error) {
	st, err := statfs(f)
	if err != nil {
		return traits{}, err
	}
	// The type is signed on some architectures and not on others.
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC:
		// Before 6.3 direct writes to room that is reserved wait for each other.
		return traits{flushAll: syncfsTells(), allocate: true, direct: kernelIs(6, 3) && !seeks(f), owners: true, local: true}, nil
	case unix.XFS_SUPER_MAGIC:
		return traits{flushAll: syncfsTells(), allocate: true, direct: !seeks(f), owners: true, local: true}, nil
	case unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return traits{flushAll: syncfsTells(), allocate: true, owners: true, local: true}, nil
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC:
		return traits{dense: true}, nil
	case unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.NFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC:
		// Owners are for the other side to decide: it may map all to one.
		return traits{}, nil
	default:
		return traits{owners: true}, nil
	}
}

// openBelow opens a regular file for reading, by its path from a folder below
// an allowed one, with a call for each (openat2(2), Linux 5.6). Symlinks that
// stay in the allowed folder may be on the way to dst, none after. It is nil
// when anything stands in the way.
func openBelow(allowed, dst, file string) *os.File {
	below, err := filepath.Rel(allowed, dst)
	if err != nil {
		return nil
	}
	const folder = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	top, err := unix.Open(allowed, folder, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(top)
	at, err := unix.Openat2(top, below, &unix.OpenHow{Flags: folder, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil
	}
	defer unix.Close(at)
	// Without waiting: it may have become a FIFO.
	fd, err := unix.Openat2(at, file, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil
	}
	return os.NewFile(uintptr(fd), filepath.Join(dst, file))
}

// mountID identifies the mount that f was opened through; "" on kernels before
// 6.8, whose identifiers are used again.
func mountID(f *os.File) string {
	var st unix.Statx_t
	err := dirent.WithFD(f, func(fd int) error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID_UNIQUE, &st) })
	if err != nil || st.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		return ""
	}
	return strconv.FormatUint(st.Mnt_id, 10)
}

func spaceOf(f *os.File) (Space, error) {
	st, err := statfs(f)
	if err != nil {
		return Space{}, err
	}
	unit := int64(st.Frsize)
	if unit == 0 {
		unit = int64(st.Bsize) // Frsize is not filled in by every file system
	}
	// Total leaves out what is kept back for root, as Free does.
	kept := int64(st.Bfree) - int64(st.Bavail)
	return Space{Free: int64(st.Bavail) * unit, Total: (int64(st.Blocks) - kept) * unit}, nil
}

func statfs(f *os.File) (st unix.Statfs_t, err error) {
	err = dirent.WithFD(f, func(fd int) error { return unix.Fstatfs(fd, &st) })
	return st, err
}

// openDirect opens f again by its descriptor: at its name something else may
// be by now.
func openDirect(f *os.File) (direct *os.File, err error) {
	err = dirent.WithFD(f, func(fd int) error {
		direct, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_WRONLY|unix.O_DIRECT, 0)
		return err
	})
	return direct, err
}

// seeks reports whether f is on a disk with heads that move, for which the
// kernel's page cache puts writes in order. Where that is not known it is taken
// to be so. Virtual disks mostly say that they turn, and mostly do not.
func seeks(f *os.File) bool {
	var st unix.Stat_t
	if err := dirent.WithFD(f, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return true
	}
	device, err := filepath.EvalSymlinks(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return true
	}
	if strings.Contains(device, "/virtio") {
		return false
	}
	turns, err := os.ReadFile(filepath.Join(device, "queue/rotational"))
	if err != nil { // a partition has no queue of its own
		turns, err = os.ReadFile(filepath.Join(filepath.Dir(device), "queue/rotational"))
	}
	return err != nil || strings.TrimSpace(string(turns)) != "0"
}

// syncfsTells reports whether the kernel tells of write errors in syncfs, as
// it does since Linux 5.8 (syncfs(2)). Before, only fsync and fdatasync do.
func syncfsTells() bool { return kernelIs(5, 8) }

// kernelIs reports whether the kernel is of that version or a later one.
func kernelIs(major, minor int) bool {
	is := kernel()
	return is[0] > major || is[0] == major && is[1] >= minor
}

var kernel = sync.OnceValue(func() (version [2]int) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return version
	}
	major, rest, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	minor, _, _ := strings.Cut(rest, ".")
	version[0], _ = strconv.Atoi(major)
	version[1], _ = strconv.Atoi(minor)
	return version
})
