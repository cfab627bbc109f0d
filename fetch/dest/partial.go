package dest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"masvfs/fetch/dirent"
)

// instantSize is the size from which room for a file is claimed at once.
const instantSize = 1 << 20

// Partial is the open partial file of one file. Its methods are safe for
// concurrent use.
type Partial struct {
	tree *Tree
	work *dir
	id   int64
	size int64
	file *os.File

	cached  sync.Mutex // held for the length of a write through the page cache
	opening sync.Once  // of direct
	direct  *os.File   // file once more, for writes past the page cache; nil: there are none
	refuses atomic.Bool

	noted []byte // what was noted before it was opened

	mu     sync.Mutex // guards what follows
	name   string     // in the work folder
	failed error      // of the first flush that failed
	note   *os.File   // open from the first Note on
}

// newName is what a partial file is called until it was flushed for the first
// time. What is recorded of an earlier one that got lost says nothing about it,
// even if the program ends before that record is gone.
func newName(id int64) string { return strconv.FormatInt(id, 10) + ".new" }

// partName is what a partial file is called from then on.
func partName(id int64) string { return strconv.FormatInt(id, 10) + ".part" }

// Partial opens the partial file of the file id, of size bytes. fresh says
// that it was made just now: then nothing has arrived, whatever is recorded.
// One that was never flushed is opened again only if there is a note of what
// was written to it (Partial.Noted).
func (t *Tree) Partial(id, size int64) (p *Partial, fresh bool, err error) {
	work, err := t.workFolder(true)
	if err != nil {
		return nil, false, err
	}
	noted := t.readNote(work, id)
	p, err = t.openPartial(work, partName(id), id, size, t.traits.dense)
	if errors.Is(err, fs.ErrNotExist) && noted != nil {
		p, err = t.openPartial(work, newName(id), id, size, t.traits.dense)
	}
	if errors.Is(err, fs.ErrNotExist) {
		p, err = t.makePartial(work, id, size)
		return p, true, err
	}
	if err == nil {
		p.noted = noted
	}
	return p, false, err
}

// openPartial opens a partial file that is there. One that is not what it
// should be is removed, and as good as not there; shorter is no fault if its
// size is still to grow.
func (t *Tree) openPartial(work *dir, name string, id, size int64, grows bool) (*Partial, error) {
	f, err := openRegular(work, name, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		ok, err := fits(f, size, grows)
		if ok {
			return &Partial{tree: t, work: work, id: id, size: size, file: f, name: name}, nil
		}
		f.Close()
		if err != nil {
			return nil, wrap("open partial file", t.workPath(name), err)
		}
	} else if !errors.Is(err, ErrInTheWay) {
		return nil, wrap("open partial file", t.workPath(name), err)
	}
	if err := work.root.RemoveAll(name); err != nil {
		return nil, wrap("remove useless partial file", t.workPath(name), err)
	}
	return nil, fs.ErrNotExist
}

// fits reports whether f can be the partial file of a file of size bytes.
func fits(f *os.File, size int64, grows bool) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	right := info.Size() == size || grows && info.Size() < size
	return right && info.Sys().(*syscall.Stat_t).Nlink == 1, nil
}

func (t *Tree) makePartial(work *dir, id, size int64) (p *Partial, err error) {
	name := newName(id)
	// Before there is a file that an old note could be taken to speak of.
	if err := work.root.RemoveAll(noteName(id)); err != nil {
		return nil, wrap("remove useless note", t.workPath(noteName(id)), err)
	}
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := work.root.OpenFile(name, flags, 0o666)
	if errors.Is(err, fs.ErrExist) {
		if err = work.root.RemoveAll(name); err == nil {
			f, err = work.root.OpenFile(name, flags, 0o666)
		}
	}
	if err != nil {
		return nil, wrap("make partial file", t.workPath(name), err)
	}
	err = t.reserve(f, size)
	if err == nil {
		err = t.sys.own(f, t.traits, t.spec.UID, t.spec.GID)
	}
	if err != nil {
		f.Close()
		return nil, errors.Join(wrap("make partial file", t.workPath(name), err), work.root.Remove(name))
	}
	return &Partial{tree: t, work: work, id: id, size: size, file: f, name: name}, nil
}

// reserve gives f its size, with room for it where that takes no time.
func (t *Tree) reserve(f *os.File, size int64) error {
	if size >= instantSize && t.traits.allocate {
		if err := t.sys.allocate(f, size); !dirent.Refused(err) {
			return err
		}
	}
	if size == 0 || t.traits.dense {
		return nil
	}
	return f.Truncate(size)
}

// Claimed returns how many bytes of the disk the partial files hold, written
// or reserved.
func (t *Tree) Claimed() (int64, error) {
	work, err := t.workFolder(false)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	f, err := work.root.Open(".")
	if err != nil {
		return 0, wrap("look at partial files in", t.workPath(""), err)
	}
	defer f.Close()
	var sum int64
	for {
		some, err := f.ReadDir(1000)
		for _, e := range some {
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				sum += info.Sys().(*syscall.Stat_t).Blocks * 512 // by stat(2), whatever the block size
			}
		}
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return 0, wrap("look at partial files in", t.workPath(""), err)
		}
	}
}

// Device identifies the file system that the tree is on, until the next start
// of the machine.
func (t *Tree) Device() uint64 { return t.device }

func (t *Tree) workPath(name string) string {
	return filepath.Join(t.path, t.workName(), name)
}

// Size returns the size that the file will have, in bytes.
func (p *Partial) Size() int64 { return p.size }

// ReadAt implements io.ReaderAt.
func (p *Partial) ReadAt(b []byte, off int64) (int, error) { return p.file.ReadAt(b, off) }

// Sync returns when all that was written before is on stable storage, and the
// partial file can be resumed. After it has failed once it fails for ever:
// the kernel tells of bytes that it could not write only once.
func (p *Partial) Sync() error {
	if err := p.flush(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.name == partName(p.id) {
		return nil
	}
	err := p.work.root.Rename(p.name, partName(p.id))
	if err == nil {
		p.name = partName(p.id)
		err = p.tree.sys.syncDir(p.work)
	}
	if err != nil {
		return wrap("keep partial file", p.tree.workPath(p.name), err)
	}
	return nil
}

// flush has the bytes, and what is known of the file, written to stable storage.
func (p *Partial) flush() error {
	p.mu.Lock()
	failed := p.failed
	p.mu.Unlock()
	if failed != nil {
		return failed
	}
	err := p.tree.sys.flushFile(p.file)
	if err == nil {
		return nil
	}
	err = wrap("flush partial file", p.path(), err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = err
	}
	p.work.root.Remove(noteName(p.id)) // it speaks of bytes that may be lost
	return p.failed
}

// lost reports whether a flush has failed before.
func (p *Partial) lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed != nil
}

// Close closes the partial file, which stays.
func (p *Partial) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.note != nil {
		p.note.Close()
	}
	return p.closeFiles()
}

// drop closes the partial file and removes it: its bytes cannot be trusted.
func (p *Partial) drop() {
	p.Close()
	p.dropNote()
	p.work.root.Remove(p.inWork())
}

func (p *Partial) inWork() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name
}

func (p *Partial) path() string { return p.tree.workPath(p.inWork()) }
