package fusefs

import (
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// openStatus is a status file, state, progress or error, that somebody has
// open.
//
// What it says is fixed when it is opened, and read past the page cache; stat
// tells the exact size, which is never cached. Any one of these missing cuts
// short, or empties, what tail, cp or tar read.
type openStatus struct {
	fs      *FS
	part    part
	opened  fetch.Download // at the moment of opening
	content []byte
	append  bool

	mu    sync.Mutex // guards what follows
	order order
	next  int64 // where the next write is to begin
}

func statusAttr(d fetch.Download, p part, size int) attr {
	a := attr{inode: partInode(d.Seq, p), mode: filePerm, size: int64(size), mtime: d.UpdatedAt}
	if p == statePart {
		a.mode = statePerm
	}
	return a
}

func (s server) openStatus(seq int64, p part, flags, uid uint32, out *fuse.OpenOut) fuse.Status {
	if forWriting(flags) {
		if p != statePart {
			return fuse.EROFS
		}
		if !s.mayOrder(uid) {
			return fuse.EACCES
		}
	}
	d, err := s.agent.BySeq(seq)
	if err != nil {
		return fuse.Status(errnoOf(err))
	}
	if p == errorPart && d.State != fetch.Failed {
		return fuse.ENOENT
	}
	out.Fh = s.handles.add(&openStatus{fs: s.FS, part: p, opened: d, content: content(p, d), append: flags&syscall.O_APPEND != 0})
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

func (o *openStatus) attr() attr { return statusAttr(o.opened, o.part, len(o.content)) }

func (o *openStatus) read(off int64, size int) []byte {
	if off >= int64(len(o.content)) {
		return nil
	}
	return o.content[off:min(off+int64(size), int64(len(o.content)))]
}

// write takes an order to the agent, and returns what came of it. An order
// may arrive in pieces.
func (o *openStatus) write(data []byte, off int64) (uint32, syscall.Errno) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.append: // the kernel counts from the size that stat told
	case off == 0:
		o.order = order{}
	case off != o.next:
		return 0, syscall.EINVAL
	}
	verb, ok := o.order.add(data)
	if !ok {
		o.order = order{}
		return 0, syscall.EINVAL
	}
	if errno := o.obey(verb); errno != 0 {
		o.order = order{}
		return 0, errno
	}
	o.next = off + int64(len(data))
	return uint32(len(data)), 0
}

// flush is close(2): an order that was begun must be finished by now.
func (o *openStatus) flush() syscall.Errno {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.order.begun() {
		o.order = order{}
		return syscall.EINVAL
	}
	return 0
}

func (o *openStatus) obey(v verb) syscall.Errno {
	var err error
	switch v {
	case pause:
		_, err = o.fs.agent.Pause(o.fs.ctx, o.opened.ID)
	case resume:
		_, err = o.fs.agent.Resume(o.fs.ctx, o.opened.ID, "")
	}
	return errnoOf(err)
}
