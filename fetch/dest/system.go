package dest

import (
	"errors"
	"os"
	"syscall"

	"masvfs/fetch/dirent"
)

// system are the calls that os has no words for. Tests put others in their
// place, to have them fail as they do on file systems that are not at hand.
type system struct {
	dirent.Calls
	flushAll   func(*os.File) error // everything on the file system of an open folder
	flushFile  func(*os.File) error // also its time, owner and mode, which fdatasync(2) may leave out
	flushDir   func(*os.File) error
	allocate   func(f *os.File, size int64) error
	openDirect func(*os.File) (*os.File, error) // once more, for writes past the page cache
	chown      func(f *os.File, uid, gid int) error
	traits     func(*os.File) (traits, error)
	space      func(*os.File) (Space, error)
}

var native = system{
	Calls:      dirent.Native,
	flushAll:   flushAll,
	flushFile:  (*os.File).Sync,
	flushDir:   (*os.File).Sync,
	allocate:   allocate,
	openDirect: openDirect,
	chown:      (*os.File).Chown,
	traits:     traitsOf,
	space:      spaceOf,
}

// traits are what a kind of file system does and does not do.
type traits struct {
	flushAll bool // syncfs flushes everything, and tells of errors
	allocate bool // fallocate takes no time
	direct   bool // large writes are best made past the page cache
	dense    bool // files have no holes: extending one writes zeros
	owners   bool // files have owners, so that refusing one is an error
	local    bool // what was written is there for the next program, flushed or not
}

// own gives a file or folder its owner, where there are owners.
func (s *system) own(f *os.File, t traits, uid, gid *int) error {
	if uid == nil && gid == nil {
		return nil
	}
	u, g := -1, -1
	if uid != nil {
		u = *uid
	}
	if gid != nil {
		g = *gid
	}
	err := s.chown(f, u, g)
	if err != nil && (!t.owners || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.ENOSYS)) {
		return nil
	}
	return err
}

// syncDir flushes a folder. Some file systems have no such call for folders;
// there is nothing more to be done about them.
func (s *system) syncDir(d *dir) error {
	if err := s.flushDir(d.file); !dirent.Refused(err) {
		return err
	}
	return nil
}
