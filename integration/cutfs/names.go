package cutfs

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// change is a change of names that is not stored: one that is given or taken,
// or both in a rename.
type change struct {
	slots   []slot
	touched []*node // what they name, or named
	emptied *node   // the folder that is removed: nothing can be in it
}

// slot is what one name stands for after a change; nil: nothing.
type slot struct {
	dir  *node
	name string
	to   *node
}

// entry is a line of a folder's listing.
type entry struct {
	name string
	node *node
}

// apply makes a change for everybody to see.
func (d *disk) apply(c *change) {
	for _, s := range c.slots {
		if was := s.dir.names[s.name]; was != nil {
			c.touched = append(c.touched, was)
			was.links--
		}
		if s.to == nil {
			delete(s.dir.names, s.name)
		} else {
			s.dir.names[s.name] = s.to
			s.to.name = s.name
			s.to.links++
			c.touched = append(c.touched, s.to)
		}
		s.dir.now.mtime = time.Now()
	}
	d.pending = append(d.pending, c)
	for _, n := range c.touched {
		d.forget(n)
	}
}

func (c *change) store() {
	for _, s := range c.slots {
		if s.to == nil {
			delete(s.dir.storedNames, s.name)
		} else {
			s.dir.storedNames[s.name] = s.to
		}
	}
}

// store stores the changes that are wanted, and those before them without
// which they make no sense.
func (d *disk) store(wanted func(i int, c *change) bool) {
	type place struct {
		dir  *node
		name string
	}
	places, nodes, dirs := make(map[place]bool), make(map[*node]bool), make(map[*node]bool)
	stays := make([]bool, len(d.pending))
	for i, c := range slices.Backward(d.pending) {
		want := wanted(i, c)
		for _, s := range c.slots {
			want = want || places[place{s.dir, s.name}] || dirs[s.dir]
		}
		for _, n := range c.touched {
			want = want || nodes[n]
		}
		if stays[i] = !want; !want {
			continue
		}
		for _, s := range c.slots {
			places[place{s.dir, s.name}] = true
		}
		for _, n := range c.touched {
			nodes[n] = true
		}
		if c.emptied != nil {
			dirs[c.emptied] = true
		}
	}
	var left []*change
	for i, c := range d.pending {
		if stays[i] {
			left = append(left, c)
		} else {
			c.store()
		}
	}
	d.pending = left
}

// flushDir stores the names in a folder.
func (d *disk) flushDir(n *node) syscall.Errno {
	if errno := d.fault(SyncDir, n.name); errno != 0 {
		return errno // a journal is written again
	}
	if d.lied(SyncDir, n.name) {
		return 0
	}
	d.store(func(_ int, c *change) bool {
		return slices.ContainsFunc(c.slots, func(s slot) bool { return s.dir == n })
	})
	n.stored = n.now
	return 0
}

// surviveNames stores the changes of names that a cut leaves.
func (d *disk) surviveNames(r *rand.Rand, c Cut) {
	survives := make([]bool, len(d.pending))
	first := int(c.Chance * float64(len(d.pending)+1))
	for i := range survives {
		if c.Ordered {
			survives[i] = i < first
		} else {
			survives[i] = r.Float64() < c.Chance
		}
	}
	d.store(func(i int, _ *change) bool { return survives[i] })
}

func (d *disk) create(dir *node, name string, folder bool, a attr) (*node, syscall.Errno) {
	if errno := d.fault(Name, name); errno != 0 {
		return nil, errno
	}
	if dir.names[name] != nil {
		return nil, syscall.EEXIST
	}
	n := d.newNode(name, folder, a)
	d.apply(&change{slots: []slot{{dir, name, n}}})
	return n, 0
}

func (d *disk) remove(dir *node, name string, folder bool) syscall.Errno {
	if errno := d.fault(Name, name); errno != 0 {
		return errno
	}
	n := dir.names[name]
	switch {
	case n == nil:
		return syscall.ENOENT
	case folder && !n.dir:
		return syscall.ENOTDIR
	case !folder && n.dir:
		return syscall.EISDIR
	case len(n.names) > 0:
		return syscall.ENOTEMPTY
	}
	c := &change{slots: []slot{{dir, name, nil}}}
	if folder {
		c.emptied = n
	}
	d.apply(c)
	return 0
}

func (d *disk) rename(from *node, name string, to *node, newName string, noReplace bool) syscall.Errno {
	if errno := d.fault(Rename, name); errno != 0 {
		return errno
	}
	n, there := from.names[name], to.names[newName]
	c := &change{slots: []slot{{from, name, nil}, {to, newName, n}}}
	switch {
	case n == nil:
		return syscall.ENOENT
	case there == nil:
	case noReplace:
		return syscall.EEXIST
	case there == n:
		return 0
	case there.dir && !n.dir:
		return syscall.EISDIR
	case n.dir && !there.dir:
		return syscall.ENOTDIR
	case len(there.names) > 0:
		return syscall.ENOTEMPTY
	case there.dir:
		c.emptied = there
	}
	d.apply(c)
	return 0
}

func (d *disk) link(n, dir *node, name string) syscall.Errno {
	if errno := d.fault(Name, name); errno != 0 {
		return errno
	}
	if dir.names[name] != nil {
		return syscall.EEXIST
	}
	d.apply(&change{slots: []slot{{dir, name, n}}})
	return 0
}
