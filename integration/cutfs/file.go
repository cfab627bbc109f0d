package cutfs

import (
	"math/rand/v2"
	"syscall"
	"time"
)

// write is a change of a file that is not stored.
type write struct {
	at   int64  // where data goes; without data, the size
	data []byte // within one page
}

// fill notes that there is something on these pages of a file.
func (d *disk) fill(n *node, from, to int64) {
	for p := from / pageSize; p*pageSize < to; p++ {
		if _, ok := n.filled[p]; !ok {
			n.filled[p] = struct{}{}
			d.used += pageSize
		}
	}
}

// lacks reports whether these bytes need pages for which there is no room.
func (d *disk) lacks(n *node, from, to int64) bool {
	var need int64
	for p := from / pageSize; p*pageSize < to; p++ {
		if _, ok := n.filled[p]; !ok {
			need += pageSize
		}
	}
	return d.used+need > d.room
}

func (d *disk) write(n *node, at int64, p []byte) syscall.Errno {
	if errno := d.fault(Write, n.name); errno != 0 {
		return errno
	}
	end := at + int64(len(p))
	if d.lacks(n, at, end) {
		return syscall.ENOSPC
	}
	d.fill(n, at, end)
	if end > int64(len(n.data)) {
		n.data = resized(n.data, end)
		n.writes = append(n.writes, write{at: end})
	}
	copy(n.data[at:], p)
	whole := append([]byte(nil), p...)
	for from := at; from < end; {
		to := min(end, from-from%pageSize+pageSize)
		n.writes = append(n.writes, write{from, whole[from-at : to-at]})
		from = to
	}
	n.now.mtime = time.Now()
	return 0
}

func (d *disk) truncate(n *node, size int64) syscall.Errno {
	if errno := d.fault(Write, n.name); errno != 0 {
		return errno
	}
	n.data = resized(n.data, size)
	n.writes = append(n.writes, write{at: size})
	for p := range n.filled {
		if p*pageSize >= size {
			delete(n.filled, p)
			d.used -= pageSize
		}
	}
	n.now.mtime = time.Now()
	return 0
}

// resized returns b with another size; what is new of it is zero.
func resized(b []byte, size int64) []byte {
	if int64(cap(b)) < size {
		grown := make([]byte, size, size+size/2)
		copy(grown, b)
		return grown
	}
	if old := int64(len(b)); size > old {
		b = b[:size]
		clear(b[old:])
	}
	return b[:size]
}

// flush stores a file's bytes and size, and its attributes if they are asked for.
func (d *disk) flush(n *node, attributes bool) syscall.Errno {
	if errno := d.fault(Sync, n.name); errno != 0 {
		n.writes = nil // nobody will try to store them again
		return errno
	}
	if d.lied(Sync, n.name) {
		return 0
	}
	for _, w := range n.writes {
		n.store(w)
	}
	n.writes = nil
	if attributes {
		n.stored = n.now
	}
	return 0
}

func (n *node) store(w write) {
	if w.data == nil {
		n.storedData = resized(n.storedData, w.at)
		return
	}
	if end := w.at + int64(len(w.data)); end > int64(len(n.storedData)) {
		n.storedData = resized(n.storedData, end)
	}
	copy(n.storedData[w.at:], w.data)
}

// survive stores what a cut leaves of the writes.
func (n *node) survive(r *rand.Rand, c Cut) {
	writes := n.writes
	n.writes = nil
	// What comes after the first shortening that is lost is lost as well.
	size := int64(len(n.storedData))
	left := make(map[int64]int) // writes to each sector
	for i, w := range writes {
		if w.data == nil && w.at < size && r.Float64() >= c.Chance {
			writes = writes[:i]
			break
		}
		if w.data == nil {
			size = w.at
		}
		for _, s := range w.sectors(c.Sector) {
			left[s.at/c.Sector]++
		}
	}
	kept := make(map[int64]int, len(left))
	size = int64(len(n.storedData))
	for _, w := range writes {
		if w.data == nil {
			// One that makes it longer may be lost by itself.
			if w.at < size || r.Float64() < c.Chance {
				n.store(w)
			}
			size = w.at
			continue
		}
		for _, s := range w.sectors(c.Sector) {
			at := s.at / c.Sector
			k, drawn := kept[at]
			if !drawn {
				switch {
				case c.Chance == 1:
					k = left[at]
				case r.Float64() < c.Chance:
					k = 1 + r.IntN(left[at])
				}
			}
			if k > 0 {
				n.store(s)
			}
			kept[at] = k - 1
		}
	}
}

// sectors splits a write.
func (w write) sectors(sector int64) []write {
	var all []write
	for at, end := w.at, w.at+int64(len(w.data)); at < end; {
		to := min(end, at-at%sector+sector)
		all = append(all, write{at, w.data[at-w.at : to-w.at]})
		at = to
	}
	return all
}
