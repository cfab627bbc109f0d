package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What can be wrong with a database as a whole.
var (
	ErrNewer   = errors.New("it was written by a newer version of masvfs; run that version, or choose another state folder")
	ErrForeign = errors.New("it is a database of another program; choose another state folder")
	ErrCorrupt = errors.New("it is damaged; move it away, together with the -wal and -shm files beside it, and masvfs starts with an empty one (finished files stay where they are; links must be added again), or put back a copy of it")
	ErrLocked  = errors.New("another program is using it; end that program and try again")
)

// ErrTaken is returned for an origin that was recorded before.
var ErrTaken = errors.New("it was taken before")

// ErrClosed is returned by a Store that is closed.
var ErrClosed = errors.New("it is closed")

// describe gives an error its place: what was being done, and in which file.
// What SQLite says in numbers becomes the error that callers can tell apart.
func describe(op, path string, err error) error {
	var known error
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			known = ErrCorrupt
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			known = ErrLocked
		}
	}
	if known != nil {
		return fmt.Errorf("%s %s: %w (%w)", op, path, known, err)
	}
	return fmt.Errorf("%s %s: %w", op, path, err)
}
