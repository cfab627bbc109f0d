package store

import "context"

// What the mount shows of a tree: complete files, and folders with something
// to show. Nothing else exists here.

// Lookup returns what has a name in a folder; fs.ErrNotExist if nothing
// visible has. A parent of 0 is the root of the tree of download seq, which
// says nothing otherwise.
func (s *Store) Lookup(ctx context.Context, seq, parent int64, name string) (Entry, error) {
	return s.entry(ctx, "look up name", `SELECT `+entryColumns+` FROM entries e INDEXED BY entries_shown`+withFolder+
		`WHERE e.parent = ? AND e.name = ? AND e.shown = 1`, inside(seq, parent), name)
}

// Stat returns a visible entry; fs.ErrNotExist if there is none of that ID.
func (s *Store) Stat(ctx context.Context, id int64) (Entry, error) {
	return s.entry(ctx, "read entry", `SELECT `+entryColumns+` FROM entries e`+withFolder+
		`WHERE e.id = ? AND e.shown = 1`, id)
}

// ReadFolder returns up to limit visible entries of a folder, in the order of
// the bytes of their names, from the first name above after.
func (s *Store) ReadFolder(ctx context.Context, seq, parent int64, after string, limit int) ([]Entry, error) {
	return s.entries(ctx, "read folder", `SELECT `+entryColumns+` FROM entries e INDEXED BY entries_shown`+withFolder+
		`WHERE e.parent = ? AND e.name > ? AND e.shown = 1 ORDER BY e.name LIMIT ?`, inside(seq, parent), after, limit)
}
