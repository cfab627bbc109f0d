package fusefs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// How long the kernel may believe what it was told. Everything that is not
// named here changes at any moment and is asked for at every use: a timeout
// that is left at 0, since the mount has no defaults.
const (
	// nameTimeout is for names below files/. They only ever vanish with
	// their whole download, and then only for who is already inside.
	nameTimeout = time.Second
	// fileTimeout is for the attributes of finished files, which never change.
	fileTimeout = time.Minute
)

// Permissions. The mount is read-only for users, but for state.
const (
	folderPerm = 0o555
	filePerm   = 0o444
	statePerm  = 0o644
)

// blockSize is the unit of Attr.Blocks, by stat(2).
const blockSize = 512

// attr is what stat tells of a node beside its type and inode number.
type attr struct {
	perm  uint32
	links uint32
	size  int64
	mtime time.Time
}

func (f *FS) setAttr(out *fuse.Attr, a attr) {
	out.Mode = a.perm
	// At least 1: watching an inode without links ends when its entry is dropped.
	out.Nlink = a.links
	out.Size = uint64(a.size)
	out.Blocks = uint64(a.size+blockSize-1) / blockSize
	out.Blksize = 4096
	out.Uid, out.Gid = f.uid, f.gid
	t := a.mtime
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	out.SetTimes(&t, &t, &t)
}

func folderAttr(mtime time.Time) attr {
	return attr{perm: folderPerm, links: 2, mtime: mtime}
}

func nodeAttr(n fetch.Node) attr {
	if n.Dir {
		return folderAttr(n.ModTime)
	}
	return attr{perm: filePerm, links: 1, size: n.Size, mtime: n.ModTime}
}

// kind tells the parts of a download's folder apart.
type kind uint64

const (
	kindFolder kind = iota
	kindState
	kindProgress
	kindError
	kindFiles
)

// Inode numbers are made of the numbers that the agent never uses again, so
// they are the same after a restart:
//
//	1                          the root
//	Node.ID + 1                a file or folder below files/ (Node.ID is above 0)
//	1<<62 | Seq<<3 | kind      a download's folder and what stands in it
//
// Node.ID is below 1<<62 and Seq below 1<<59 for longer than any disk lasts.
func ino(seq int64, k kind) uint64 { return 1<<62 | uint64(seq)<<3 | uint64(k) }

func nodeIno(seq int64, n fetch.Node) uint64 {
	if n.ID == 0 {
		return ino(seq, kindFiles)
	}
	return uint64(n.ID) + 1
}

func nodeMode(n fetch.Node) uint32 {
	if n.Dir {
		return syscall.S_IFDIR
	}
	return syscall.S_IFREG
}

func folderID(i uint64) fs.StableAttr { return fs.StableAttr{Mode: syscall.S_IFDIR, Ino: i} }
func fileID(i uint64) fs.StableAttr   { return fs.StableAttr{Mode: syscall.S_IFREG, Ino: i} }
