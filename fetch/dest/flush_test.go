package dest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The kernel tells of lost bytes when the whole file system is flushed, and
// once for each file.
func TestBytesThatCouldNotBeWrittenFailTheirFileAlone(t *testing.T) {
	for name, n := range map[string]int{"among few files": 3, "among many files": 50} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			tree := d.placedTree(t)
			var pieces []*Piece
			for i := range n {
				pieces = append(pieces, written(t, tree, int64(i), fmt.Sprint(i), "x"))
			}
			bad := pieces[1].Partial.file
			d.sys.traits = func(*os.File) (traits, error) { return traits{flushAll: true}, nil }
			d.sys.flushAll = func(*os.File) error { return syscall.EIO }
			d.sys.flushFile = func(f *os.File) error {
				if f == bad {
					return syscall.EIO
				}
				return nil
			}
			j := newJournal()
			commit(t, j, pieces...)
			if !errors.Is(j.failed[1], syscall.EIO) || len(j.failed) != 1 || len(j.placed) != n-1 {
				t.Fatalf("%d placed, failed: %v", len(j.placed), j.failed)
			}
			if _, recorded := j.whole[1]; recorded {
				t.Error("it was recorded as whole")
			}
			p, fresh, err := tree.Partial(1, 1)
			if err != nil || !fresh {
				t.Fatalf("its partial file is still there: %v", err)
			}
			p.Close()
		})
	}
}

func TestAFlushThatFailedOnceIsNeverTrustedAgain(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	var pieces []*Piece
	for i := range 20 {
		pieces = append(pieces, written(t, tree, int64(i), fmt.Sprint(i), "x"))
	}
	d.sys.flushFile = func(*os.File) error { return syscall.EIO }
	if err := pieces[5].Partial.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync: %v", err)
	}
	d.sys.flushFile = native.flushFile
	if err := pieces[5].Partial.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("Sync again: %v", err)
	}
	j := newJournal()
	commit(t, j, pieces...)
	if !errors.Is(j.failed[5], syscall.EIO) || len(j.placed) != 19 {
		t.Errorf("%d placed, failed: %v", len(j.placed), j.failed)
	}
}

func TestAFolderThatCannotBeFlushedFailsTheFilesBelowIt(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	for _, folder := range []string{"bad", "good"} {
		if err := tree.Mkdir(folder); err != nil {
			t.Fatal(err)
		}
	}
	bad, err := os.Stat(filepath.Join(d.path, "pkg/bad"))
	if err != nil {
		t.Fatal(err)
	}
	d.sys.flushDir = func(f *os.File) error {
		if info, err := f.Stat(); err != nil || os.SameFile(info, bad) {
			return errors.Join(err, syscall.EIO)
		}
		return f.Sync()
	}
	pieces := []*Piece{written(t, tree, 1, "bad/a", "A"), written(t, tree, 2, "good/b", "B"), written(t, tree, 3, "bad/new/c", "C")}
	j := newJournal()
	commit(t, j, pieces...)
	if !errors.Is(j.failed[1], syscall.EIO) || !errors.Is(j.failed[3], syscall.EIO) || j.placed[2] != "b" {
		t.Errorf("placed %v, failed %v", j.placed, j.failed)
	}
	d.sys.flushDir = native.flushDir
	for _, i := range []int{0, 2} {
		if r, err := tree.Recover(pieces[i]); err != nil || r != AlreadyPlaced {
			t.Errorf("Recover: %v, %v", r, err)
		}
	}
}

func TestEverythingIsFlushedBeforeItIsRecorded(t *testing.T) {
	d := newDisk(t)
	var log []string
	var mu sync.Mutex
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, what)
	}
	name := func(f *os.File) string {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil {
			return f.Name()
		}
		rel, _ := filepath.Rel(d.path, link)
		return rel
	}
	tree := d.placedTree(t)
	d.sys.flushDir = func(f *os.File) error { note("flush folder " + name(f)); return nil }
	d.sys.flushFile = func(*os.File) error { note("flush bytes"); return nil }
	d.sys.RenameNoReplace = func(a *os.File, b string, c *os.File, e string) error {
		note("rename")
		return native.RenameNoReplace(a, b, c, e)
	}
	j := newJournal()
	j.onWhole = func() error { note("whole"); return nil }
	j.onPlaced = func() error { note("placed"); return nil }
	commit(t, j, written(t, tree, 1, "a/b/c", "x"))
	got := strings.Join(log, "\n")
	// The folders may be flushed in any order.
	want := []string{"flush bytes", "whole", "rename", "placed"}
	var main []string
	for _, l := range log {
		if !strings.HasPrefix(l, "flush folder") {
			main = append(main, l)
		}
	}
	if strings.Join(main, "\n") != strings.Join(want, "\n") {
		t.Fatalf("the order was\n%s", got)
	}
	after := got[strings.Index(got, "rename"):strings.Index(got, "placed")]
	for _, folder := range []string{"pkg/a/b", "pkg/a", "pkg"} {
		if !strings.Contains(after, "flush folder "+folder+"\n") {
			t.Errorf("%s is not flushed between rename and record:\n%s", folder, got)
		}
	}
}

func TestAFileHasItsTimeAndOwnerWhenItIsFlushed(t *testing.T) {
	d := newDisk(t)
	me := os.Getuid()
	tree := d.tree(t, Spec{ID: testID, UID: &me}, "")
	var owned atomic.Bool
	var flushed time.Time
	d.sys.chown = func(f *os.File, uid, gid int) error { owned.Store(true); return native.chown(f, uid, gid) }
	d.sys.flushFile = func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !owned.Load() {
			t.Error("it has not got its owner yet")
		}
		flushed = info.ModTime()
		return f.Sync()
	}
	p := written(t, tree, 1, "a", "x")
	p.ModTime = time.Date(2019, 8, 7, 6, 5, 4, 0, time.UTC)
	j := newJournal()
	commit(t, j, p)
	j.wantNoFailure(t)
	if !flushed.Equal(p.ModTime) {
		t.Errorf("its time was %v when it was flushed last, want %v", flushed, p.ModTime)
	}
}

func TestDrainFlushesFoldersWithoutFiles(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	var flushed atomic.Int32
	d.sys.flushDir = func(f *os.File) error { flushed.Add(1); return f.Sync() }
	c := NewCommitter(newJournal(), Config{})
	defer c.Close()
	if err := tree.Mkdir("a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := c.Drain(t.Context(), tree); err != nil {
		t.Fatal(err)
	}
	if flushed.Load() != 3 {
		t.Errorf("%d folders were flushed, want those of a, b and c", flushed.Load())
	}
	if err := tree.Mkdir("d"); err != nil {
		t.Fatal(err)
	}
	d.sys.flushDir = func(*os.File) error { return syscall.EIO }
	if err := c.Drain(t.Context(), tree); !errors.Is(err, syscall.EIO) {
		t.Errorf("Drain: %v", err)
	}
	d.sys.flushDir = native.flushDir
	if err := c.Drain(t.Context(), tree); err != nil {
		t.Errorf("Drain: %v", err)
	}
}

// The kernel tells a descriptor of lost bytes once, whoever asks for whichever
// files.
func TestBytesThatWereLostAreNotForgottenByTheNextBatch(t *testing.T) {
	for name, when := range map[string]string{
		"told when files are flushed":   "bytes",
		"told when folders are flushed": "folders",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			d.sys.traits = func(*os.File) (traits, error) { return traits{flushAll: true}, nil }
			tree := d.placedTree(t)
			many := func(from int64) (pieces []*Piece) {
				for i := range int64(4 * few) {
					pieces = append(pieces, written(t, tree, from+i, fmt.Sprintf("%d/x", from+i), "x"))
				}
				return pieces
			}
			first, second := many(100), many(200)
			bad := second[3]
			d.sys.flushFile = func(f *os.File) error {
				if f == bad.Partial.file {
					return syscall.EIO
				}
				return nil
			}
			stage, told := "bytes", false
			d.sys.flushAll = func(*os.File) error {
				if stage != when || told {
					return nil
				}
				told = true
				return syscall.EIO
			}
			j := newJournal()
			j.onWhole = func() error { stage = "folders"; return nil }
			j.onPlaced = func() error { stage = "bytes"; return nil }
			commit(t, j, first...)
			if !told || len(j.placed) != len(first) {
				t.Fatalf("told %v, %d placed, failed: %v", told, len(j.placed), j.failed)
			}
			commit(t, j, second...)
			if !errors.Is(j.failed[bad.ID], syscall.EIO) || len(j.failed) != 1 {
				t.Errorf("%d placed, failed: %v", len(j.placed), j.failed)
			}
		})
	}
}
