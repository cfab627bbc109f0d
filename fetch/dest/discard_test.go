package dest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRemoving(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	commit(t, newJournal(), written(t, tree, 1, "sub/a", "A"), written(t, tree, 2, "sub/b", "B"))
	if err := tree.Mkdir("empty/er"); err != nil {
		t.Fatal(err)
	}
	d.put(t, "pkg/sub/theirs", "theirs")
	if err := os.Symlink("sub", filepath.Join(d.path, "pkg/link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"sub/a", "sub/a", "sub", "empty/er", "empty", "link", "link/b", "sub/b/c", "never/was"} {
		if err := tree.Remove(p); err != nil {
			t.Errorf("Remove(%s): %v", p, err)
		}
	}
	if err := errors.Join(tree.RemoveRoot(), tree.Discard(), tree.Discard()); err != nil {
		t.Fatal(err)
	}
	wantListing(t, listing(t, d.path, true), map[string]string{
		"pkg": "/", "pkg/link": "-> sub", "pkg/sub": "/", "pkg/sub/b": "B", "pkg/sub/theirs": "theirs",
	})
	os.Remove(filepath.Join(d.path, "pkg/link"))
	os.Remove(filepath.Join(d.path, "pkg/sub/theirs"))
	for _, p := range []string{"sub/b", "sub"} {
		if err := tree.Remove(p); err != nil {
			t.Error(err)
		}
	}
	if err := tree.RemoveRoot(); err != nil {
		t.Fatal(err)
	}
	wantListing(t, listing(t, d.path, true), map[string]string{})
}

func TestDiscardRemovesWhatIsOursOnly(t *testing.T) {
	t.Run("what others have put into the work folder stays, and is not followed", func(t *testing.T) {
		d := newDisk(t)
		d.put(t, "theirs/file", "theirs")
		tree := d.placedTree(t)
		if err := os.Symlink("../theirs", filepath.Join(d.path, ".masvfs-"+testID, "link")); err != nil {
			t.Fatal(err)
		}
		if err := tree.Discard(); err != nil {
			t.Fatal(err)
		}
		wantListing(t, listing(t, d.path, true), map[string]string{
			"theirs": "/", "theirs/file": "theirs", "pkg": "/", ".masvfs-" + testID: "/", ".masvfs-" + testID + "/link": "-> ../theirs",
		})
	})
	t.Run("another folder in its place stays", func(t *testing.T) {
		d := newDisk(t)
		d.put(t, "theirs/file", "theirs")
		d.put(t, "theirs/deep/1.part", "theirs")
		tree := d.placedTree(t)
		p, _, err := tree.Partial(1, 1)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		work := filepath.Join(d.path, ".masvfs-"+testID)
		if err := errors.Join(os.Rename(work, filepath.Join(d.path, "away")), os.Rename(filepath.Join(d.path, "theirs"), work)); err != nil {
			t.Fatal(err)
		}
		if err := tree.Discard(); err != nil {
			t.Fatal(err)
		}
		name := ".masvfs-" + testID
		wantListing(t, listing(t, d.path, true), map[string]string{
			"pkg": "/", "away": "/", name: "/", name + "/file": "theirs", name + "/deep": "/", name + "/deep/1.part": "theirs",
		})
	})
	t.Run("another user's folder in its place is neither written to nor emptied", func(t *testing.T) {
		d := newDisk(t)
		name := ".masvfs-" + testID
		d.put(t, name+"/1.part", "theirs")
		if err := os.Chown(filepath.Join(d.path, name), 12345, -1); err != nil {
			t.Skipf("only root can have a folder belong to somebody else: %v", err)
		}
		os.Chmod(d.path, 0o777)
		tree := d.tree(t, Spec{ID: testID}, "")
		if _, _, err := tree.Partial(2, 1); !errors.Is(err, ErrInTheWay) {
			t.Errorf("Partial: %v", err)
		}
		if err := tree.Discard(); err != nil {
			t.Fatal(err)
		}
		wantListing(t, listing(t, d.path, true), map[string]string{name: "/", name + "/1.part": "theirs"})
	})
	t.Run("another user's folder in the package's place is not taken for it where others may rename", func(t *testing.T) {
		d := newDisk(t)
		d.put(t, "pkg/a", "theirs")
		folder := filepath.Join(d.path, "pkg")
		if err := os.Chown(folder, 12345, -1); err != nil {
			t.Skipf("only root can have a folder belong to somebody else: %v", err)
		}
		f := d.folder(t)
		defer f.Close()
		for mode, want := range map[os.FileMode]error{0o755: nil, 0o777: ErrMissing, 0o775: ErrMissing, 0o777 | os.ModeSticky: nil} {
			os.Chmod(d.path, mode)
			f := d.folder(t)
			tree, err := f.Tree(Spec{ID: testID, PackageFolder: true}, "pkg")
			if !errors.Is(err, want) {
				t.Errorf("in a folder of mode %v: %v, want %v", mode, err, want)
			}
			if err == nil {
				tree.Close()
			}
			f.Close()
		}
		uid := 12345 // whom the download is for
		os.Chmod(d.path, 0o777)
		tree, err := f.Tree(Spec{ID: testID, PackageFolder: true, UID: &uid}, "pkg")
		if err != nil {
			t.Fatal(err)
		}
		tree.Close()
	})
	t.Run("a symlink in its place stays", func(t *testing.T) {
		d := newDisk(t)
		d.put(t, "theirs/file", "theirs")
		if err := os.Symlink("theirs", filepath.Join(d.path, ".masvfs-"+testID)); err != nil {
			t.Fatal(err)
		}
		tree := d.tree(t, Spec{ID: testID}, "")
		if err := tree.Discard(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := tree.Partial(1, 1); !errors.Is(err, ErrInTheWay) {
			t.Errorf("Partial: %v", err)
		}
		wantListing(t, listing(t, d.path, true), map[string]string{"theirs": "/", "theirs/file": "theirs", ".masvfs-" + testID: "-> theirs"})
	})
}
