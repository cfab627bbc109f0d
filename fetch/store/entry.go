package store

import (
	"context"
	"database/sql"
	"time"
)

// Entry is a file or a folder of a package.
type Entry struct {
	ID       int64 // unique over all downloads, never used again
	Seq      int64 // of the download
	Parent   int64 // entry of the folder; 0: the root of the download's tree
	Dir      bool
	Name     string // on disk
	Folder   string // path of the folder on disk, '/'-separated; "" at the root
	Original string // the sender's whole path, if it is not Folder/Name; else ""
	FileID   string // the cloud's identifier; "" for folders
	Size     int64  // bytes
	ModTime  time.Time
	State    EntryState // of a folder: Complete

	Code, Message string // of the problem, if any
	Recoverable   bool

	Visible bool // a complete file, or a folder with something to show
}

// EntryState is the state of a file. The numbers are stored; those up to
// Failed are unfinished.
type EntryState int

// The states of a file.
const (
	Pending  EntryState = 0 // to be fetched
	Whole    EntryState = 1 // all bytes are flushed, in the partial file still
	Failed   EntryState = 2
	Complete EntryState = 3 // in its place, durably
	Skipped  EntryState = 4 // not to be fetched
)

// entryColumns are what scanEntry reads, from entries e and their folders p.
const entryColumns = `e.id, e.download, max(e.parent, 0), e.dir, e.state, e.shown, e.name, e.path, e.source,
	e.original, e.size, e.mtime, e.code, e.message, e.recoverable, p.path, p.source`

// withFolder joins the folder of each entry. At the root, parent is negative and there is none.
const withFolder = ` LEFT JOIN entries p ON p.id = e.parent `

func scanEntry(row scanner) (Entry, error) {
	var e Entry
	var path, source, original, code, message, folderPath, folderSource sql.NullString
	var mtime int64
	err := row.Scan(&e.ID, &e.Seq, &e.Parent, &e.Dir, &e.State, &e.Visible, &e.Name, &path, &source,
		&original, &e.Size, &mtime, &code, &message, &e.Recoverable, &folderPath, &folderSource)
	if err != nil {
		return Entry{}, err
	}
	e.ModTime = instant(mtime)
	e.Code, e.Message = code.String, message.String
	e.Folder = folderPath.String
	switch {
	case e.Dir:
		e.Original = differing(source.String, path.String)
	case e.State == Skipped:
		e.FileID, e.Folder, e.Original = source.String, path.String, original.String
	default:
		e.FileID = source.String
		name := e.Name
		if original.Valid {
			name = original.String
		}
		if original.Valid || folderSource != folderPath {
			e.Original = join(folderSource.String, name)
		}
	}
	return e, nil
}

// differing returns the sender's path if it is not the one on disk.
func differing(original, path string) string {
	if original == path {
		return ""
	}
	return original
}

// join is the path of a name in a folder. Unlike path.Join it resolves
// nothing: a sender's names may be "..".
func join(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

// inside returns the stored parent of what stands in a folder of a download.
func inside(seq, parent int64) int64 {
	if parent == 0 {
		return -seq
	}
	return parent
}

// Pending returns up to limit files that are Pending or Whole, by ID, from
// the first one with an ID above after.
func (s *Store) Pending(ctx context.Context, seq, after int64, limit int) ([]Entry, error) {
	return s.entries(ctx, "read pending files", `SELECT `+entryColumns+` FROM entries e INDEXED BY entries_unfinished`+withFolder+
		`WHERE e.download = ? AND e.state <= 2 AND e.dir = 0 AND e.state <> 2 AND e.id > ? ORDER BY e.id LIMIT ?`, seq, after, limit)
}

// Files returns up to limit files in any state, by ID, from the first one
// with an ID above after.
func (s *Store) Files(ctx context.Context, seq, after int64, limit int) ([]Entry, error) {
	return s.entries(ctx, "read files", `SELECT `+entryColumns+` FROM entries e INDEXED BY entries_order`+withFolder+
		`WHERE e.download = ? AND e.dir = 0 AND e.id > ? ORDER BY e.id LIMIT ?`, seq, after, limit)
}

// Folders returns up to limit folders, visible or not, by ID, from the first
// one with an ID above after. A folder comes before those in it.
func (s *Store) Folders(ctx context.Context, seq, after int64, limit int) ([]Entry, error) {
	return s.entries(ctx, "read folders", `SELECT `+entryColumns+` FROM entries e INDEXED BY entries_order`+withFolder+
		`WHERE e.download = ? AND e.dir = 1 AND e.id > ? ORDER BY e.id LIMIT ?`, seq, after, limit)
}

// FirstFailed returns the first file that is Failed; fs.ErrNotExist if there is none.
func (s *Store) FirstFailed(ctx context.Context, seq int64) (Entry, error) {
	return s.entry(ctx, "read failed files", `SELECT `+entryColumns+` FROM entries e INDEXED BY entries_unfinished`+withFolder+
		`WHERE e.download = ? AND e.state <= 2 AND e.dir = 0 AND e.state = 2 ORDER BY e.id LIMIT 1`, seq)
}

func (s *Store) entries(ctx context.Context, op, query string, args ...any) ([]Entry, error) {
	var all []Entry
	err := s.read(ctx, op, query, args, func(row scanner) error {
		e, err := scanEntry(row)
		all = append(all, e)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func (s *Store) entry(ctx context.Context, op, query string, args ...any) (e Entry, err error) {
	err = s.readOne(ctx, op, query, args, func(row scanner) error {
		e, err = scanEntry(row)
		return err
	})
	return e, err
}
