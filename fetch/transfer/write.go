package transfer

import (
	"fmt"
	"time"
)

const (
	// bufferSize is how much a connection gathers before it writes.
	bufferSize = 256 << 10

	// gatherFor bounds how long it gathers, so that bytes of a slow
	// connection count soon.
	gatherFor = 100 * time.Millisecond

	// pageSize is what bytes are aligned to in memory as they are in the file,
	// so that a Sink may write them past the page cache.
	pageSize = 4 << 10
)

// write is the one point that a file's bytes pass on their way to the disk.
func (f *file) write(off int64, p []byte) error {
	if _, err := f.Sink.WriteAt(p, off); err != nil {
		return Abort(fmt.Errorf("write %d bytes at %d: %w", len(p), off, err))
	}
	return nil
}

// put writes p, which begins at the offset at, as far as the claim still
// covers it and the bytes are not there. more is false when that was the last
// that the claim needs.
func (c *claim) put(at int64, p []byte) (more bool, err error) {
	f, e := c.file, c.file.job.engine
	if err := c.awaitSaved(); err != nil {
		return false, err
	}

	e.mu.Lock()
	if c.dropped {
		e.mu.Unlock()
		return false, errDropped
	}
	// From here on a split leaves these bytes to this claim.
	c.taken = max(c.taken, min(at+int64(len(p)), c.end))
	parts := f.arrived.missing(nil, Span{at, c.taken})
	e.mu.Unlock()

	for _, s := range parts {
		if err := f.write(s.Start, p[s.Start-at:s.End-at]); err != nil {
			return false, err
		}
	}

	e.mu.Lock()
	if c.dropped {
		e.mu.Unlock()
		return false, errDropped
	}
	c.done = c.taken
	var grown int64
	tell := false
	for _, s := range parts {
		grown += f.arrived.add(s)
	}
	f.bytes += grown
	e.gauge.moved += grown
	if grown > 0 {
		f.progress(c)
		f.unsaved += grown
		f.untold += grown
		if tell = f.untold >= tellEvery; tell {
			f.untold = 0
		}
		f.dirty = true
		f.saveIfDue(time.Now())
	}
	more = c.done < c.end
	e.mu.Unlock()

	if grown > 0 {
		f.job.Supply.Moved(f.File, grown)
	}
	if tell {
		f.tellWritten()
	}
	return more, nil
}
