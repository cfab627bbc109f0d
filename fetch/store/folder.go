package store

import (
	"strings"

	"masvfs/fetch/pathname"
)

// folder is a folder as a listing needs it.
type folder struct {
	id     int64  // what those in it have as parent
	path   string // on disk
	filled bool   // a file that is not skipped is below it, and so below those above it
	listed bool
}

// place is a name in a folder.
type place struct {
	parent int64
	key    string
}

// directory records a folder that is an entry of the package by itself. One
// that a file has made before takes on what the entry knows of it.
func (l *listing) directory(e *NewEntry) error {
	path := e.Folders
	if e.Base != "" {
		path = append(path[:len(path):len(path)], e.Base)
	}
	if len(path) == 0 {
		return nil // the root
	}
	f, err := l.folder(path, false)
	if err != nil || f.listed {
		return err
	}
	f.listed = true
	_, err = l.tx.exec(`UPDATE entries SET listed = 1, mtime = iif(shown, mtime, ?) WHERE id = ?`, nanoseconds(e.ModTime), f.id)
	return err
}

// folder returns the folder that stands for the sender's path, and makes it
// and those above it if they are not there. The same path is always the same
// folder. With fill, a file is about to be put into it.
func (l *listing) folder(path []string, fill bool) (*folder, error) {
	if len(path) == 0 {
		return &folder{id: inside(l.seq, 0), filled: true}, nil
	}
	above, source := path[:len(path)-1], strings.Join(path, "/")
	f := l.folders[source]
	if f == nil {
		f = new(folder)
		found, err := l.tx.find(`SELECT id, path, filled, listed FROM entries WHERE download = ? AND dir = 1 AND source = ?`,
			[]any{l.seq, source}, &f.id, &f.path, &f.filled, &f.listed)
		if err != nil {
			return nil, err
		}
		if !found {
			in, err := l.folder(above, fill)
			if err != nil {
				return nil, err
			}
			if f, err = l.makeFolder(in, source, path[len(path)-1], fill); err != nil {
				return nil, err
			}
		}
		l.folders[source] = f
	}
	if fill && !f.filled {
		if _, err := l.folder(above, true); err != nil {
			return nil, err
		}
		if _, err := l.tx.exec(`UPDATE entries SET filled = 1 WHERE id = ?`, f.id); err != nil {
			return nil, err
		}
		f.filled = true
	}
	return f, nil
}

func (l *listing) makeFolder(in *folder, source, base string, filled bool) (*folder, error) {
	name := pathname.Clean(base, l.rules)
	taken, err := l.tx.taken(in.id, pathname.Key(name, l.rules))
	if err != nil {
		return nil, err
	}
	if taken {
		if name, err = l.number(in, name, true); err != nil {
			return nil, err
		}
	}
	f := &folder{path: join(in.path, name), filled: filled}
	f.id, err = l.tx.insert(`INSERT INTO entries (download, parent, dir, state, name, key, path, source, size, mtime, filled)
		VALUES (?, ?, 1, 3, ?, ?, ?, ?, 0, 0, ?)`,
		l.seq, in.id, name, pathname.Key(name, l.rules), f.path, source, filled)
	return f, err
}

// number returns the next name that is free for what would be called base.
func (l *listing) number(in *folder, base string, dir bool) (string, error) {
	at := place{in.id, pathname.Key(base, l.rules)}
	name, n, err := l.tx.free(in.id, base, dir, l.rules, max(1, l.numbers[at]))
	l.numbers[at] = n
	return name, err
}

func (tx *tx) taken(parent int64, key string) (bool, error) {
	return tx.find(`SELECT id FROM entries WHERE parent = ? AND key = ?`, []any{parent, key}, new(int64))
}

// free returns a numbered name of base that is not taken in a folder, with a
// number above the one given. It is the next one, unless numbers higher up are
// taken already: then it is one that follows a taken one. So a sender who
// gives one name to a million files makes nobody count to a million each time.
func (tx *tx) free(parent int64, base string, dir bool, rules pathname.Rules, above int) (name string, n int, err error) {
	taken := func(n int) bool {
		if err != nil {
			return false
		}
		name = pathname.Numbered(base, n, dir)
		var yes bool
		yes, err = tx.taken(parent, pathname.Key(name, rules))
		return yes
	}
	low, high := above, above+1 // low counts as taken
	for step := 1; taken(high); step *= 2 {
		low, high = high, high+step
	}
	for high-low > 1 {
		if middle := low + (high-low)/2; taken(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return pathname.Numbered(base, high, dir), high, err
}
