package dest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"masvfs/fetch/dirent"
)

// block is what direct writes are aligned to, in the file and in memory. No
// disk asks for more than 4 KiB (open(2), O_DIRECT); a page of the cache is for
// one kind of writes only.
var block = max(4<<10, os.Getpagesize())

// directWorth is from which size on a write goes past the page cache. Each
// waits for the disk, so small ones are left to the kernel to gather.
const directWorth = 128 << 10

// WriteAt writes within the file's size.
//
// Where the disk is made for that, whole blocks go past the page cache: at a
// small part of the processor's time, with nothing left to be flushed at the
// end, and without throwing out of memory what other programs use for footage
// that may be looked at in days. What is no whole block goes through the cache.
// The kernel keeps the two from another's way as long as no byte is in both.
func (p *Partial) WriteAt(b []byte, off int64) (n int, err error) {
	if off < 0 || int64(len(b)) > p.size-off {
		return 0, fmt.Errorf("write %d bytes at %d of %d: %w", len(b), off, p.size, fs.ErrInvalid)
	}
	for len(b) > 0 && err == nil {
		part, write := b, p.writeCached
		if from, to := blocks(b, off); to-from >= directWorth && p.goesDirect() {
			part, write = b[:from], p.writeCached
			if from == 0 {
				part, write = b[:to], p.writeDirect
			}
		}
		var m int
		m, err = write(part, off)
		n, off, b = n+m, off+int64(m), b[m:]
	}
	if err != nil {
		err = wrap("write partial file", p.path(), err)
	}
	return n, err
}

// blocks returns where in b the first whole block begins and the last one
// ends, if b is to be written at off. There are none unless b lies in memory as
// in the file.
func blocks(b []byte, off int64) (from, to int) {
	if uintptr(unsafe.Pointer(unsafe.SliceData(b)))%uintptr(block) != uintptr(off%int64(block)) {
		return 0, 0
	}
	from = int(-off & int64(block-1))
	to = from + (len(b)-from)/block*block
	return from, max(from, to)
}

// writeCached has writers take turns: in the kernel they would wait for the
// same inode lock, and burn processor time while they do.
func (p *Partial) writeCached(b []byte, off int64) (int, error) {
	p.cached.Lock()
	defer p.cached.Unlock()
	return p.file.WriteAt(b, off)
}

// writeDirect writes whole blocks. Where that turns out not to be possible they
// go through the cache after all, and whatever follows.
func (p *Partial) writeDirect(b []byte, off int64) (int, error) {
	n, err := p.direct.WriteAt(b, off)
	if dirent.Refused(err) {
		p.refuses.Store(true)
		err = nil
	}
	return n, err
}

// goesDirect opens the file for direct writes when the first is due.
func (p *Partial) goesDirect() bool {
	if !p.tree.traits.direct || p.refuses.Load() {
		return false
	}
	p.opening.Do(func() {
		f, err := p.tree.sys.openDirect(p.file)
		if err != nil {
			p.refuses.Store(true) // or no descriptor is left
			return
		}
		p.direct = f
	})
	return p.direct != nil
}

// closeFiles closes what is open of the bytes.
func (p *Partial) closeFiles() error {
	var err error
	p.opening.Do(func() {}) // not any more
	if p.direct != nil {
		err = p.direct.Close()
	}
	return errors.Join(err, p.file.Close())
}
