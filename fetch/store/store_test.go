package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"masvfs/fetch/pathname"
)

func open1(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func fresh(t testing.TB) (*Store, string) {
	path := filepath.Join(t.TempDir(), "test.db")
	return open1(t, path), path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// added returns a download that is recorded.
func added(t testing.TB, s *Store, name string) *Download {
	t.Helper()
	d := &Download{ID: "id-" + name, LinkID: "link", LinkSecret: "hush", Name: name, NameKey: name, State: "transferring", CreatedAt: time.Unix(5, 0)}
	must(t, s.Add(t.Context(), "", []*Download{d}))
	return d
}

func entry(id string, size int64, path ...string) NewEntry {
	return NewEntry{FileID: id, Folders: path[:len(path)-1], Base: path[len(path)-1], Size: size}
}

func paths(es []Entry) []string {
	var all []string
	for _, e := range es {
		all = append(all, filepath.Join(e.Folder, e.Name))
	}
	return all
}

func TestWhatWasWrittenIsThereAfterACrash(t *testing.T) {
	s, path := fresh(t)
	d := added(t, s, "kept")
	must(t, s.AddEntries(t.Context(), d.Seq, pathname.Linux, []NewEntry{entry("f", 7, "a", "b")}))
	d.State = "paused"
	must(t, s.Put(t.Context(), *d))
	// The files of an open database, copied, are what a crash leaves.
	dir := t.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "copy.db"+suffix), data, 0o600))
	}
	c := open1(t, filepath.Join(dir, "copy.db"))
	all, err := c.Downloads(t.Context())
	must(t, err)
	if len(all) != 1 || all[0].State != "paused" || all[0].LinkSecret != "hush" || !all[0].CreatedAt.Equal(time.Unix(5, 0)) {
		t.Errorf("got %+v", all)
	}
	files, err := c.Files(t.Context(), d.Seq, 0, 10)
	must(t, err)
	if got := paths(files); !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("files %v", got)
	}
}

func TestTheDatabaseIsItsOwnersOnly(t *testing.T) {
	s, path := fresh(t)
	added(t, s, "x")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
	}
}

func TestADatabaseThatCannotBeUsedIsLeftAsItIs(t *testing.T) {
	tests := []struct {
		name string
		make func(path string)
		want error
	}{
		{"of a newer version", func(path string) {
			must(t, open1(t, path).Close())
			db, err := sql.Open("sqlite", path)
			must(t, err)
			_, err = db.Exec("PRAGMA user_version = 9999")
			must(t, err)
			must(t, db.Close())
		}, ErrNewer},
		{"of another program", func(path string) {
			db, err := sql.Open("sqlite", path)
			must(t, err)
			_, err = db.Exec("CREATE TABLE recipes (name TEXT)")
			must(t, err)
			must(t, db.Close())
		}, ErrForeign},
		{"that is none", func(path string) {
			must(t, os.WriteFile(path, []byte(fmt.Sprintf("%4096s", "no database")), 0o600))
		}, ErrCorrupt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			test.make(path)
			before, err := os.ReadFile(path)
			must(t, err)
			if s, err := Open(path); !errors.Is(err, test.want) {
				t.Errorf("got %v, %v", s, err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestAnOriginIsTakenOnceAndWithAllItsDownloads(t *testing.T) {
	s, _ := fresh(t)
	added(t, s, "there")
	two := []*Download{{ID: "1", Name: "one", NameKey: "one"}, {ID: "2", Name: "there", NameKey: "there"}}
	if err := s.Add(t.Context(), "inbox:x", two); err == nil {
		t.Error("two downloads have one name")
	}
	if taken, err := s.Taken(t.Context(), "inbox:x"); err != nil || taken {
		t.Errorf("taken %v, %v", taken, err)
	}
	two[1].Name, two[1].NameKey = "two", "two"
	must(t, s.Add(t.Context(), "inbox:x", two))
	if err := s.Add(t.Context(), "inbox:x", []*Download{{ID: "3", Name: "3", NameKey: "3"}}); !errors.Is(err, ErrTaken) {
		t.Errorf("got %v", err)
	}
	must(t, s.ForgetOrigin(t.Context(), "inbox:x"))
	all, err := s.Downloads(t.Context())
	must(t, err)
	if len(all) != 3 || two[0].Seq == 0 || two[1].Seq <= two[0].Seq {
		t.Errorf("%d downloads, %d and %d", len(all), two[0].Seq, two[1].Seq)
	}
}

func TestNamesThatCollideAreNumbered(t *testing.T) {
	tests := []struct {
		name  string
		rules pathname.Rules
		list  []NewEntry
		want  []string
	}{
		{"the same path twice", pathname.Linux, []NewEntry{entry("1", 1, "a.txt"), entry("2", 1, "a.txt"), entry("3", 1, "a.txt")}, []string{"a.txt", "a (2).txt", "a (3).txt"}},
		{"one entry listed twice", pathname.Linux, []NewEntry{entry("1", 1, "a"), entry("1", 1, "a")}, []string{"a"}},
		{"a file and a folder", pathname.Linux, []NewEntry{entry("1", 1, "a", "x"), entry("2", 1, "a")}, []string{"a/x", "a (2)"}},
		{"a folder and a file", pathname.Linux, []NewEntry{entry("1", 1, "a"), entry("2", 1, "a", "x"), entry("3", 1, "a", "y")}, []string{"a", "a (2)/x", "a (2)/y"}},
		{"case, where it counts", pathname.Linux, []NewEntry{entry("1", 1, "A"), entry("2", 1, "a")}, []string{"A", "a"}},
		{"case, where it does not", pathname.Portable, []NewEntry{entry("1", 1, "A"), entry("2", 1, "a")}, []string{"A", "a (2)"}},
		{"folders that clean to one", pathname.Portable, []NewEntry{entry("1", 1, "a?", "x"), entry("2", 1, "a*", "x"), entry("3", 1, "a?", "y")}, []string{"a_/x", "a_ (2)/x", "a_/y"}},
		{"a name like a number", pathname.Linux, []NewEntry{entry("1", 1, "a (2)"), entry("2", 1, "a"), entry("3", 1, "a")}, []string{"a (2)", "a", "a (3)"}},
		{"a skipped one takes no name", pathname.Linux, []NewEntry{{FileID: "1", Base: "a", Skip: "quarantined"}, entry("2", 1, "a")}, []string{"a", "a"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, _ := fresh(t)
			d := added(t, s, "x")
			must(t, s.AddEntries(t.Context(), d.Seq, test.rules, test.list))
			files, err := s.Files(t.Context(), d.Seq, 0, 100)
			must(t, err)
			if got := paths(files); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestOnlyWhatIsCompleteShowsAndFoldersWithIt(t *testing.T) {
	s, _ := fresh(t)
	d := added(t, s, "x")
	list := []NewEntry{entry("1", 10, "a", "b", "one"), entry("2", 20, "a", "two"), {FileID: "3", Folders: []string{"c"}, Base: "empty", Dir: true}, entry("4", 5, "d", "four")}
	must(t, s.AddEntries(t.Context(), d.Seq, pathname.Linux, list))
	totals, err := s.FinishListing(t.Context(), d.Seq, func(int64, int64) {})
	must(t, err)
	if totals.Files != 3 || totals.Bytes != 35 {
		t.Errorf("totals %+v", totals)
	}
	shown := func(parent int64) (names []string) {
		t.Helper()
		es, err := s.ReadFolder(t.Context(), d.Seq, parent, "", 100)
		must(t, err)
		for _, e := range es {
			names = append(names, e.Name)
		}
		return names
	}
	if got := shown(0); !slices.Equal(got, []string{"c"}) {
		t.Errorf("at first there is %q", got)
	}
	files, err := s.Pending(t.Context(), d.Seq, 0, 100)
	must(t, err)
	must(t, s.Whole(t.Context(), []int64{files[0].ID}))
	at := time.Unix(1000, 0)
	for range 2 { // the second time changes nothing
		placed, err := s.Place(t.Context(), []int64{files[0].ID}, at)
		must(t, err)
		for _, p := range placed {
			if p.FilesDone != 1 || p.BytesDone != 10 || len(p.Folders) != 2 {
				t.Errorf("placement %+v", p)
			}
		}
	}
	if got := shown(0); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("then there is %q", got)
	}
	a, err := s.Lookup(t.Context(), d.Seq, 0, "a")
	must(t, err)
	if got := shown(a.ID); !a.Dir || !a.ModTime.Equal(at) || !slices.Equal(got, []string{"b"}) {
		t.Errorf("a is %+v with %q", a, got)
	}
	for _, name := range []string{"two", "nope"} {
		if _, err := s.Lookup(t.Context(), d.Seq, a.ID, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := s.Downloads(t.Context())
	must(t, err)
	if all[0].FilesDone != 1 || all[0].BytesDone != 10 {
		t.Errorf("the download says %+v", all[0].Totals)
	}
}

func TestAFailedFileCanBeTriedAgain(t *testing.T) {
	s, _ := fresh(t)
	d := added(t, s, "x")
	must(t, s.AddEntries(t.Context(), d.Seq, pathname.Linux, []NewEntry{entry("1", 1, "a")}))
	files, err := s.Pending(t.Context(), d.Seq, 0, 10)
	must(t, err)
	totals, err := s.Fail(t.Context(), files[0].ID, "file_gone", "It is gone.", true)
	must(t, err)
	if files, err := s.Pending(t.Context(), d.Seq, 0, 10); err != nil || len(files) != 0 || totals.FilesFailed != 1 {
		t.Errorf("%d pending, %+v, %v", len(files), totals, err)
	}
	first, err := s.FirstFailed(t.Context(), d.Seq)
	if err != nil || first.Message != "It is gone." {
		t.Errorf("the first failed is %+v, %v", first, err)
	}
	n, totals, err := s.Retry(t.Context(), d.Seq)
	if err != nil || n != 1 || totals.FilesFailed != 0 {
		t.Errorf("%d tried again, %+v, %v", n, totals, err)
	}
}

func TestDeletingADownloadLeavesTheOthers(t *testing.T) {
	s, _ := fresh(t)
	gone, stays := added(t, s, "gone"), added(t, s, "stays")
	for _, d := range []*Download{gone, stays} {
		var list []NewEntry
		for i := range 12000 {
			list = append(list, entry(fmt.Sprint(i), 1, "d", fmt.Sprint(i)))
		}
		must(t, s.AddEntries(t.Context(), d.Seq, pathname.Linux, list))
	}
	must(t, s.Delete(t.Context(), gone.Seq))
	all, err := s.Downloads(t.Context())
	must(t, err)
	left, err := s.Files(t.Context(), gone.Seq, 0, 10)
	must(t, err)
	kept, err := s.Files(t.Context(), stays.Seq, 11990, 20000)
	must(t, err)
	if len(all) != 1 || len(left) != 0 || len(kept) == 0 {
		t.Errorf("%d downloads, %d and %d files", len(all), len(left), len(kept))
	}
}

func TestWritesThatWaitTogetherShareCommits(t *testing.T) {
	s, _ := fresh(t)
	d := added(t, s, "x")
	before := s.writer.commits.Load()
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if err := s.Put(context.Background(), *d); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := s.writer.commits.Load() - before; n >= 200 {
		t.Errorf("%d commits for 200 writes", n)
	}
}

func TestADiskThatIsFullFailsTheWriteAndNothingElse(t *testing.T) {
	s, _ := fresh(t)
	d := added(t, s, "x")
	must(t, s.write(t.Context(), "limit", func(tx *tx) error {
		return tx.each("PRAGMA max_page_count = 60", nil, func(scanner) error { return nil })
	}))
	var list []NewEntry
	for i := range 5000 {
		list = append(list, entry(fmt.Sprint(i), 1, fmt.Sprintf("a file with a long name %d", i)))
	}
	if err := s.AddEntries(t.Context(), d.Seq, pathname.Linux, list); err == nil {
		t.Fatal("5000 entries fit into a full database")
	}
	if files, err := s.Files(t.Context(), d.Seq, 0, 10); err != nil || len(files) != 0 {
		t.Errorf("%d files of the failed write are there, %v", len(files), err)
	}
	must(t, s.write(t.Context(), "limit", func(tx *tx) error {
		return tx.each("PRAGMA max_page_count = 1000000", nil, func(scanner) error { return nil })
	}))
	must(t, s.AddEntries(t.Context(), d.Seq, pathname.Linux, list))
}

func BenchmarkAddEntries(b *testing.B) {
	s, _ := fresh(b)
	d := added(b, s, "x")
	n := 0
	for b.Loop() {
		list := make([]NewEntry, 2000)
		for i := range list {
			list[i] = entry(fmt.Sprint("id", n), 1, fmt.Sprint("folder ", n/1000), fmt.Sprint("file ", n))
			n++
		}
		must(b, s.AddEntries(b.Context(), d.Seq, pathname.Linux, list))
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}
