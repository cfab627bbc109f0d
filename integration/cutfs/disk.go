// Package cutfs is a file system for tests of power cuts, and of disks that
// fail. It lives in memory and keeps two states: what programs see, and what
// is stored, as a disk with a volatile cache has it. Only a flush makes the
// one the other: fsync of a file stores its bytes, size and attributes, fsync
// of a folder stores the names in it, and nothing else is promised. A cut
// leaves what is stored, and any part of the rest that a kernel might have
// written by itself: each page of a file on its own, names without bytes,
// bytes without names, a size without what belongs there.
//
// What it does keep in order is what every kernel does. A page is written
// with all that was written to it before. What was written to a file after it
// was cut short does not come before that. A rename is there wholly or not at
// all, and a change of names not without an earlier one of the same name or
// the same file. But a folder that is flushed may itself have no name yet, and
// flushing a file does not store its name.
//
// It is mounted by a process of its own (Serve), since a process that waits
// for a mount that it serves itself may wait for ever; Start starts one and
// tells it what to do. It does not know what is stored on it, and whom.
package cutfs

import (
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A Kind is a kind of operation that changes or flushes something.
type Kind string

const (
	Write    Kind = "write"    // of bytes, or of a size
	Sync     Kind = "fsync"    // of a file
	SyncDir  Kind = "fsyncdir" // of a folder
	Rename   Kind = "rename"
	Name     Kind = "name"     // any other change of names
	SetAttr  Kind = "setattr"  // of mode, owner or times
	AnyFlush Kind = "anyflush" // in a Moment: Sync or SyncDir
	Anything Kind = ""         // in a Moment: all of them
)

func (k Kind) covers(other Kind) bool {
	return k == Anything || k == other || k == AnyFlush && (other == Sync || other == SyncDir)
}

// A Moment is when the file system stops: just before or just after the Nth
// operation of a kind from now on.
type Moment struct {
	Kind  Kind
	N     int
	After bool
}

// A Lie is a flush that is answered and not done.
type Lie struct {
	Kind  Kind   // Sync or SyncDir
	Match string // names that it is about, as path.Match has it; "": all
	But   string // names among them that it is not about
}

// A Fault is an error given in place of an operation, or a wait before it, or
// both. A flush that fails so has lost the bytes that it was to store: the next
// one succeeds without them, as on Linux.
type Fault struct {
	Kind  Kind
	Match string // as in Lie
	But   string // as in Lie
	Skip  int    // operations that still succeed
	Times int    // operations that then fail; 0: all
	Wait  time.Duration
	Errno syscall.Errno // 0: none, once it has waited
}

// about reports whether names that are like match, but not like but, are like name.
func about(name, match, but string) bool {
	like := func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }
	return (match == "" || like(match)) && (but == "" || !like(but))
}

// pageSize is what the kernel writes at a time, in bytes.
const pageSize = 4096

// disk is one life of the file system, from power on to the cut.
type disk struct {
	off    chan struct{} // closed when the power is off
	frozen func()        // is called when the moment has come

	mu      sync.Mutex    // guards all that follows, and every node
	dead    bool          // the power is off
	hung    chan struct{} // closed when it answers again; nil: it answers
	stopped bool          // the moment has come: what changes anything waits for the cut
	nodes   map[uint64]*node
	root    *node
	last    uint64    // inode number given last
	pending []*change // of names, not stored, oldest first
	handles map[uint64][]entry
	handle  uint64 // given last
	moment  *Moment
	lies    []Lie
	faults  []*Fault
	room    int64 // bytes
	used    int64
}

// node is a file or a folder.
type node struct {
	ino    uint64
	name   string // one that it had last, for matching
	dir    bool
	links  int // names that it has now
	known  uint64
	now    attr
	stored attr

	names, storedNames map[string]*node // of a folder

	data, storedData []byte // of a file
	filled           map[int64]struct{}
	writes           []write // not stored, oldest first
}

type attr struct {
	mode, uid, gid uint32
	mtime          time.Time
}

// rootName is what the top folder is called, for matching.
const rootName = "/"

// newDisk returns an empty file system.
func newDisk(mode, uid, gid uint32) *disk {
	d := blank()
	d.root = d.newNode(rootName, true, attr{mode, uid, gid, time.Now()})
	d.root.links = 1
	return d
}

func blank() *disk {
	return &disk{
		off:     make(chan struct{}),
		frozen:  func() {},
		nodes:   make(map[uint64]*node),
		handles: make(map[uint64][]entry),
		room:    1 << 40,
	}
}

func (d *disk) newNode(name string, dir bool, a attr) *node {
	d.last++
	n := &node{ino: d.last, name: name, dir: dir, now: a, stored: a, filled: make(map[int64]struct{})}
	if dir {
		n.names, n.storedNames = make(map[string]*node), make(map[string]*node)
	}
	d.nodes[n.ino] = n
	return n
}

// forget frees a node that nobody can come to any more; only a cut may bring it back.
func (d *disk) forget(n *node) {
	if n.known == 0 && n.links == 0 && n != d.root {
		delete(d.nodes, n.ino)
		d.used -= int64(len(n.filled)) * pageSize
		n.filled = nil
	}
}

// do runs an operation of a kind, with d.mu held, unless the power goes first.
func (d *disk) do(k Kind, f func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.moment
	now := at != nil && at.Kind.covers(k)
	if now {
		at.N--
		now = at.N <= 0
	}
	if now && !at.After {
		d.freeze()
	}
	if !d.alive() {
		return syscall.EIO
	}
	errno := f()
	if now && at.After {
		d.freeze()
	}
	// Nobody has had an answer to this one when the power goes.
	if !d.alive() {
		return syscall.EIO
	}
	return errno
}

// hangs waits while the file system answers nothing. Whoever is killed while it
// waits is let go.
func (d *disk) hangs(cancel <-chan struct{}) syscall.Errno {
	d.mu.Lock()
	hung := d.hung
	d.mu.Unlock()
	if hung == nil {
		return 0
	}
	select {
	case <-hung:
		return 0
	case <-cancel:
		return syscall.EINTR
	case <-d.off:
		return syscall.EIO
	}
}

// freeze stops the file system for the cut.
func (d *disk) freeze() {
	if d.stopped {
		return
	}
	d.stopped, d.moment = true, nil
	go d.frozen()
}

// alive waits while the file system is stopped, and reports whether there is
// power. d.mu is held, but not while waiting.
func (d *disk) alive() bool {
	for d.stopped && !d.dead {
		d.mu.Unlock()
		<-d.off
		d.mu.Lock()
	}
	return !d.dead
}

// fault returns the error that an operation is to have, when it has waited for
// as long as it is to. d.mu is held, but not while waiting.
func (d *disk) fault(k Kind, name string) syscall.Errno {
	for _, f := range d.faults {
		if !f.Kind.covers(k) || !about(name, f.Match, f.But) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times < 0 {
			continue // used up
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				f.Times = -1
			}
		}
		if f.Wait > 0 {
			d.mu.Unlock()
			select {
			case <-time.After(f.Wait):
			case <-d.off:
			}
			d.mu.Lock()
			if !d.alive() {
				return syscall.EIO
			}
		}
		return f.Errno
	}
	return 0
}

func (d *disk) lied(k Kind, name string) bool {
	return slices.ContainsFunc(d.lies, func(l Lie) bool {
		return l.Kind == k && about(name, l.Match, l.But)
	})
}

// powerOff ends this life: whatever waits, or is asked from now on, fails.
func (d *disk) powerOff() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dead {
		d.dead = true
		close(d.off)
	}
}

// A Cut says what of all that was not stored survives.
type Cut struct {
	Chance  float64 // of each part, from 0 to 1
	Ordered bool    // changes of names survive in order, as a file system with a journal has it
	Sector  int64   // bytes that are written wholly or not at all
	Seed    uint64
}

// Any returns the cut of a seed: a friendly one, a merciless one, or anything
// in between.
func Any(seed uint64) Cut {
	r := rand.New(rand.NewPCG(seed, 1))
	c := Cut{Sector: pageSize, Seed: r.Uint64()}
	switch r.IntN(5) {
	case 0: // nothing survives
	case 1:
		c.Chance = 1
	case 2:
		c.Ordered = true
		c.Chance = r.Float64()
	case 3:
		c.Sector = 512
		c.Chance = r.Float64()
	default:
		c.Chance = r.Float64()
	}
	return c
}

// after returns what there is when the power is back. The power is off.
func (d *disk) after(c Cut) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := rand.New(rand.NewPCG(c.Seed, 2))
	d.surviveNames(r, c)
	next := blank()
	next.last, next.room, next.lies = d.last, d.room, d.lies
	copies := make(map[*node]*node)
	var copyOf func(n *node) *node
	copyOf = func(n *node) *node {
		to := copies[n]
		if to != nil {
			to.links++
			return to
		}
		to = &node{ino: n.ino, name: n.name, dir: n.dir, links: 1, now: n.stored, filled: make(map[int64]struct{})}
		if r.Float64() < c.Chance {
			to.now = n.now
		}
		to.stored = to.now
		copies[n] = to
		next.nodes[to.ino] = to
		if !n.dir {
			n.survive(r, c)
			to.data, to.storedData = slices.Clone(n.storedData), n.storedData
			next.fill(to, 0, int64(len(to.data)))
			return to
		}
		to.names, to.storedNames = make(map[string]*node), make(map[string]*node)
		for _, name := range slices.Sorted(maps.Keys(n.storedNames)) {
			child := copyOf(n.storedNames[name])
			child.name = name
			to.names[name], to.storedNames[name] = child, child
		}
		return to
	}
	next.root = copyOf(d.root)
	return next
}
