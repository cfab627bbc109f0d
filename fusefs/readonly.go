package fusefs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// The answers of a read-only file system, which go-fuse does not give by
// itself: it has ENOTSUP, ENODATA or even success for some of these.

// readOnly is part of every node.
type readOnly struct{}

func (readOnly) Setattr(context.Context, fs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}

func (readOnly) Setxattr(context.Context, string, []byte, uint32) syscall.Errno {
	return syscall.EROFS
}

func (readOnly) Removexattr(context.Context, string) syscall.Errno {
	return syscall.EROFS
}

// writeAccess and executeAccess are W_OK and X_OK of access(2).
const (
	executeAccess = 1
	writeAccess   = 2
)

// Access answers access(2). It is asked of private mounts only, where nobody
// but the owner comes in.
func (readOnly) Access(_ context.Context, mask uint32) syscall.Errno {
	if mask&writeAccess != 0 {
		return syscall.EROFS
	}
	return 0
}

// readOnlyFolder is part of every folder.
type readOnlyFolder struct{ readOnly }

func (readOnlyFolder) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EROFS
}

func (readOnlyFolder) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EROFS
}

func (readOnlyFolder) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (readOnlyFolder) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (readOnlyFolder) Link(context.Context, fs.InodeEmbedder, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (readOnlyFolder) Symlink(context.Context, string, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (readOnlyFolder) Unlink(context.Context, string) syscall.Errno { return syscall.EROFS }

func (readOnlyFolder) Rmdir(context.Context, string) syscall.Errno { return syscall.EROFS }

func (readOnlyFolder) Rename(context.Context, string, fs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EROFS
}

// readOnlyFile is part of every file.
type readOnlyFile struct{ readOnly }

// Access answers access(2): no file of the mount is a program.
func (f readOnlyFile) Access(ctx context.Context, mask uint32) syscall.Errno {
	if mask&executeAccess != 0 {
		return syscall.EACCES
	}
	return f.readOnly.Access(ctx, mask)
}

// forWriting reports whether open flags ask for more than reading.
func forWriting(flags uint32) bool {
	return flags&syscall.O_ACCMODE != syscall.O_RDONLY || flags&syscall.O_TRUNC != 0
}
