package store

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"masvfs/fetch/pathname"
)

// NewEntry is an entry of a package's listing.
type NewEntry struct {
	FileID      string
	Folders     []string // the sender's, from pathname.Split
	Base        string
	Dir         bool
	Size        int64 // bytes
	ModTime     time.Time
	Skip        string // code: why a file is not to be fetched; empty: it is
	SkipMessage string
}

// Bounds of what is recorded as a file or folder. Beyond them, a tree of
// folders within folders would cost the sender little and this machine much.
const (
	maxDepth = 200      // folders
	maxPath  = 4 * 4096 // bytes
)

// CodePathTooDeep is the code of an entry that is skipped for its path.
const CodePathTooDeep = "path_too_deep"

const pathTooDeep = "Its path has more than 200 folders or 16384 bytes; it was skipped. Ask the sender to pack it into fewer folders."

// AddEntries records a part of a download's listing, all or nothing. Names
// are cleaned by the rules, missing folders are made, and what would have the
// name of something else gets a number, in the order of es. What is recorded
// already is left as it is: a file by its FileID, a folder by the sender's
// path. So the same listing may be added again, or the rest of one that was
// cut off. All of es is one transaction: a few thousand are a good measure.
func (s *Store) AddEntries(ctx context.Context, seq int64, rules pathname.Rules, es []NewEntry) error {
	return s.write(ctx, "record listing", func(tx *tx) error {
		totals, err := tx.totals(seq)
		if err != nil {
			return err
		}
		l := listing{
			tx:      tx,
			seq:     seq,
			rules:   rules,
			totals:  totals,
			folders: make(map[string]*folder),
			numbers: make(map[place]int),
		}
		for i := range es {
			if err := l.add(&es[i]); err != nil {
				return err
			}
		}
		return tx.setTotals(seq, l.totals)
	})
}

// FinishListing says that all entries of a download are recorded. The empty
// folders of the package become visible, and those above them: shown is
// called for each, after it is durable, for outer folders first.
func (s *Store) FinishListing(ctx context.Context, seq int64, shown func(parent, id int64)) (Totals, error) {
	const batch = 2000
	for after := int64(0); ; {
		var empty []int64
		err := s.read(ctx, "read empty folders", `SELECT id FROM entries INDEXED BY entries_order
			WHERE download = ? AND dir = 1 AND id > ? AND listed = 1 AND filled = 0 AND shown = 0 ORDER BY id LIMIT ?`,
			[]any{seq, after, batch}, func(row scanner) error {
				err := row.Scan(&after)
				empty = append(empty, after)
				return err
			})
		if err != nil {
			return Totals{}, err
		}
		if len(empty) == 0 {
			break
		}
		var tree appearing
		var fresh []int64
		err = s.write(ctx, "show empty folders", func(tx *tx) error {
			tree = appearing{tx: tx, at: time.Now(), folders: make(map[int64]*above)}
			fresh = fresh[:0]
			for _, id := range empty {
				some, err := tree.show(id)
				if err != nil {
					return err
				}
				fresh = append(fresh, some...)
			}
			return tree.record()
		})
		if err != nil {
			return Totals{}, err
		}
		for _, id := range fresh {
			shown(max(0, tree.folders[id].parent), id)
		}
	}
	var totals Totals
	err := s.write(ctx, "finish listing", func(tx *tx) (err error) {
		if totals, err = tx.totals(seq); err != nil {
			return err
		}
		_, err = tx.exec(`UPDATE downloads SET listed = 1 WHERE seq = ?`, seq)
		return err
	})
	return totals, err
}

// listing is one AddEntries.
type listing struct {
	tx      *tx
	seq     int64
	rules   pathname.Rules
	totals  Totals
	folders map[string]*folder // by the sender's path
	numbers map[place]int      // the last number given to a name
}

func (l *listing) add(e *NewEntry) error {
	if e.Size < 0 {
		return fmt.Errorf("file %q of the listing has a size of %d", e.FileID, e.Size)
	}
	if tooDeep(e) {
		skipped := *e
		skipped.Skip, skipped.SkipMessage = CodePathTooDeep, pathTooDeep
		return l.skip(&skipped)
	}
	switch {
	case e.Dir:
		return l.directory(e)
	case e.FileID == "":
		return fmt.Errorf("file %q of the listing has no identifier", e.Base)
	case e.Skip != "":
		return l.skip(e)
	default:
		return l.file(e)
	}
}

func tooDeep(e *NewEntry) bool {
	depth, size := len(e.Folders), len(e.Base)
	if e.Dir {
		depth++
	}
	for _, f := range e.Folders {
		size += len(f) + 1
	}
	return depth > maxDepth || size > maxPath
}

const insertFile = `INSERT INTO entries (download, parent, dir, state, name, key, source, original, size, mtime)
	VALUES (?, ?, 0, 0, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

func (l *listing) file(e *NewEntry) error {
	in, err := l.folder(e.Folders, true)
	if err != nil {
		return err
	}
	base := pathname.Clean(e.Base, l.rules)
	added, err := l.insert(in, e, base)
	if err != nil {
		return err
	}
	if !added {
		// Either it is recorded already, or its name is taken by another.
		known, err := l.tx.find(`SELECT id FROM entries WHERE download = ? AND dir = 0 AND source = ?`,
			[]any{l.seq, e.FileID}, new(int64))
		if known || err != nil {
			return err
		}
		name, err := l.number(in, base, false)
		if err != nil {
			return err
		}
		if added, err = l.insert(in, e, name); err != nil {
			return err
		}
		if !added {
			return fmt.Errorf("no name is left for file %q of the listing", e.FileID)
		}
	}
	if e.Size > math.MaxInt64-l.totals.Bytes {
		return fmt.Errorf("the sizes in the listing add up to more than %d bytes", int64(math.MaxInt64))
	}
	l.totals.Files++
	l.totals.Bytes += e.Size
	return nil
}

func (l *listing) insert(in *folder, e *NewEntry, name string) (added bool, err error) {
	var original any
	if name != e.Base {
		original = e.Base
	}
	n, err := l.tx.exec(insertFile, l.seq, in.id, name, pathname.Key(name, l.rules), e.FileID, original, e.Size, nanoseconds(e.ModTime))
	return n == 1, err
}

// skip records a file that is not to be fetched. It takes no name away from
// others, and makes no folder: it stands at the root, with a path to be shown.
func (l *listing) skip(e *NewEntry) error {
	var source any
	if e.FileID != "" {
		source = e.FileID
	}
	folders := e.Folders[:min(len(e.Folders), maxDepth)]
	clean := make([]string, len(folders))
	for i, f := range folders {
		clean[i] = pathname.Clean(f, l.rules)
	}
	path := strings.Join(clean, "/")
	name := pathname.Clean(e.Base, l.rules)
	var original any
	if whole := join(strings.Join(e.Folders, "/"), e.Base); whole != join(path, name) {
		original = bounded(whole)
	}
	_, err := l.tx.exec(`INSERT INTO entries (download, parent, dir, state, name, path, source, original, size, mtime, code, message)
		VALUES (?, ?, 0, 4, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		l.seq, inside(l.seq, 0), name, bounded(path), source, original, e.Size, nanoseconds(e.ModTime), e.Skip, e.SkipMessage)
	return err
}

// bounded cuts a path that is too long to be kept for show.
func bounded(path string) string {
	if len(path) <= maxPath {
		return path
	}
	end := maxPath
	for end > 0 && !utf8.RuneStart(path[end]) {
		end--
	}
	return path[:end] + "…"
}
