package dest

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A small file system of its own, filled to the last block.
func TestNoSpaceIsSaid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small file system to fill it")
	}
	path := t.TempDir()
	if err := unix.Mount("none", path, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, 0); err != nil {
			t.Errorf("unmount: %v", err) // somebody has left something open
		}
	})
	d := &disk{path: path, sys: native}
	f := d.folder(t)
	space, err := f.Space()
	if err != nil || space.Total != 8<<20 || space.Free > space.Total {
		t.Errorf("space: %+v, %v", space, err)
	}
	f.Close()

	tree := d.placedTree(t)
	if _, _, err := tree.Partial(1, 9<<20); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("room for 9 MiB of 8: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(path, ".masvfs-"+testID)); len(left) != 0 {
		t.Errorf("the failure leaves %v", left)
	}
	kept := written(t, tree, 2, "kept", content(15<<19, 'k'))
	p, _, err := tree.Partial(3, 1<<20-1)
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); err == nil && off < p.Size(); off += 4096 {
		_, err = p.WriteAt(make([]byte, min(4096, p.Size()-off)), off)
	}
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the last write: %v", err)
	}
	if err == nil {
		t.Error("the file system took more than it has")
	}
	p.Close()
	j := newJournal()
	commit(t, j, kept)
	j.wantNoFailure(t)
	tree.Close()
}
