package fusefs

import (
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// openFile is a finished file that somebody has open, once for all its
// handles: the kernel wants them to be of one kind, and one descriptor serves
// them all.
type openFile struct {
	attr
	handles int        // guarded by openFiles.mu
	opening sync.Mutex // held while the first of them is opened
	backing int32      // of what the kernel reads by itself; 0: it asks us
	file    *os.File   // nil where the kernel reads by itself, and in announcements
}

// read has the kernel move the bytes from the file to the reader, where it can.
func (o *openFile) read(off int64, size int) (fuse.ReadResult, fuse.Status) {
	if o.file == nil {
		return nil, fuse.EBADF
	}
	return fuse.ReadResultFd(o.file.Fd(), off, size), fuse.OK
}

// openFiles are the finished files that are open. A descriptor is held for
// those that are read through this process, and for no others.
type openFiles struct {
	fs    *FS
	limit int // of descriptors

	mu          sync.Mutex // guards what follows
	files       map[inode]*openFile
	descriptors int
	// changed is when files on disk last changed, as their last opens saw it
	// (nanoseconds since 1970): while that holds, so does the page cache. It
	// is a memory of the latest ones only.
	changed map[inode]int64
}

// remembered bounds openFiles.changed.
const remembered = 4096

func newOpenFiles(m *FS) *openFiles {
	return &openFiles{fs: m, limit: readerLimit(), files: make(map[inode]*openFile), changed: make(map[inode]int64)}
}

// openFile opens a finished file for reading.
func (s server) openFile(i inode, out *fuse.OpenOut) syscall.Errno {
	n, err := s.agent.Stat(s.ctx, i.node())
	if err == nil && (n.Dir || !s.agent.Shown(n.Seq)) {
		err = os.ErrNotExist
	}
	if err != nil {
		return errnoOf(err)
	}
	o := s.open.get(nodeAttr(n))
	o.opening.Lock()
	defer o.opening.Unlock()
	keep := true // what others read at this moment
	if o.backing == 0 && o.file == nil {
		if keep, err = s.open.start(o, n); err != nil {
			s.open.release(o)
			if _, gone := s.stat(i); gone != 0 {
				return gone
			}
			s.log.Warn("cannot open finished file", "file", n.Name, "err", err)
			return openErrno(err)
		}
	}
	out.Fh = s.handles.add(o)
	switch {
	case o.backing != 0:
		out.OpenFlags, out.BackingID = fuse.FOPEN_PASSTHROUGH, o.backing
	case keep:
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
	return 0
}

// get returns the open file of an inode, with one handle more.
func (f *openFiles) get(a attr) *openFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.files[a.inode]
	if o == nil {
		o = &openFile{attr: a}
		f.files[a.inode] = o
	}
	o.handles++
	return o
}

// start opens what o, which is open for a node, is read from, and decides how:
// by the kernel itself where that works. keep reports whether the kernel's cache of it still holds.
func (f *openFiles) start(o *openFile, n fetch.Node) (keep bool, err error) {
	f.mu.Lock()
	full := f.descriptors >= f.limit
	f.descriptors++ // also while it is opened only
	f.mu.Unlock()
	kept := false
	defer func() {
		if !kept {
			f.mu.Lock()
			f.descriptors--
			f.mu.Unlock()
		}
	}()
	if full {
		return false, syscall.EMFILE
	}
	file, err := f.fs.agent.OpenFile(n)
	if err != nil {
		return false, err
	}
	if id := f.fs.passthrough.offer(file); id != 0 {
		o.backing = id
		return false, file.Close()
	}
	o.file, kept = file, true
	return f.unchanged(inodeOf(n), changeTime(file)), nil
}

// unchanged reports whether a file changed at that moment when it was last seen, too.
func (f *openFiles) unchanged(i inode, at int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	same := at != 0 && f.changed[i] == at
	if !same && len(f.changed) >= remembered {
		clear(f.changed)
	}
	f.changed[i] = at
	return same
}

// release takes back a handle; with the last one, what it was read from.
func (f *openFiles) release(o *openFile) {
	f.mu.Lock()
	o.handles--
	if o.handles > 0 {
		f.mu.Unlock()
		return
	}
	delete(f.files, o.inode)
	if o.file != nil {
		f.descriptors--
	}
	f.mu.Unlock()
	if o.file != nil {
		o.file.Close()
	}
	if o.backing != 0 {
		f.fs.passthrough.withdraw(o.backing)
	}
}

// attr returns what is known of a file that is open, be it there or gone.
func (f *openFiles) attr(i inode) (attr, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.files[i]
	if o == nil {
		return attr{}, false
	}
	return o.attr, true
}

// readerLimit is how many descriptors readers may take up: a part of what the
// process may have, so that downloads go on.
func readerLimit() int { return max(16, descriptorLimit()/4) }
