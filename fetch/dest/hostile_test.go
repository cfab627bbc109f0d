package dest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// TestFoldersSwappedForSymlinks has somebody replace folders of the package by
// symlinks that lead out, and back, while files are placed in them.
func TestFoldersSwappedForSymlinks(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	d := &disk{path: filepath.Join(base, "dst"), sys: native}
	for _, p := range []string{d.path, filepath.Join(outside, "deep")} {
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outside, "deep", "first")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := d.placedTree(t)
	roots := d.roots(t)
	if err := tree.Mkdir("sub/deep"); err != nil {
		t.Fatal(err)
	}
	const n = 600
	opened := 0
	j := newJournal()
	commit(t, j, written(t, tree, n, "sub/deep/first", "x"))
	sub := filepath.Join(tree.Path(), "sub")
	away := filepath.Join(d.path, "away")

	done := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for {
			if err := os.Rename(sub, away); err != nil {
				t.Error(err)
				return
			}
			// Either of these loses if a folder was made there meanwhile;
			// that one is then removed, again and again while files come in.
			if os.Symlink(outside, sub) == nil {
				os.Remove(sub)
			}
			for os.Rename(away, sub) != nil {
				os.RemoveAll(sub)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})

	c := NewCommitter(j, Config{MaxBatch: 7})
	for i := range n {
		if err := c.Commit(t.Context(), written(t, tree, int64(i), fmt.Sprintf("sub/deep/%d", i), "x")); err != nil {
			t.Fatal(err)
		}
		if f, err := roots.OpenFinished(d.path, tree.spec, "pkg", "sub/deep/first"); err == nil {
			opened++
			if text, err := io.ReadAll(f); err != nil || string(text) != "x" {
				t.Errorf("a file of the package says %q, %v", text, err)
			}
			f.Close()
		}
		if err := tree.Remove(fmt.Sprintf("sub/deep/%d", n+i)); err != nil {
			t.Log(err) // whatever it says, it must not reach outside
		}
	}
	c.Close()
	close(done)
	swapping.Wait()

	if len(j.placed)+len(j.failed) != n+1 {
		t.Errorf("%d placed and %d failed of %d", len(j.placed), len(j.failed), n+1)
	}
	if len(j.placed) == 0 || len(j.failed) == 0 || opened == 0 || opened == n {
		t.Logf("%d placed, %d failed, %d times opened: the race was not met", len(j.placed), len(j.failed), opened)
	}
	wantListing(t, listing(t, outside, true), map[string]string{"deep": "/", "deep/first": "secret"})
}

func TestOpenReadsFinishedFilesOnly(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	commit(t, newJournal(), written(t, tree, 1, "sub/a", "A"))
	d.put(t, "outside/secret", "S")
	pkg := tree.Path()
	for link, target := range map[string]string{"link": "sub/a", "out": "../outside", "abs": d.path + "/outside/secret", "self": "."} {
		if err := os.Symlink(target, filepath.Join(pkg, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(pkg, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"link", "out/secret", "abs", "self/sub/a", "fifo", "sub", "fifo/a"} {
		if f, err := tree.Open(p); !errors.Is(err, ErrInTheWay) {
			t.Errorf("Open(%s): %v", p, err)
			if err == nil {
				f.Close()
			}
		}
	}
	f, err := tree.Open("sub/a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := tree.Open("sub/b"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
