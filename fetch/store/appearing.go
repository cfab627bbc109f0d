package store

import (
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// appearing makes folders visible together with what appears in them. A
// visible folder stands in visible folders only.
type appearing struct {
	tx      *tx
	at      time.Time
	folders map[int64]*above
}

// above is a folder above something that appears.
type above struct {
	parent int64
	shown  bool
	fresh  bool // it appears itself
	moved  bool // something appears in it
}

// walk returns the folders from a parent upwards, outermost first. If
// something appears in that parent, those that are not visible become so;
// they are returned as fresh.
func (a *appearing) walk(parent int64, appears bool) (folders, fresh []int64, err error) {
	for id := parent; id > 0; {
		f, err := a.folder(id)
		if err != nil {
			return nil, nil, err
		}
		folders = append(folders, id)
		if appears {
			f.moved = true
			appears = !f.shown
		}
		if appears {
			f.shown, f.fresh = true, true
			fresh = append(fresh, id)
		}
		id = f.parent
	}
	slices.Reverse(folders)
	slices.Reverse(fresh)
	return folders, fresh, nil
}

// show makes an empty folder visible, and returns what became so by it,
// outermost first.
func (a *appearing) show(id int64) (fresh []int64, err error) {
	f, err := a.folder(id)
	if err != nil || f.shown {
		return nil, err
	}
	f.shown, f.fresh = true, true
	_, fresh, err = a.walk(f.parent, true)
	return append(fresh, id), err
}

func (a *appearing) folder(id int64) (*above, error) {
	if f := a.folders[id]; f != nil {
		return f, nil
	}
	f := new(above)
	found, err := a.tx.find(`SELECT parent, shown FROM entries WHERE id = ?`, []any{id}, &f.parent, &f.shown)
	if err == nil && !found {
		err = fmt.Errorf("folder %d: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	a.folders[id] = f
	return f, nil
}

// record writes down what has become of the folders. The time of one in which
// something has appeared moves; that of an empty one is the sender's, if known.
func (a *appearing) record() error {
	at := nanoseconds(a.at)
	for id, f := range a.folders {
		var err error
		switch {
		case f.moved:
			_, err = a.tx.exec(`UPDATE entries SET shown = 1, mtime = ? WHERE id = ?`, at, id)
		case f.fresh:
			_, err = a.tx.exec(`UPDATE entries SET shown = 1, mtime = iif(mtime = 0, ?, mtime) WHERE id = ?`, at, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
