package fusefs

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// folder is files/ (id 0) or a folder below it.
type folder struct {
	fs.Inode
	readOnlyFolder
	*download
	id int64
}

func (n *folder) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	now, err := n.fs.agent.Stat(n.fs.ctx, n.download.id, n.id)
	if err != nil {
		return errnoOf(err)
	}
	n.fs.setAttr(&out.Attr, folderAttr(now.ModTime))
	return 0
}

func (n *folder) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	found, err := n.fs.agent.Lookup(n.fs.ctx, n.download.id, n.id, name)
	if err != nil {
		return nil, errnoOf(err)
	}
	return n.child(ctx, found, out), 0
}

func (n *folder) child(ctx context.Context, c fetch.Node, out *fuse.EntryOut) *fs.Inode {
	n.fs.setAttr(&out.Attr, nodeAttr(c))
	out.SetEntryTimeout(nameTimeout)
	i := nodeIno(n.seq, c)
	if c.Dir {
		return n.NewInode(ctx, &folder{download: n.download, id: c.ID}, folderID(i))
	}
	out.SetAttrTimeout(fileTimeout)
	return n.NewInode(ctx, &file{download: n.download, id: c.ID}, fileID(i))
}

func (n *folder) OpendirHandle(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	parent := ino(n.seq, kindFolder)
	if _, p := n.Parent(); p != nil {
		parent = p.StableAttr().Ino
	}
	return &openFolder{list: n.list, lookup: n.Lookup, self: n.StableAttr().Ino, parent: parent}, 0, 0
}

// list lists by name. A place is a Node.ID, from which the agent tells the
// name to go on after.
func (n *folder) list(_ context.Context, after uint64, limit int) ([]entry, bool, syscall.Errno) {
	name := ""
	if after != 0 {
		before, err := n.fs.agent.Stat(n.fs.ctx, n.download.id, int64(after))
		if errors.Is(err, os.ErrNotExist) {
			return nil, true, 0
		}
		if err != nil {
			return nil, true, errnoOf(err)
		}
		name = before.Name
	}
	nodes, err := n.fs.agent.ReadFolder(n.fs.ctx, n.download.id, n.id, name, limit)
	if err != nil {
		return nil, true, errnoOf(err)
	}
	page := make([]entry, len(nodes))
	for i, c := range nodes {
		page[i] = entry{
			name: c.Name, place: uint64(c.ID), mode: nodeMode(c), ino: nodeIno(n.seq, c),
			inode: func(ctx context.Context, out *fuse.EntryOut) *fs.Inode { return n.child(ctx, c, out) },
		}
	}
	return page, len(nodes) < limit, 0
}
