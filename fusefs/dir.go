package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// pageSize is how many entries a folder that is being listed holds at most.
const pageSize = 256

// entry is one name in a folder.
type entry struct {
	name  string
	place uint64 // where in its folder it stands: above 0, and its own for good
	mode  uint32
	ino   uint64
	// inode makes the node from what the listing knows of it; nil: look the
	// name up.
	inode func(context.Context, *fuse.EntryOut) *fs.Inode
}

// openFolder is a folder that somebody has opened for listing. go-fuse calls
// its methods one at a time.
//
// The offset that telldir(3) tells is made of an entry's place, by which the
// folder finds the entry again. So offsets hold for as long as their entries
// stand, in any handle, and nothing has to be remembered for them. What is
// there from opendir to the end is listed exactly once, however much appears
// meanwhile.
type openFolder struct {
	// list returns up to limit entries that follow the one at place after
	// (0: from the first), and whether these are the last.
	list         func(ctx context.Context, after uint64, limit int) (page []entry, last bool, errno syscall.Errno)
	lookup       func(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno)
	self, parent uint64 // inode numbers

	offset uint64  // of the entry that was given last
	page   []entry // what follows it, as far as it was read
	last   bool    // nothing follows page
	given  entry   // which was given last, for the lookup that READDIRPLUS makes of it
}

// The first offsets are those of "." and ".."; an entry's is its place and this.
const placeOffset = 2

// Readdirent returns the next entry, or nil at the end.
func (o *openFolder) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	switch o.offset {
	case 0:
		o.offset = 1
		return &fuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: o.self, Off: 1}, 0
	case 1:
		o.offset = placeOffset
		return &fuse.DirEntry{Name: "..", Mode: syscall.S_IFDIR, Ino: o.parent, Off: placeOffset}, 0
	}
	if len(o.page) == 0 {
		if o.last {
			return nil, 0
		}
		var errno syscall.Errno
		o.page, o.last, errno = o.list(ctx, o.offset-placeOffset, pageSize)
		if errno == syscall.ENOENT {
			// The folder is gone, and so is what was in it.
			o.page, o.last, errno = nil, true, 0
		}
		if errno != 0 || len(o.page) == 0 {
			return nil, errno
		}
	}
	e := o.page[0]
	o.page = o.page[1:]
	if len(o.page) == 0 {
		o.page = nil
	}
	o.given, o.offset = e, e.place+placeOffset
	return &fuse.DirEntry{Name: e.name, Mode: e.mode, Ino: e.ino, Off: o.offset}, 0
}

// Seekdir goes on after the entry with that offset; 0 is the start.
func (o *openFolder) Seekdir(_ context.Context, off uint64) syscall.Errno {
	o.offset, o.page, o.last, o.given = off, nil, false, entry{}
	return 0
}

// Lookup gives READDIRPLUS the node of the entry that was given last, without
// asking the agent again for what its page holds.
func (o *openFolder) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if o.given.name == name && o.given.inode != nil {
		return o.given.inode(ctx, out), 0
	}
	return o.lookup(ctx, name, out)
}
