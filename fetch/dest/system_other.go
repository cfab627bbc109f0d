//go:build !linux

package dest

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"masvfs/fetch/dirent"
)

// What only Linux has is refused here, and done the long way round.

func flushAll(*os.File) error        { return syscall.ENOTSUP }
func allocate(*os.File, int64) error { return syscall.ENOTSUP }

func openDirect(*os.File) (*os.File, error) { return nil, syscall.ENOTSUP }

func openBelow(string, string, string) *os.File { return nil }

func mountID(*os.File) string { return "" }

func traitsOf(*os.File) (traits, error) { return traits{owners: true}, nil }

func spaceOf(f *os.File) (Space, error) {
	var st unix.Statfs_t
	if err := dirent.WithFD(f, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return Space{}, err
	}
	unit := int64(st.Bsize)
	return Space{Free: int64(st.Bavail) * unit, Total: int64(st.Blocks) * unit}, nil
}
