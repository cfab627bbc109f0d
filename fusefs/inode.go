package fusefs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// An inode is the number of a file or folder of the mount: the node ID by
// which the kernel asks, and what stat shows. It is made of numbers that the
// agent never uses again, so it is the same after a restart, needs no
// generation, and nothing has to be remembered to find what it stands for:
//
//	1                          the root
//	Node.ID + 1                a file or folder below files/ (Node.ID is above 0)
//	1<<62 | Seq<<3 | part      a download's folder and what stands in it
//
// Node.ID is below 1<<62 and Seq below 1<<59 for longer than any disk lasts.
type inode uint64

const rootInode inode = fuse.FUSE_ROOT_ID

// part tells the folder of a download and what stands in it apart.
type part uint8

const (
	folderPart part = iota
	statePart
	progressPart
	errorPart
	filesPart
)

const partMark inode = 1 << 62

func partInode(seq int64, p part) inode { return partMark | inode(seq)<<3 | inode(p) }

// part returns which part of which download i is, if it is one.
func (i inode) part() (seq int64, p part, ok bool) {
	return int64(i &^ partMark >> 3), part(i & 7), i&partMark != 0
}

// node returns the Node.ID of what stands below files/.
func (i inode) node() int64 { return int64(i) - 1 }

// inodeOf returns the inode of a node; that of the root of a tree is files/.
func inodeOf(n fetch.Node) inode {
	if n.ID == 0 {
		return partInode(n.Seq, filesPart)
	}
	return inode(n.ID) + 1
}

// folderNode returns what the agent needs to know of a folder at or below
// files/; not ok if i stands for something that is elsewhere.
func (i inode) folderNode() (n fetch.Node, ok bool) {
	if seq, p, is := i.part(); is {
		return fetch.Node{Seq: seq, Dir: true}, p == filesPart
	}
	return fetch.Node{ID: i.node(), Dir: true}, i != rootInode
}

// How long the kernel may believe what it was told. What a status file says
// is asked for at every use, and a name that is not there is never remembered.
// When a download is renamed or removed, the announcement has the kernel forget
// what it believes.
const (
	// folderTimeout is for names and attributes of folders: those of the
	// downloads are renamed and removed, and what is in a folder changes its time.
	folderTimeout = time.Second
	// fileTimeout is for names and attributes of finished files, where there is
	// an announcer. Attributes never change, and names only ever vanish with
	// their whole download.
	fileTimeout = time.Hour
)

// Permissions. The mount is read-only for users, but for state.
const (
	folderPerm = syscall.S_IFDIR | 0o555
	filePerm   = syscall.S_IFREG | 0o444
	statePerm  = syscall.S_IFREG | 0o644
)

// blockSize is the unit of Attr.Blocks, by stat(2).
const blockSize = 512

// attr is what stat tells of an inode.
type attr struct {
	inode inode
	mode  uint32
	size  int64
	mtime time.Time
}

func (m *FS) fill(out *fuse.Attr, a attr) {
	out.Ino = uint64(a.inode)
	out.Mode = a.mode
	// At least 1: what has no links is gone, for those who watch it.
	out.Nlink = 1
	if a.mode&syscall.S_IFMT == syscall.S_IFDIR {
		out.Nlink = 2
	}
	out.Size = uint64(a.size)
	out.Blocks = uint64(a.size+blockSize-1) / blockSize
	out.Blksize = 4096
	out.Uid, out.Gid = m.uid, m.gid
	t := a.mtime
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	out.SetTimes(&t, &t, &t)
}

func folderAttr(i inode, mtime time.Time) attr {
	return attr{inode: i, mode: folderPerm, mtime: mtime}
}

func nodeAttr(n fetch.Node) attr {
	if n.Dir {
		return folderAttr(inodeOf(n), n.ModTime)
	}
	return attr{inode: inodeOf(n), mode: filePerm, size: n.Size, mtime: n.ModTime}
}

// mayKeep returns how long the kernel may believe what is told of an inode.
func (m *FS) mayKeep(a attr) time.Duration {
	_, _, isPart := a.inode.part()
	switch isFolder := a.mode&syscall.S_IFMT == syscall.S_IFDIR; {
	case isPart && !isFolder:
		return 0
	case isFolder, !m.announcer.works.Load():
		return folderTimeout
	}
	return fileTimeout
}

// enter gives the kernel an inode, which it holds from then on until it
// forgets it. own says that the announcer has asked: what nobody else has
// looked at, the kernel is to forget at once.
func (m *FS) enter(out *fuse.EntryOut, a attr, own bool) {
	out.NodeId = uint64(a.inode)
	if !own {
		out.SetEntryTimeout(m.mayKeep(a))
		out.SetAttrTimeout(m.mayKeep(a))
	}
	m.fill(&out.Attr, a)
	if a.mode&syscall.S_IFMT == syscall.S_IFDIR {
		m.held.add(a.inode, own)
	}
}
