package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"modernc.org/sqlite"
)

// applicationID marks a SQLite database as one of masvfs: "MSVF".
const applicationID = 0x4d535646

// readerCount is how many reads run at the same time.
const readerCount = 3

// Memory of page caches, per connection. Pages beyond it are read from the
// kernel's cache; mapping the file would count as this program's memory.
const (
	writerCache = "cache_size(-8000)" // KiB
	readerCache = "cache_size(-1500)"
)

// configure sets what SQLite has for the whole process only.
var configure = sync.OnceFunc(func() {
	// Where a switch is not available (macOS), SQLite's own way is as safe.
	// With OFD locks, closing another descriptor of the file drops no lock.
	_, _ = sqlite.OFDLocking(true)
	// fdatasync flushes what a commit needs; fsync adds a journal commit of the file system for a time stamp.
	_, _ = sqlite.Fdatasync(true)
})

func open(path string) (_ *Store, err error) {
	configure()
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := undo(path); err != nil {
		return nil, err
	}
	fresh, err := identify(path)
	if err != nil {
		return nil, err
	}
	if !fresh {
		if err := checkVersion(path); err != nil {
			return nil, err
		}
	}
	db, err := connect(path, "rw", writerCache)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := migrate(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(), db.Close())
	}
	readers, err := connect(path, "ro", readerCache)
	if err != nil {
		return nil, errors.Join(err, conn.Close(), db.Close())
	}
	readers.SetMaxOpenConns(readerCount)
	readers.SetMaxIdleConns(readerCount)
	w := startWriter(conn)
	return &Store{
		path:    path,
		readers: readers,
		reading: newStatements(readers),
		writer:  w,
		close:   closer(w, readers, db),
	}, nil
}

// undo has SQLite take back a change that a power cut has cut short, if what
// undoes it lies beside the database: before that, nothing in the file means
// anything. It can only be one from before write-ahead logging, when there was
// nothing in the database yet. The database of another program is put right
// just as that program would do it.
func undo(path string) error {
	for _, file := range []string{path, path + "-journal"} {
		if info, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
			return nil
		} else if err != nil {
			return err
		}
	}
	// Only a connection that may write does it.
	db, err := connect(path, "rw", readerCache)
	if err != nil {
		return err
	}
	var version int
	err = db.QueryRow("PRAGMA user_version").Scan(&version)
	return errors.Join(err, db.Close())
}

// identify makes the file if there is none, and otherwise finds out, without
// SQLite and so without a change to it, whether it is one of ours. It reports
// whether it is still empty.
func identify(path string) (fresh bool, err error) {
	// SQLite gives the files beside it the mode that this one has.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		return true, f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	f, err = os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return false, errors.New("it is not a regular file")
	}
	// "The Database Header" of SQLite's file format: 100 bytes, the
	// application ID at 68.
	var header [100]byte
	switch n, err := io.ReadFull(f, header[:]); {
	case err == io.EOF:
		// Nothing is in it: the program ended just after making it.
		return true, nil
	case err == io.ErrUnexpectedEOF:
		return false, fmt.Errorf("%w (it ends after %d bytes)", ErrCorrupt, n)
	case err != nil:
		return false, err
	case !strings.HasPrefix(string(header[:]), "SQLite format 3\x00"):
		return false, fmt.Errorf("%w (it does not begin as a database does)", ErrCorrupt)
	case binary.BigEndian.Uint32(header[68:]) != applicationID:
		return false, ErrForeign
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return false, err
		}
	}
	return false, nil
}

// checkVersion refuses a database from the future. It opens it read-only,
// since a connection that may write would tidy the file up when it closes.
func checkVersion(path string) error {
	db, err := connect(path, "ro", readerCache)
	if err != nil {
		return err
	}
	var version int
	err = db.QueryRow("PRAGMA user_version").Scan(&version)
	if err == nil && version > len(migrations) {
		err = fmt.Errorf("%w (its format is %d, this version knows %d)", ErrNewer, version, len(migrations))
	}
	return errors.Join(err, db.Close())
}

// connect returns a pool of connections that are all set up alike.
func connect(path, mode, cache string) (*sql.DB, error) {
	query := url.Values{
		"mode":    {mode},
		"_txlock": {"immediate"},
		"_pragma": {
			"busy_timeout(5000)",
			cache,
			"mmap_size(0)",
			"synchronous(FULL)",
			// What is dropped is gone: secrets above all.
			"secure_delete(FAST)",
			"journal_size_limit(16777216)",
			"wal_autocheckpoint(2000)",
			"temp_store(FILE)",
			"trusted_schema(0)",
			"cell_size_check(1)",
		},
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}
	connector, err := sqlite.NewConnector(u.String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
