package store

import (
	"context"
	"database/sql"
	"time"
)

// What the mount shows of a tree: complete files, and folders with something
// to show. Nothing else exists here.

// Node is a finished file, or a folder with something finished in it, as the
// mount shows it. The root of a download's tree is the Node with ID 0.
type Node struct {
	ID      int64  // unique over all downloads, stable across restarts
	Seq     int64  // of its download
	Parent  int64  // ID of its folder
	Folder  string // path of its folder in the tree, '/'-separated
	Name    string
	Dir     bool
	Size    int64
	ModTime time.Time // of a folder: when something last appeared in it
}

const nodeColumns = `SELECT e.id, e.download, max(e.parent, 0), e.dir, e.name, e.size, e.mtime, `

const (
	nodeByName = nodeColumns + `p.path FROM entries e INDEXED BY entries_shown` + withFolder +
		`WHERE e.parent = ? AND e.name = ? AND e.shown = 1`
	nodeByID = nodeColumns + `p.path FROM entries e` + withFolder + `WHERE e.id = ? AND e.shown = 1`
	// The folder's path is looked up once, not for each node.
	nodesAfter = nodeColumns + `(SELECT path FROM entries WHERE id = ?1) FROM entries e INDEXED BY entries_shown
		WHERE e.parent = ?1 AND e.name > ?2 AND e.shown = 1 ORDER BY e.name LIMIT ?3`
)

func scanNode(row scanner) (n Node, err error) {
	var mtime int64
	var folder sql.NullString
	err = row.Scan(&n.ID, &n.Seq, &n.Parent, &n.Dir, &n.Name, &n.Size, &mtime, &folder)
	n.Folder, n.ModTime = folder.String, instant(mtime)
	return n, err
}

// Lookup returns what has a name in a folder; fs.ErrNotExist if nothing
// visible has. A parent of 0 is the root of the tree of download seq, which
// says nothing otherwise.
func (s *Store) Lookup(ctx context.Context, seq, parent int64, name string) (Node, error) {
	return s.node(ctx, "look up name", nodeByName, inside(seq, parent), name)
}

// Stat returns what is visible and of that ID; fs.ErrNotExist if nothing is.
func (s *Store) Stat(ctx context.Context, id int64) (Node, error) {
	return s.node(ctx, "read entry", nodeByID, id)
}

func (s *Store) node(ctx context.Context, op, query string, args ...any) (n Node, err error) {
	err = s.readOne(ctx, op, query, args, func(row scanner) error {
		n, err = scanNode(row)
		return err
	})
	return n, err
}

// ReadFolder returns up to limit nodes of a folder, in the order of the bytes
// of their names, from the first name above after.
func (s *Store) ReadFolder(ctx context.Context, seq, parent int64, after string, limit int) (nodes []Node, err error) {
	err = s.read(ctx, "read folder", nodesAfter, []any{inside(seq, parent), after, limit}, func(row scanner) error {
		n, err := scanNode(row)
		nodes = append(nodes, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return nodes, nil
}
