package dest

import (
	"container/list"
	"errors"
	"io/fs"
	"path"
	"sync"
)

// maxOpened bounds the folders that a tree keeps open, two descriptors each:
// enough for the folders in which files finish at one time, or fewer where the
// process may not have many.
var maxOpened = int(min(descriptors()/64, 64))

// opened are the folders below a tree's own that are open, because opening one
// from the top costs more than writing a small file. One that falls out is
// closed when its last user has left.
type opened struct {
	mu     sync.Mutex               // guards what follows, and every dir in it
	byPath map[string]*list.Element // of *dir
	recent list.List                // the one used last in front
	closed bool
}

// get returns the open folder of a path for use, nil if there is none.
func (o *opened) get(path string) *dir {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.byPath[path]
	if e == nil {
		return nil
	}
	o.recent.MoveToFront(e)
	d := e.Value.(*dir)
	d.users++
	return d
}

// keep remembers d as the open folder of a path, which is in use.
func (o *opened) keep(path string, d *dir) {
	o.mu.Lock()
	defer o.mu.Unlock()
	d.path, d.users = path, 1
	if o.closed {
		return
	}
	if e := o.byPath[path]; e != nil {
		o.forget(e) // another has opened it at the same moment
	}
	if o.byPath == nil {
		o.byPath = make(map[string]*list.Element)
	}
	d.kept = true
	o.byPath[path] = o.recent.PushFront(d)
	if o.recent.Len() > maxOpened {
		o.forget(o.recent.Back())
	}
}

// drop forgets d, which is no longer what its path says.
func (o *opened) drop(d *dir) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.byPath[d.path]; e != nil && e.Value == d {
		o.forget(e)
	}
}

// forget takes one out; o.mu is held.
func (o *opened) forget(e *list.Element) {
	d := o.recent.Remove(e).(*dir)
	delete(o.byPath, d.path)
	d.kept = false
	if d.users == 0 {
		d.close()
	}
}

// leave ends the use of d.
func (o *opened) leave(d *dir) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if d.users--; d.users == 0 && !d.kept {
		d.close()
	}
}

// settle reports whether d has just been asked for the first time.
func (o *opened) settle(d *dir) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := !d.settled
	d.settled = true
	return first
}

func (o *opened) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for o.recent.Len() > 0 {
		o.forget(o.recent.Back())
	}
}

// enter opens a folder of the tree, "" for its own, for use until leave. Every
// folder on the way is compared with what has its name now. With create,
// missing ones are made, and noted for flushing.
func (t *Tree) enter(p string, create bool) (*dir, error) {
	if p == "" {
		return t.placed()
	}
	above := parent(p)
	up, err := t.enter(above, create)
	if err != nil {
		return nil, err
	}
	defer t.leave(up)
	name := path.Base(p)
	if up == t.parent && name == t.workName() {
		return nil, wrap("open folder", t.abs(p), ErrInTheWay)
	}
	d := t.folders.get(p)
	if d != nil {
		there, err := up.holds(name, d)
		if !there {
			t.folders.drop(d)
			t.folders.leave(d)
			d = nil
		}
		if err != nil {
			return nil, wrap("open folder", t.abs(p), err)
		}
	}
	if d == nil {
		d, err = openChild(up, name)
		if create && errors.Is(err, fs.ErrNotExist) {
			d, err = t.makeDir(up, name)
		}
		if err != nil {
			return nil, wrap("open folder", t.abs(p), err)
		}
		t.folders.keep(p, d)
	}
	// Also one that was there already may have been made just before a crash.
	if create && t.folders.settle(d) {
		t.noteDirty(above)
	}
	return d, nil
}

func (t *Tree) leave(d *dir) {
	if d.path != "" {
		t.folders.leave(d)
	}
}
