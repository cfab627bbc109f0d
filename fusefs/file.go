package fusefs

import (
	"context"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// file is a finished file.
type file struct {
	fs.Inode
	readOnlyFile
	*download
	id int64
	// changed is when the file on disk last changed, as its last open saw
	// it (nanoseconds since 1970): while that holds, so does the page cache.
	changed atomic.Int64
}

func (n *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	now, err := n.fs.agent.Stat(n.fs.ctx, n.download.id, n.id)
	if err != nil {
		return errnoOf(err)
	}
	n.fs.setAttr(&out.Attr, nodeAttr(now))
	out.SetTimeout(fileTimeout)
	return 0
}

// Open opens the file on disk. Whether a node is read through this process or
// by the kernel itself has to be the same for all its handles: it is decided
// here, and by nothing that changes while the node is open.
func (n *file) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if forWriting(flags) {
		return nil, 0, syscall.EROFS
	}
	f, err := n.fs.agent.OpenFile(n.fs.ctx, n.download.id, n.id)
	if err != nil {
		return nil, 0, n.openFailed(err)
	}
	var keep uint32
	if at := changeTime(f); at != 0 && n.changed.Swap(at) == at {
		keep = fuse.FOPEN_KEEP_CACHE
	}
	return &openFile{f: f, fd: f.Fd()}, keep, 0
}

func (n *file) openFailed(err error) syscall.Errno {
	now, known := n.fs.agent.Stat(n.fs.ctx, n.download.id, n.id)
	if known != nil {
		return errnoOf(known)
	}
	errno := openErrno(err)
	n.fs.log.Warn("cannot open finished file", "download", n.download.id, "file", now.Name, "err", err)
	return errno
}

// openFile is a finished file that somebody has open. It owns the descriptor.
type openFile struct {
	f  *os.File
	fd uintptr
}

// Read has the kernel move the bytes from the file to the reader, where it can.
func (o *openFile) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	return fuse.ReadResultFd(o.fd, off, len(dest)), 0
}

// Release closes the descriptor. The kernel sends it after the last read has been answered.
func (o *openFile) Release(context.Context) syscall.Errno {
	return errnoOf(o.f.Close())
}
