package fusefs

import (
	"context"
	"os"
	"strconv"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// pidXattr is the extended attribute of the root that tells which process
// serves the mount, for another one that would like to mount there.
const pidXattr = "user.masv.pid"

// root is the root of the mount: one folder for each download.
type root struct {
	fs.Inode
	readOnlyFolder
	fs *FS
}

func (r *root) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	mtime := r.fs.agent.Listed()
	r.fs.setAttr(&out.Attr, folderAttr(mtime))
	return 0
}

func (r *root) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	d, ok := r.fs.agent.ByName(name)
	if !ok {
		// go-fuse keeps the former name of a download that was renamed, and
		// with it the inode, for good.
		if r.GetChild(name) != nil {
			r.RmChild(name)
		}
		return nil, syscall.ENOENT
	}
	return r.child(ctx, d, out), 0
}

func (r *root) child(ctx context.Context, d fetch.Download, out *fuse.EntryOut) *fs.Inode {
	r.fs.setAttr(&out.Attr, folderAttr(d.UpdatedAt))
	n := &downloadFolder{download: &download{fs: r.fs, id: d.ID, seq: d.Seq}}
	return r.NewInode(ctx, n, folderID(ino(d.Seq, kindFolder)))
}

func (r *root) OpendirHandle(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return &openFolder{list: r.list, lookup: r.Lookup, self: 1, parent: 1}, 0, 0
}

// list lists the downloads by Seq, which is their place, too.
func (r *root) list(_ context.Context, after uint64, limit int) ([]entry, bool, syscall.Errno) {
	all := r.fs.agent.After(int64(after), limit)
	page := make([]entry, 0, len(all))
	for _, d := range all {
		page = append(page, entry{
			name: d.Name, place: uint64(d.Seq), mode: syscall.S_IFDIR, ino: ino(d.Seq, kindFolder),
			inode: func(ctx context.Context, out *fuse.EntryOut) *fs.Inode { return r.child(ctx, d, out) },
		})
	}
	return page, len(all) < limit, 0
}

func (r *root) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	return errnoOf(statfs(r.fs.statfsPath, out))
}

var rootXattrs = []string{pidXattr}

func (r *root) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	if name != pidXattr {
		return 0, noXattr
	}
	return fill(dest, strconv.Itoa(os.Getpid()))
}

func (r *root) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return fillNames(dest, rootXattrs)
}
