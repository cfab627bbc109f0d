package dest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

const testID = "0f8c2d5e-1111-4222-8333-444455556666"

// disk is a destination on a real file system, and what the tests change of
// the calls on it.
type disk struct {
	path string
	sys  system
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	return &disk{path: t.TempDir(), sys: native}
}

func (d *disk) roots(t testing.TB) *Roots {
	t.Helper()
	r, err := NewRoots([]string{d.path})
	if err != nil {
		t.Fatal(err)
	}
	r.sys = &d.sys
	return r
}

func (d *disk) folder(t testing.TB) *Folder {
	t.Helper()
	f, err := d.roots(t).Open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// tree opens a tree, which is closed with the test.
func (d *disk) tree(t testing.TB, spec Spec, folder string) *Tree {
	t.Helper()
	f := d.folder(t)
	defer f.Close()
	tree, err := f.Tree(spec, folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

// placedTree opens a tree with the package folder "pkg".
func (d *disk) placedTree(t testing.TB) *Tree {
	t.Helper()
	tree := d.tree(t, Spec{ID: testID, PackageFolder: true}, "")
	if _, err := tree.Place("", named("pkg"), forget); err != nil {
		t.Fatal(err)
	}
	return tree
}

func named(name string) func(int) string {
	return func(n int) string {
		if n == 1 {
			return name
		}
		return fmt.Sprintf("%s (%d)", name, n)
	}
}

func forget(string) error { return nil }

// listing is everything below a folder: contents of files, targets of
// symlinks, "/" for folders. Work folders are left out.
func (d *disk) listing(t testing.TB) map[string]string { return listing(t, d.path, false) }

func listing(t testing.TB, root string, work bool) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		switch {
		case e.IsDir() && e.Name() == ".masvfs-"+testID && !work:
			return fs.SkipDir
		case e.IsDir():
			all[rel] = "/"
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			all[rel] = "-> " + target
			return err
		default:
			content, err := os.ReadFile(p)
			all[rel] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wantListing(t testing.TB, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if c, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		} else if c != want[name] {
			t.Errorf("%s is %.40q, want %.40q", name, c, want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is there (%.40q)", name, got[name])
		}
	}
}

// put writes a file of somebody else.
func (d *disk) put(t testing.TB, path, content string) {
	t.Helper()
	p := filepath.Join(d.path, path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// written returns a piece with this content in its partial file.
func written(t testing.TB, tree *Tree, id int64, path, content string) *Piece {
	t.Helper()
	p, _, err := tree.Partial(id, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	return &Piece{Tree: tree, Partial: p, ID: id, Folder: parent(path), Name: filepath.Base(path), Size: int64(len(content))}
}

// journal remembers what it was told, and fails where it is told to.
type journal struct {
	onWhole  func() error
	onPlaced func() error

	mu     sync.Mutex
	whole  map[int64]string // the name recorded
	placed map[int64]string
	failed map[int64]error
	calls  int // of Placed
}

func newJournal() *journal {
	return &journal{whole: make(map[int64]string), placed: make(map[int64]string), failed: make(map[int64]error)}
}

func (j *journal) Whole(_ context.Context, ps []*Piece) error {
	if j.onWhole != nil {
		if err := j.onWhole(); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range ps {
		j.whole[p.ID] = p.Name
	}
	return nil
}

func (j *journal) Taken(_ context.Context, p *Piece) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	next := p.Name + "+"
	j.whole[p.ID] = next
	return next, nil
}

func (j *journal) Placed(_ context.Context, ps []*Piece) error {
	if j.onPlaced != nil {
		if err := j.onPlaced(); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls++
	for _, p := range ps {
		j.placed[p.ID] = p.Name
	}
	return nil
}

func (j *journal) Failed(p *Piece, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed[p.ID] = err
}

// commit sends pieces through a Committer of its own, and returns when they
// are through.
func commit(t testing.TB, j *journal, pieces ...*Piece) {
	t.Helper()
	c := NewCommitter(j, Config{Delay: time.Hour, Log: slog.New(slog.DiscardHandler)})
	for _, p := range pieces {
		if err := c.Commit(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if settled := len(j.placed) + len(j.failed); settled < len(pieces) {
		t.Fatalf("%d of %d pieces are settled", settled, len(pieces))
	}
}

func (j *journal) wantNoFailure(t testing.TB) {
	t.Helper()
	for id, err := range j.failed {
		t.Errorf("file %d failed: %v", id, err)
	}
}

func content(n int, b byte) string { return string(bytes.Repeat([]byte{b}, n)) }

// kinds of file systems, and what each changes of the calls.
var kinds = map[string]func(*system){
	"a local file system": func(*system) {},
	"a file system without RENAME_NOREPLACE": func(s *system) {
		s.RenameNoReplace = func(*os.File, string, *os.File, string) error { return syscall.EINVAL }
	},
	"a file system without RENAME_NOREPLACE and hard links": func(s *system) {
		s.RenameNoReplace = func(*os.File, string, *os.File, string) error { return syscall.ENOSYS }
		s.Link = func(*os.File, string, *os.File, string) error { return syscall.EPERM }
	},
	"a file system with none of the extras": func(s *system) {
		s.RenameNoReplace = func(*os.File, string, *os.File, string) error { return syscall.ENOTSUP }
		s.Link = func(*os.File, string, *os.File, string) error { return syscall.ENOTSUP }
		s.allocate = func(*os.File, int64) error { return syscall.EOPNOTSUPP }
		s.chown = func(*os.File, int, int) error { return syscall.EPERM }
		s.flushDir = func(*os.File) error { return syscall.EINVAL }
		s.flushAll = func(*os.File) error { panic("syncfs, which cannot be trusted here") }
		s.traits = func(*os.File) (traits, error) { return traits{dense: true}, nil }
	},
}

// onEveryKind runs a test on every kind of file system.
func onEveryKind(t *testing.T, test func(t *testing.T, d *disk)) {
	for kind, change := range kinds {
		t.Run("on "+kind, func(t *testing.T) {
			d := newDisk(t)
			change(&d.sys)
			test(t, d)
		})
	}
}
