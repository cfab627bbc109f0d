package fusefs

import (
	"context"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// statusFile is state, progress or error.
//
// What it says is fixed when it is opened, and read past the page cache; stat
// tells the exact size, which is never cached. Any one of these missing cuts
// short, or empties, what tail, cp or tar read.
type statusFile struct {
	fs.Inode
	readOnlyFile
	*download
	kind kind
}

func (n *statusFile) attr(d fetch.Download, size int) attr {
	a := attr{perm: filePerm, links: 1, size: int64(size), mtime: d.UpdatedAt}
	if n.kind == kindState {
		a.perm = statePerm
	}
	return a
}

// there reports whether the file stands in the folder of a download in that state.
func (n *statusFile) there(d fetch.Download) bool {
	return n.kind != kindError || d.State == fetch.Failed
}

func (n *statusFile) Getattr(_ context.Context, h fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d, errno := n.get()
	if errno == 0 && n.there(d) {
		n.fs.setAttr(&out.Attr, n.attr(d, len(content(n.kind, d))))
		return 0
	}
	// It is gone, but stays what it was for those who have it open.
	o, ok := h.(*openStatus)
	if !ok {
		return syscall.ENOENT
	}
	n.fs.setAttr(&out.Attr, n.attr(o.opened, len(o.content)))
	return 0
}

// Access answers access(2): state may be written to.
func (n *statusFile) Access(ctx context.Context, mask uint32) syscall.Errno {
	if n.kind == kindState {
		mask &^= writeAccess
	}
	return n.readOnlyFile.Access(ctx, mask)
}

func (n *statusFile) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if forWriting(flags) && n.kind != kindState {
		return nil, 0, syscall.EROFS
	}
	d, errno := n.get()
	if errno != 0 {
		return nil, 0, errno
	}
	if !n.there(d) {
		return nil, 0, syscall.ENOENT
	}
	o := &openStatus{
		node:    n,
		opened:  d,
		content: content(n.kind, d),
		append:  flags&syscall.O_APPEND != 0,
	}
	return o, fuse.FOPEN_DIRECT_IO, 0
}

// truncating are the changes of attributes that come with O_TRUNC.
const truncating = fuse.FATTR_SIZE | fuse.FATTR_FH | fuse.FATTR_LOCKOWNER | fuse.FATTR_MTIME |
	fuse.FATTR_MTIME_NOW | fuse.FATTR_CTIME | fuse.FATTR_KILL_SUIDGID

// Setattr lets state be emptied, as `echo pause > state` does before it
// writes; that changes nothing.
func (n *statusFile) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, ok := in.GetSize()
	if n.kind != kindState || !ok || size != 0 || in.Valid&^truncating != 0 {
		return syscall.EROFS
	}
	return n.Getattr(ctx, h, out)
}

// openStatus is a status file that somebody has open.
type openStatus struct {
	node    *statusFile
	opened  fetch.Download // at the moment of opening
	content []byte
	append  bool

	mu    sync.Mutex // guards what follows
	order order
	next  int64 // where the next write is to begin
}

func (o *openStatus) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if off >= int64(len(o.content)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(o.content[off:min(off+int64(len(dest)), int64(len(o.content)))]), 0
}

// Write takes an order to the agent, and returns what came of it. An order
// may arrive in pieces.
func (o *openStatus) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
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
	if errno := o.node.obey(verb); errno != 0 {
		o.order = order{}
		return 0, errno
	}
	o.next = off + int64(len(data))
	return uint32(len(data)), 0
}

// Flush is close(2): an order that was begun must be finished by now.
func (o *openStatus) Flush(context.Context) syscall.Errno {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.order.begun() {
		o.order = order{}
		return syscall.EINVAL
	}
	return 0
}

// Fsync has nothing to do: orders are durable when they are obeyed.
func (o *openStatus) Fsync(context.Context, uint32) syscall.Errno { return 0 }

func (d *download) obey(v verb) syscall.Errno {
	var err error
	switch v {
	case pause:
		_, err = d.fs.agent.Pause(d.fs.ctx, d.id)
	case resume:
		_, err = d.fs.agent.Resume(d.fs.ctx, d.id, "")
	}
	return errnoOf(err)
}
