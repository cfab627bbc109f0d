package store

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A powerCut is what the disk may hold of a change that was made without the
// write-ahead log, as the first ones are, and had no time to end.
type powerCut struct {
	journal []byte // what undoes the change
	begun   []byte // the database with some of its pages written, but not the first
	done    []byte // with all of them, and the journal not removed yet
}

// cutPower makes a database of its own with setup, and changes it.
func cutPower(t *testing.T, setup string) (c powerCut) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	read := func(suffix string) []byte {
		data, err := os.ReadFile(path + suffix)
		must(t, err)
		return data
	}
	for _, statement := range []string{
		setup,
		"PRAGMA cache_size = 4", // so that pages are written before the end
		"BEGIN",
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		"CREATE TABLE half (x BLOB)",
		"INSERT INTO half SELECT randomblob(3000) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i+1 FROM n LIMIT 50) SELECT i FROM n)",
	} {
		_, err := db.Exec(statement)
		must(t, err)
	}
	c.journal, c.begun = read("-journal"), read("")
	_, err = db.Exec("COMMIT")
	must(t, err)
	c.done = read("")
	return c
}

// leave puts down what a power cut has left, and returns the database's path.
func (c powerCut) leave(t *testing.T, database []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "test.db")
	must(t, os.WriteFile(path, database, 0o600))
	must(t, os.WriteFile(path+"-journal", c.journal, 0o600))
	return path
}

func TestAPowerCutInTheFirstMomentsBarsNoStart(t *testing.T) {
	ours := fmt.Sprintf("PRAGMA application_id = %d", applicationID)
	for when, c := range map[string]powerCut{
		"when it was made":           cutPower(t, ""),
		"when it was first switched": cutPower(t, ours),
	} {
		for what, database := range map[string][]byte{
			"no page was written":                 nil,
			"some pages were written":             c.begun,
			"all pages were written":              c.done,
			"the first page was not, nor others":  make([]byte, 4096),
			"the first page was written in part":  append(c.done[:50:50], make([]byte, 4046)...),
			"the file ends within its first page": c.done[:50],
		} {
			t.Run(when+": "+what, func(t *testing.T) {
				s := open1(t, c.leave(t, database))
				added(t, s, "x")
				var half int
				must(t, s.readers.QueryRow("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").Scan(&half))
				if half != 0 {
					t.Error("the change that was cut short is there")
				}
			})
		}
	}
}

func TestAPowerCutWhileTheTablesAreMadeBarsNoStart(t *testing.T) {
	_, path := fresh(t)
	database, err := os.ReadFile(path)
	must(t, err)
	wal, err := os.ReadFile(path + "-wal")
	must(t, err)
	for what, torn := range map[string][]byte{
		"has nothing in it":      nil,
		"ends within its header": wal[:20],
		"has no header":          append(make([]byte, 32), wal[32:]...),
		"ends within a page":     wal[:len(wal)/2],
		"lacks its last page":    append(wal[:len(wal)-4096:len(wal)-4096], make([]byte, 4096)...),
	} {
		t.Run("the log "+what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			must(t, os.WriteFile(path, database, 0o600))
			must(t, os.WriteFile(path+"-wal", torn, 0o600))
			added(t, open1(t, path), "x")
		})
	}
}

func TestADatabaseOfAnotherIsRefusedAlsoAfterAPowerCut(t *testing.T) {
	for name, test := range map[string]struct {
		setup string
		want  error
	}{
		"of a newer version":                 {fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 9999", applicationID), ErrNewer},
		"of another program":                 {"PRAGMA application_id = 7", ErrForeign},
		"of another program, which has none": {"CREATE TABLE recipes (name TEXT)", ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			c := cutPower(t, test.setup)
			for _, database := range [][]byte{c.begun, make([]byte, len(c.begun))} {
				if s, err := Open(c.leave(t, database)); !errors.Is(err, test.want) {
					t.Errorf("got %v, %v", s, err)
				}
			}
		})
	}
}
