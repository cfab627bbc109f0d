package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// download is what all nodes of one download share.
type download struct {
	fs  *FS
	id  string
	seq int64
}

func (d *download) get() (fetch.Download, syscall.Errno) {
	now, err := d.fs.agent.Get(d.id)
	return now, errnoOf(err)
}

// downloadFolder is the folder of a download: its status files, and files/.
type downloadFolder struct {
	fs.Inode
	readOnlyFolder
	*download
}

// A part is one name in the folder of a download; its kind is its place in a listing.
type part struct {
	name string
	kind kind
	mode uint32
}

// parts returns what stands in the folder of a download that is in that state.
func parts(s fetch.State) []part {
	p := []part{
		{"state", kindState, syscall.S_IFREG},
		{"progress", kindProgress, syscall.S_IFREG},
		{"error", kindError, syscall.S_IFREG},
		{"files", kindFiles, syscall.S_IFDIR},
	}
	if s != fetch.Failed {
		return append(p[:2], p[3])
	}
	return p
}

func (n *downloadFolder) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	d, errno := n.get()
	if errno != 0 {
		return errno
	}
	n.fs.setAttr(&out.Attr, folderAttr(d.UpdatedAt))
	return 0
}

func (n *downloadFolder) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d, errno := n.get()
	if errno != 0 {
		return nil, errno
	}
	for _, p := range parts(d.State) {
		if p.name == name {
			return n.child(ctx, d, p.kind, out)
		}
	}
	return nil, syscall.ENOENT
}

func (n *downloadFolder) child(ctx context.Context, d fetch.Download, k kind, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if k == kindFiles {
		top, err := n.fs.agent.Stat(n.fs.ctx, n.id, 0)
		if err != nil {
			return nil, errnoOf(err)
		}
		n.fs.setAttr(&out.Attr, folderAttr(top.ModTime))
		return n.NewInode(ctx, &folder{download: n.download}, folderID(ino(n.seq, kindFiles))), 0
	}
	s := &statusFile{download: n.download, kind: k}
	n.fs.setAttr(&out.Attr, s.attr(d, len(content(k, d))))
	return n.NewInode(ctx, s, fileID(ino(n.seq, k))), 0
}

func (n *downloadFolder) OpendirHandle(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return &openFolder{list: n.list, lookup: n.Lookup, self: ino(n.seq, kindFolder), parent: 1}, 0, 0
}

func (n *downloadFolder) list(_ context.Context, after uint64, _ int) ([]entry, bool, syscall.Errno) {
	d, errno := n.get()
	if errno != 0 {
		return nil, true, errno
	}
	var page []entry
	for _, p := range parts(d.State) {
		if uint64(p.kind) > after {
			page = append(page, entry{name: p.name, place: uint64(p.kind), mode: p.mode, ino: ino(n.seq, p.kind)})
		}
	}
	return page, true, 0
}

// The extended attributes of a download's folder.
const (
	stateXattr = "user.masv.state"
	idXattr    = "user.masv.download_id"
)

var downloadXattrs = []string{stateXattr, idXattr}

func (n *downloadFolder) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	switch name {
	case idXattr:
		return fill(dest, n.id)
	case stateXattr:
		d, errno := n.get()
		if errno != 0 {
			return 0, errno
		}
		return fill(dest, string(d.State))
	}
	return 0, noXattr
}

func (n *downloadFolder) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return fillNames(dest, downloadXattrs)
}
