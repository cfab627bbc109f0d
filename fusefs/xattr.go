package fusefs

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The extended attributes of the root: which process serves the mount, for
// another one that would like to mount there, and how files are read.
const (
	pidXattr   = "user.masv.pid"
	readsXattr = "user.masv.reads"
)

// The extended attributes of a download's folder.
const (
	stateXattr = "user.masv.state"
	idXattr    = "user.masv.download_id"
)

// GetXAttr answers getxattr(2).
func (s server) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	value, errno := s.xattr(inode(h.NodeId), name)
	if errno != 0 {
		return 0, fuse.Status(errno)
	}
	return copyOut(dest, value)
}

func (m *FS) xattr(i inode, name string) (string, syscall.Errno) {
	if !strings.HasPrefix(name, "user.") {
		// Not ENODATA: of a file system that has no such thing ls asks just once.
		return "", syscall.EOPNOTSUPP
	}
	if i == rootInode {
		switch name {
		case pidXattr:
			return strconv.Itoa(os.Getpid()), 0
		case readsXattr:
			return m.Reads(), 0
		}
	}
	if seq, p, ok := i.part(); ok && p == folderPart && (name == idXattr || name == stateXattr) {
		d, err := m.agent.BySeq(seq)
		if err != nil {
			return "", errnoOf(err)
		}
		if name == idXattr {
			return d.ID, 0
		}
		return string(d.State), 0
	}
	return "", noXattr
}

// ListXAttr answers listxattr(2).
func (s server) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	var names []string
	i := inode(h.NodeId)
	if i == rootInode {
		names = []string{pidXattr, readsXattr}
	} else if _, p, ok := i.part(); ok && p == folderPart {
		names = []string{stateXattr, idXattr}
	}
	if len(names) == 0 {
		return 0, fuse.OK
	}
	return copyOut(dest, strings.Join(names, "\x00")+"\x00")
}

// noXattr is what getxattr says of an attribute that is not there, by its
// name on this platform.
const noXattr = syscall.Errno(fuse.ENOATTR)

// copyOut answers getxattr and listxattr: dest may be too small, or empty to
// ask for the size.
func copyOut(dest []byte, value string) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}
