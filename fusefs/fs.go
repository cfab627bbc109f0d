package fusefs

import (
	"errors"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// server answers the kernel's requests, one method for each: go-fuse calls
// them from many goroutines at once. What is not here is refused by readOnly.
type server struct {
	*FS
	readOnly
}

var _ fuse.RawFileSystem = server{}

// String names the file system in the library's messages.
func (server) String() string { return "masvfs" }

// Lookup answers which inode has a name in a folder.
func (s server) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	folder := inode(h.NodeId)
	var a attr
	var errno syscall.Errno
	act := s.announcer.act(h, name)
	if act != nil {
		a, errno = s.lookupFor(act, folder, name)
	} else {
		a, errno = s.lookup(folder, name)
	}
	if errno != 0 {
		return fuse.Status(errno)
	}
	s.enter(out, a, act != nil)
	return fuse.OK
}

// lookup is what everybody sees.
func (m *FS) lookup(folder inode, name string) (attr, syscall.Errno) {
	if folder == rootInode {
		d, ok := m.agent.ByName(name)
		if !ok {
			return attr{}, syscall.ENOENT
		}
		return folderAttr(partInode(d.Seq, folderPart), d.UpdatedAt), 0
	}
	if seq, p, ok := folder.part(); ok && p == folderPart {
		d, err := m.agent.BySeq(seq)
		if err != nil {
			return attr{}, errnoOf(err)
		}
		for _, e := range partsOf(d) {
			if e.name == name {
				return m.partAttr(d, e.part)
			}
		}
		return attr{}, syscall.ENOENT
	}
	n, errno := m.lookupNode(folder, name)
	if errno == 0 {
		m.announcer.lookedInto(n.Seq)
		if !m.agent.Shown(n.Seq) {
			errno = syscall.ENOENT
		}
	}
	return nodeAttr(n), errno
}

// lookupNode looks a name up below files/, in what is being removed too.
func (m *FS) lookupNode(folder inode, name string) (fetch.Node, syscall.Errno) {
	in, ok := folder.folderNode()
	if !ok {
		return fetch.Node{}, syscall.ENOTDIR
	}
	n, err := m.agent.Lookup(m.ctx, in, name)
	return n, errnoOf(err)
}

// Forget takes back what the kernel was given.
func (s server) Forget(nodeID, times uint64) { s.held.forget(inode(nodeID), times) }

// GetAttr answers stat.
func (s server) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	var handle any
	if in.Flags()&fuse.FUSE_GETATTR_FH != 0 {
		handle = s.handles.get(in.Fh())
	}
	return s.getAttr(inode(in.NodeId), handle, out)
}

func (s server) getAttr(i inode, handle any, out *fuse.AttrOut) fuse.Status {
	a, errno := s.stat(i)
	if errno == syscall.ENOENT {
		// It is gone, but stays what it was for those who have it open.
		if o, ok := handle.(*openStatus); ok {
			a, errno = o.attr(), 0
		} else if was, ok := s.open.attr(i); ok {
			a, errno = was, 0
		}
	}
	if errno != 0 {
		return fuse.Status(errno)
	}
	out.SetTimeout(s.mayKeep(a))
	s.fill(&out.Attr, a)
	return fuse.OK
}

// stat is what everybody sees of an inode.
func (m *FS) stat(i inode) (attr, syscall.Errno) {
	if i == rootInode {
		return folderAttr(i, m.agent.Listed()), 0
	}
	if seq, p, ok := i.part(); ok {
		d, err := m.agent.BySeq(seq)
		if err != nil {
			return attr{}, errnoOf(err)
		}
		return m.partAttr(d, p)
	}
	n, err := m.agent.Stat(m.ctx, i.node())
	if err == nil && !m.agent.Shown(n.Seq) {
		err = os.ErrNotExist
	}
	return nodeAttr(n), errnoOf(err)
}

// SetAttr is allowed for two things: to empty state, as `echo pause > state`
// does before it writes, which changes nothing; and for the announcer.
func (s server) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	i := inode(in.NodeId)
	if s.announcer.expects(&in.InHeader, i) {
		return s.getAttr(i, nil, out)
	}
	seq, p, ok := i.part()
	size, sized := in.GetSize()
	if !ok || p != statePart || !sized || size != 0 || in.Valid&^truncating != 0 {
		return fuse.EROFS
	}
	if !s.mayOrder(in.Uid) {
		return fuse.EACCES
	}
	var handle any
	if fh, ok := in.GetFh(); ok {
		handle = s.handles.get(fh)
	}
	if !s.agent.Shown(seq) && handle == nil {
		return fuse.ENOENT
	}
	return s.getAttr(i, handle, out)
}

// truncating are the changes of attributes that come with O_TRUNC.
const truncating = fuse.FATTR_SIZE | fuse.FATTR_FH | fuse.FATTR_LOCKOWNER | fuse.FATTR_MTIME |
	fuse.FATTR_MTIME_NOW | fuse.FATTR_CTIME | fuse.FATTR_KILL_SUIDGID

// Bits of the mask of access(2).
const (
	executeAccess = 1
	writeAccess   = 2
)

// Access answers access(2): there are no programs here, and only state is written to.
func (s server) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	i := inode(in.NodeId)
	_, p, isPart := i.part()
	if in.Mask&writeAccess != 0 {
		switch {
		case !isPart || p != statePart:
			return fuse.EROFS
		case !s.mayOrder(in.Uid):
			return fuse.EACCES
		}
	}
	if in.Mask&executeAccess == 0 {
		return fuse.OK
	}
	a, errno := s.stat(i)
	if errno == 0 && a.mode&syscall.S_IFMT != syscall.S_IFDIR {
		errno = syscall.EACCES
	}
	return fuse.Status(errno)
}

// Open opens a file.
func (s server) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	i := inode(in.NodeId)
	if seq, p, ok := i.part(); ok {
		return s.openStatus(seq, p, in.Flags, in.Uid, out)
	}
	if forWriting(in.Flags) {
		return fuse.EROFS
	}
	return fuse.Status(s.openFile(i, out))
}

// forWriting reports whether open flags ask for more than reading.
func forWriting(flags uint32) bool {
	return flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0
}

// Read reads an open file.
func (s server) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	switch o := s.handles.get(in.Fh).(type) {
	case *openStatus:
		return fuse.ReadResultData(o.read(int64(in.Offset), len(buf))), fuse.OK
	case *openFile:
		return o.read(int64(in.Offset), len(buf))
	}
	return nil, fuse.EBADF
}

// Write takes orders that are written to state.
func (s server) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	o, ok := s.handles.get(in.Fh).(*openStatus)
	if !ok {
		return 0, fuse.EBADF
	}
	n, errno := o.write(data, int64(in.Offset))
	return n, fuse.Status(errno)
}

// Flush answers close(2).
func (s server) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	if o, ok := s.handles.get(in.Fh).(*openStatus); ok {
		return fuse.Status(o.flush())
	}
	return fuse.OK
}

// Fsync has nothing to do: orders are durable when they are obeyed.
func (server) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// FsyncDir has nothing to do.
func (server) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

// Release closes what Open and Create have opened, after the last read of it.
func (s server) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if o, ok := s.handles.remove(in.Fh).(*openFile); ok {
		s.open.release(o)
	}
}

// StatFs tells of the file system that holds the data.
func (s server) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return fuse.Status(errnoOf(statfs(s.statfsPath, out)))
}

// mayOrder reports whether a user may write to state: the agent's own, and
// root. With allow_other everybody may come in, and read.
func (m *FS) mayOrder(uid uint32) bool { return uid == 0 || uid == m.uid }

// openErrno is errnoOf for opening a file that is known to be there: that it
// is missing on disk, or the disk is, is a fault of the medium. Only what a
// caller can act upon is told as it is.
func openErrno(err error) syscall.Errno {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EACCES, syscall.EPERM} {
		if errors.Is(err, errno) {
			return errno
		}
	}
	return syscall.EIO
}
