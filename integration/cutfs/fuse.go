package cutfs

import (
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// renameNoReplace is RENAME_NOREPLACE of rename(2).
const renameNoReplace = 1

// validFor is how long the kernel may keep what it was told: nobody but the
// kernel changes anything.
const validFor = time.Hour

// system is what the kernel talks to.
type system struct {
	fuse.RawFileSystem
	*disk
}

func newSystem(d *disk) *system {
	return &system{RawFileSystem: fuse.NewDefaultRawFileSystem(), disk: d}
}

func (s *system) String() string { return "cutfs" }

// look runs f, which changes nothing, with the node of that number.
func (s *system) look(cancel <-chan struct{}, ino uint64, f func(n *node) syscall.Errno) fuse.Status {
	if errno := s.hangs(cancel); errno != 0 {
		return fuse.Status(errno)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return fuse.EIO
	}
	n := s.nodes[ino]
	if n == nil {
		return fuse.Status(syscall.ESTALE)
	}
	return fuse.Status(f(n))
}

// change runs f, which changes or flushes something, with the node of that
// number.
func (s *system) change(cancel <-chan struct{}, k Kind, ino uint64, f func(n *node) syscall.Errno) fuse.Status {
	if errno := s.hangs(cancel); errno != 0 {
		return fuse.Status(errno)
	}
	return fuse.Status(s.do(k, func() syscall.Errno {
		n := s.nodes[ino]
		if n == nil {
			return syscall.ESTALE
		}
		return f(n)
	}))
}

func (s *system) fillAttr(n *node, out *fuse.Attr) {
	mode, size := uint32(syscall.S_IFREG), len(n.data)
	links := n.links
	if n.dir {
		mode, links = syscall.S_IFDIR, 2
	}
	*out = fuse.Attr{
		Ino:     n.ino,
		Size:    uint64(size),
		Blocks:  uint64(len(n.filled)) * pageSize / 512,
		Mode:    mode | n.now.mode&0o7777,
		Nlink:   uint32(links),
		Owner:   fuse.Owner{Uid: n.now.uid, Gid: n.now.gid},
		Blksize: pageSize,
	}
	out.SetTimes(&n.now.mtime, &n.now.mtime, &n.now.mtime)
}

func (s *system) fillEntry(n *node, out *fuse.EntryOut) {
	n.known++
	*out = fuse.EntryOut{NodeId: n.ino, Generation: 1}
	s.fillAttr(n, &out.Attr)
	out.SetEntryTimeout(validFor)
	out.SetAttrTimeout(validFor)
}

func (s *system) Lookup(cancel <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return s.look(cancel, h.NodeId, func(dir *node) syscall.Errno {
		n := dir.names[name]
		if n == nil {
			return syscall.ENOENT
		}
		s.fillEntry(n, out)
		return 0
	})
}

func (s *system) Forget(ino, count uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[ino]; n != nil {
		n.known -= min(n.known, count)
		s.forget(n)
	}
}

func (s *system) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.look(cancel, in.NodeId, func(n *node) syscall.Errno {
		s.fillAttr(n, &out.Attr)
		out.SetTimeout(validFor)
		return 0
	})
}

func (s *system) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	k := SetAttr
	size, sized := in.GetSize()
	if sized {
		k = Write
	}
	return s.change(cancel, k, in.NodeId, func(n *node) syscall.Errno {
		if sized {
			if errno := s.truncate(n, int64(size)); errno != 0 {
				return errno
			}
		} else if errno := s.fault(SetAttr, n.name); errno != 0 {
			return errno
		}
		if mode, ok := in.GetMode(); ok {
			n.now.mode = mode & 0o7777
		}
		if uid, ok := in.GetUID(); ok {
			n.now.uid = uid
		}
		if gid, ok := in.GetGID(); ok {
			n.now.gid = gid
		}
		if t, ok := in.GetMTime(); ok {
			n.now.mtime = t
		}
		s.fillAttr(n, &out.Attr)
		out.SetTimeout(validFor)
		return 0
	})
}

func attrOf(h *fuse.InHeader, mode, umask uint32) attr {
	return attr{mode & 0o7777 &^ umask, h.Uid, h.Gid, time.Now()}
}

func (s *system) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.change(cancel, Name, in.NodeId, func(dir *node) syscall.Errno {
		n, errno := s.create(dir, name, true, attrOf(&in.InHeader, in.Mode, in.Umask))
		if errno == 0 {
			s.fillEntry(n, out)
		}
		return errno
	})
}

func (s *system) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return s.change(cancel, Name, in.NodeId, func(dir *node) syscall.Errno {
		n, errno := s.create(dir, name, false, attrOf(&in.InHeader, in.Mode, in.Umask))
		if errno == 0 {
			s.fillEntry(n, &out.EntryOut)
			out.OpenFlags = fuse.FOPEN_KEEP_CACHE
		}
		return errno
	})
}

func (s *system) Unlink(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return s.change(cancel, Name, h.NodeId, func(dir *node) syscall.Errno { return s.remove(dir, name, false) })
}

func (s *system) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return s.change(cancel, Name, h.NodeId, func(dir *node) syscall.Errno { return s.remove(dir, name, true) })
}

func (s *system) Rename(cancel <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	if in.Flags&^renameNoReplace != 0 {
		return fuse.EINVAL
	}
	return s.change(cancel, Rename, in.NodeId, func(from *node) syscall.Errno {
		to := s.nodes[in.Newdir]
		if to == nil {
			return syscall.ESTALE
		}
		return s.rename(from, name, to, newName, in.Flags&renameNoReplace != 0)
	})
}

func (s *system) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.change(cancel, Name, in.NodeId, func(dir *node) syscall.Errno {
		n := s.nodes[in.Oldnodeid]
		if n == nil {
			return syscall.ESTALE
		}
		errno := s.link(n, dir, name)
		if errno == 0 {
			s.fillEntry(n, out)
		}
		return errno
	})
}

// Open lets the kernel keep the file's pages: without them there is no shared
// mapping, which SQLite needs. What is written passes through to here at once,
// except through a mapping.
func (s *system) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return s.look(cancel, in.NodeId, func(*node) syscall.Errno {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
		return 0
	})
}

func (s *system) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n := 0
	status := s.look(cancel, in.NodeId, func(f *node) syscall.Errno {
		if in.Offset < uint64(len(f.data)) {
			n = copy(buf[:min(len(buf), int(in.Size))], f.data[in.Offset:])
		}
		return 0
	})
	return fuse.ReadResultData(buf[:n]), status
}

func (s *system) Write(cancel <-chan struct{}, in *fuse.WriteIn, p []byte) (uint32, fuse.Status) {
	status := s.change(cancel, Write, in.NodeId, func(n *node) syscall.Errno { return s.write(n, int64(in.Offset), p) })
	if !status.Ok() {
		return 0, status
	}
	return uint32(len(p)), status
}

// fdatasync is FUSE_FSYNC_FDATASYNC.
const fdatasync = 1

func (s *system) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.change(cancel, Sync, in.NodeId, func(n *node) syscall.Errno { return s.flush(n, in.FsyncFlags&fdatasync == 0) })
}

func (s *system) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return s.change(cancel, SyncDir, in.NodeId, func(n *node) syscall.Errno { return s.flushDir(n) })
}

func (s *system) Fallocate(<-chan struct{}, *fuse.FallocateIn) fuse.Status {
	return fuse.Status(syscall.ENOTSUP)
}

func (s *system) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return s.look(cancel, in.NodeId, func(*node) syscall.Errno {
		s.handle++
		out.Fh = s.handle
		return 0
	})
}

func (s *system) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.look(cancel, in.NodeId, func(dir *node) syscall.Errno {
		if in.Offset == 0 {
			list := []entry{{".", dir}, {"..", dir}}
			for _, name := range slices.Sorted(maps.Keys(dir.names)) {
				list = append(list, entry{name, dir.names[name]})
			}
			s.handles[in.Fh] = list
		}
		list := s.handles[in.Fh]
		for i := min(in.Offset, uint64(len(list))); i < uint64(len(list)); i++ {
			mode := uint32(syscall.S_IFREG)
			if list[i].node.dir {
				mode = syscall.S_IFDIR
			}
			if !out.AddDirEntry(fuse.DirEntry{Name: list[i].name, Ino: list[i].node.ino, Mode: mode, Off: i + 1}) {
				break
			}
		}
		return 0
	})
}

func (s *system) ReleaseDir(in *fuse.ReleaseIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.handles, in.Fh)
}

func (s *system) StatFs(cancel <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	return s.look(cancel, h.NodeId, func(*node) syscall.Errno {
		free := uint64(max(0, s.room-s.used)) / pageSize
		*out = fuse.StatfsOut{
			Blocks: uint64(s.room) / pageSize, Bfree: free, Bavail: free,
			Files: 1 << 30, Ffree: 1 << 29,
			Bsize: pageSize, Frsize: pageSize, NameLen: 255,
		}
		return 0
	})
}
