package dest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestCommitGivesFilesTheirNamesTimesAndFolders(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *disk) {
		tree := d.placedTree(t)
		when := time.Date(2019, 5, 6, 7, 8, 9, 123456000, time.UTC)
		var pieces []*Piece
		want := map[string]string{"pkg": "/", "pkg/a": "/", "pkg/a/b": "/", "pkg/empty": ""}
		for i := range 40 {
			path, c := fmt.Sprintf("a/b/%d", i), content(i*100, 'x')
			p := written(t, tree, int64(i), path, c)
			p.ModTime = when
			pieces = append(pieces, p)
			want["pkg/"+path] = c
		}
		pieces = append(pieces, written(t, tree, 99, "empty", ""))
		j := newJournal()
		commit(t, j, pieces...)
		j.wantNoFailure(t)
		wantListing(t, d.listing(t), want)
		info, err := os.Stat(filepath.Join(d.path, "pkg/a/b/7"))
		if err != nil || !info.ModTime().Equal(when) {
			t.Errorf("its time is %v, %v", info.ModTime(), err)
		}
		if left, _ := os.ReadDir(filepath.Join(d.path, ".masvfs-"+testID)); len(left) != 0 {
			t.Errorf("the work folder still has %v", left)
		}
	})
}

func TestCommitNeverTakesANameThatIsTaken(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *disk) {
		d.put(t, "sub/a", "theirs")
		d.put(t, "sub/a+", "theirs too")
		if err := os.Symlink("/etc/passwd", filepath.Join(d.path, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(d.path, "folder"), 0o755); err != nil {
			t.Fatal(err)
		}
		tree := d.tree(t, Spec{ID: testID}, "")
		j := newJournal()
		commit(t, j,
			written(t, tree, 1, "sub/a", "ours"), written(t, tree, 2, "link", "ours"),
			written(t, tree, 3, "folder", "ours"), written(t, tree, 4, "free", "ours"))
		j.wantNoFailure(t)
		wantListing(t, d.listing(t), map[string]string{
			"sub": "/", "sub/a": "theirs", "sub/a+": "theirs too", "sub/a++": "ours", "link": "-> /etc/passwd",
			"link+": "ours", "folder": "/", "folder+": "ours", "free": "ours",
		})
		if j.placed[1] != "a++" || j.whole[1] != "a++" {
			t.Errorf("recorded as %q, placed as %q", j.whole[1], j.placed[1])
		}
	})
}

func TestWhatStandsInTheWayOfAFolderFailsItsFilesAlone(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *disk) {
		d.put(t, "file", "theirs")
		d.put(t, "target/theirs", "theirs")
		if err := os.Symlink("target", filepath.Join(d.path, "link")); err != nil {
			t.Fatal(err)
		}
		tree := d.tree(t, Spec{ID: testID}, "")
		j := newJournal()
		commit(t, j, written(t, tree, 1, "file/a", "A"), written(t, tree, 2, "link/deep/b", "B"),
			written(t, tree, 3, "ok/c", "C"), written(t, tree, 4, ".masvfs-"+testID+"/d", "D"))
		for id, what := range map[int64]string{1: "a file", 2: "a symlink", 4: "something else"} {
			if err := j.failed[id]; !errors.Is(err, ErrInTheWay) || !strings.Contains(err.Error(), what) {
				t.Errorf("file %d failed with %v, which does not speak of %s", id, err, what)
			}
		}
		if len(j.placed) != 1 {
			t.Errorf("placed are %v", j.placed)
		}
		wantListing(t, d.listing(t), map[string]string{
			"file": "theirs", "target": "/", "target/theirs": "theirs", "link": "-> target", "ok": "/", "ok/c": "C",
		})
		if err := tree.Mkdir("file/x"); !errors.Is(err, ErrInTheWay) {
			t.Errorf("Mkdir: %v", err)
		}
	})
}

func TestCommitterSharesFlushes(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	j := newJournal()
	c := NewCommitter(j, Config{Delay: time.Hour, MaxBatch: 10, MaxOpen: 1000})
	for i := range 95 {
		if err := c.Commit(t.Context(), written(t, tree, int64(i), fmt.Sprint(i), "x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Drain(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	if len(j.placed) != 95 || j.calls > 11 { // the first one waits for nobody
		t.Errorf("%d placed in %d batches", len(j.placed), j.calls)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	p := written(t, tree, 100, "late", "x")
	if err := c.Commit(t.Context(), p); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	if _, err := p.Partial.WriteAt([]byte("y"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("its partial file was left open: %v", err)
	}
	if err := c.Drain(t.Context(), tree); !errors.Is(err, ErrClosed) {
		t.Errorf("Drain after Close: %v", err)
	}
}

func TestAPieceWaitsNoLongerThanTheDelay(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	j := newJournal()
	placed := make(chan struct{})
	j.onPlaced = func() error { close(placed); return nil }
	c := NewCommitter(j, Config{Delay: time.Millisecond})
	defer c.Close()
	if err := c.Commit(t.Context(), written(t, tree, 1, "a", "x")); err != nil {
		t.Fatal(err)
	}
	<-placed // with nobody draining
}

func TestADeadDiskHoldsUpItsOwnFilesAlone(t *testing.T) {
	dead, alive := newDisk(t), newDisk(t)
	stuck := make(chan struct{})
	dead.sys.flushFile = func(*os.File) error { <-stuck; return syscall.EIO }
	deadTree, aliveTree := dead.placedTree(t), alive.placedTree(t)
	deadTree.device, aliveTree.device = 1, 2
	j := newJournal()
	c := NewCommitter(j, Config{Delay: time.Nanosecond, MaxOpen: 4})
	for i := range 4 {
		if err := c.Commit(t.Context(), written(t, deadTree, int64(i), fmt.Sprint(i), "x")); err != nil {
			t.Fatal(err)
		}
	}
	// One more has no room, and whoever hands it over can leave.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Commit(ctx, written(t, deadTree, 5, "5", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit to the dead disk: %v", err)
	}
	if err := c.Drain(ctx, deadTree); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain of the dead disk: %v", err)
	}
	if err := c.Commit(t.Context(), written(t, aliveTree, 10, "ten", "x")); err != nil {
		t.Fatal(err)
	}
	if err := c.Drain(t.Context(), aliveTree); err != nil {
		t.Fatal(err)
	}
	wantListing(t, alive.listing(t), map[string]string{"pkg": "/", "pkg/ten": "x"})
	close(stuck)
	c.Close()
	if len(j.failed) != 4 || len(j.placed) != 1 {
		t.Errorf("placed %v, failed %v", j.placed, j.failed)
	}
}

func TestPiecesThatMakeNoSenseAreRefused(t *testing.T) {
	d := newDisk(t)
	tree, other := d.placedTree(t), d.tree(t, Spec{ID: "another-download"}, "")
	c := NewCommitter(newJournal(), Config{})
	defer c.Close()
	for name, change := range map[string]func(*Piece){
		"a folder that leads out":     func(p *Piece) { p.Folder = "../x" },
		"a name that leads out":       func(p *Piece) { p.Name = ".." },
		"a name with a slash":         func(p *Piece) { p.Name = "a/b" },
		"no name":                     func(p *Piece) { p.Name = "" },
		"another size":                func(p *Piece) { p.Size++ },
		"the partial of another file": func(p *Piece) { p.ID++ },
		"the partial of another tree": func(p *Piece) { p.Tree = other },
		"no partial":                  func(p *Piece) { p.Partial.Close(); p.Partial = nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := written(t, tree, 1, "a", "x")
			change(p)
			if err := c.Commit(t.Context(), p); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("Commit: %v", err)
			}
		})
	}
}

func TestAPartialThatWasReplacedIsNotPlaced(t *testing.T) {
	for name, replace := range map[string]func(string) error{
		"by a symlink": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) },
		"by another file": func(p string) error {
			return errors.Join(os.Rename(p, p+".moved"), os.WriteFile(p, []byte("x"), 0o644))
		},
		"by nothing":    os.Remove,
		"by less of it": func(p string) error { return os.Truncate(p, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			tree := d.placedTree(t)
			p := written(t, tree, 1, "a", "x")
			if err := replace(filepath.Join(d.path, ".masvfs-"+testID, "1.new")); err != nil {
				t.Fatal(err)
			}
			j := newJournal()
			commit(t, j, p)
			if j.failed[1] == nil {
				t.Error("it did not fail")
			}
			wantListing(t, d.listing(t), map[string]string{"pkg": "/"})
		})
	}
}

func TestMoreFoldersThanStayOpen(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	j := newJournal()
	c := NewCommitter(j, Config{MaxBatch: 100})
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 3 * maxOpened {
				id := int64(w*1000 + i)
				if err := c.Commit(t.Context(), written(t, tree, id, fmt.Sprintf("%d/in/%d", i, w), "x")); err != nil {
					t.Error(err)
					return
				}
				if err := tree.Mkdir(fmt.Sprintf("%d/empty", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := c.Drain(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	c.Close()
	j.wantNoFailure(t)
	if n := len(d.listing(t)); n != 1+3*maxOpened*(3+4) {
		t.Errorf("there are %d files and folders", n)
	}
	if n := tree.folders.recent.Len(); n > maxOpened {
		t.Errorf("%d folders are open", n)
	}
	for i := range 3 * maxOpened {
		f, err := tree.Open(fmt.Sprintf("%d/in/0", i))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	tree.Close()
	if _, err := tree.Open("0/in/0"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Open after Close: %v", err)
	}
}
