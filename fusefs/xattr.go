package fusefs

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// noXattr is what getxattr says of an attribute that is not there, by its
// name on this platform.
const noXattr = syscall.Errno(fuse.ENOATTR)

// fill answers getxattr and listxattr: dest may be too small, or empty to ask
// for the size.
func fill(dest []byte, value string) (uint32, syscall.Errno) {
	if len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

func fillNames(dest []byte, names []string) (uint32, syscall.Errno) {
	return fill(dest, strings.Join(names, "\x00")+"\x00")
}
