// Package store is the agent's memory: downloads, the files and folders of
// their packages, and what has arrived of partial files, in one SQLite
// database. It takes Go values and returns Go values; nothing outside knows
// of SQL.
//
// It promises that a write which has returned nil survives a crash of the
// program and of the machine, that a write takes effect wholly or not at all,
// and that a failed one (a full disk, say) leaves the store usable. Writes
// that wait at the same moment are committed together, so that what is
// durable costs a few flushes a second and not one each. Reads see all that
// was committed before they began and never wait for a write.
//
// It keeps the books of a package's tree, so that they cannot drift: which
// name an entry has on disk, which folders have something to show, how many
// files and bytes are done. It knows nothing of the order in which things are
// fetched, and it touches no disk but its own.
//
// Link secrets, passwords and package tokens are in the database, which is
// why its file can be read by its owner only.
package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"sync"
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	path    string
	readers *sql.DB
	reading *statements
	writer  *writer
	close   func() error
}

// Open opens the database in the file at path, and makes it if there is none.
// A database of an older version is brought up to date. One that cannot be
// used is left as it is, but for a change that was cut short, which is undone
// as any use of it would; the error is an ErrNewer, ErrForeign, ErrCorrupt
// or ErrLocked.
func Open(path string) (*Store, error) {
	s, err := open(path)
	if err != nil {
		return nil, describe("open database", path, err)
	}
	return s, nil
}

// Close ends all writes that were begun and closes the database. Any call
// after it returns ErrClosed.
func (s *Store) Close() error {
	if err := s.close(); err != nil {
		return describe("close database", s.path, err)
	}
	return nil
}

// Scrub removes what was overwritten or deleted from the write-ahead log,
// where it would otherwise stand until other writes take its place: secrets
// that are no longer needed. It waits for the writes before it, and does
// nothing while a read is under way; the next one does.
func (s *Store) Scrub(ctx context.Context) error {
	if err := s.writer.scrub(ctx); err != nil {
		return describe("tidy up database", s.path, err)
	}
	return nil
}

// closer returns what closes all parts of a store, once.
func closer(w *writer, dbs ...*sql.DB) func() error {
	return sync.OnceValue(func() error {
		err := w.end()
		for _, db := range dbs {
			err = errors.Join(err, db.Close())
		}
		return err
	})
}

// write runs f in the writer and returns when what it did is durable. f runs
// once or, if ctx ends before its turn, not at all.
func (s *Store) write(ctx context.Context, op string, f func(*tx) error) error {
	if err := s.writer.do(ctx, f); err != nil {
		return describe(op+": database", s.path, err)
	}
	return nil
}

// read scans all rows that a query gives.
func (s *Store) read(ctx context.Context, op, query string, args []any, scan func(scanner) error) error {
	return s.readError(op, s.reading.all(ctx, query, args, scan))
}

// readOne scans the row that a query gives; if there is none, the error is
// fs.ErrNotExist by itself, for it is an answer and no failure.
func (s *Store) readOne(ctx context.Context, op, query string, args []any, scan func(scanner) error) error {
	err := s.reading.one(ctx, query, args, scan)
	if errors.Is(err, sql.ErrNoRows) {
		return fs.ErrNotExist
	}
	return s.readError(op, err)
}

func (s *Store) readError(op string, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.writer.closing:
		err = ErrClosed // whatever a closed pool of connections says
	default:
	}
	return describe(op+": database", s.path, err)
}
