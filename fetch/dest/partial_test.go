package dest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestPartialIsResumedOnlyAfterAFlush(t *testing.T) {
	d := newDisk(t)
	open := func() (*Partial, bool) {
		tree := d.tree(t, Spec{ID: testID}, "")
		p, fresh, err := tree.Partial(7, 4)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p, fresh
	}
	read := func(p *Partial) string {
		b := make([]byte, 4)
		if _, err := p.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	p, fresh := open()
	if !fresh || p.Size() != 4 {
		t.Fatalf("fresh %v, size %d", fresh, p.Size())
	}
	p.WriteAt([]byte("lost"), 0)

	p, fresh = open()
	if !fresh || read(p) != "\x00\x00\x00\x00" {
		t.Fatalf("one that was never flushed: fresh %v, content %q", fresh, read(p))
	}
	p.WriteAt([]byte("kept"), 0)
	for range 2 {
		if err := p.Sync(); err != nil {
			t.Fatal(err)
		}
	}

	p, fresh = open()
	if fresh || read(p) != "kept" {
		t.Fatalf("one that was flushed: fresh %v, content %q", fresh, read(p))
	}
}

func TestPartialThatIsNotWhatItShouldBe(t *testing.T) {
	for name, spoil := range map[string]func(part, theirs string) error{
		"a file of another size":      func(p, _ string) error { return os.WriteFile(p, []byte("12345"), 0o644) },
		"a symlink to another's file": func(p, theirs string) error { return os.Symlink(theirs, p) },
		"a symlink to a file beside it": func(p, _ string) error {
			return errors.Join(os.WriteFile(p+"x", []byte("1234"), 0o644), os.Symlink(filepath.Base(p)+"x", p))
		},
		"a link of another's file": func(p, theirs string) error { return os.Link(theirs, p) },
		"a FIFO":                   func(p, _ string) error { return syscall.Mkfifo(p, 0o644) },
		"a folder":                 func(p, _ string) error { return os.MkdirAll(p+"/x", 0o755) },
	} {
		for _, file := range []string{"7.part", "7.new"} {
			t.Run(name+" as "+file, func(t *testing.T) {
				d := newDisk(t)
				d.put(t, "theirs", "4444")
				tree := d.placedTree(t)
				if err := spoil(filepath.Join(d.path, ".masvfs-"+testID, file), filepath.Join(d.path, "theirs")); err != nil {
					t.Fatal(err)
				}
				p, fresh, err := tree.Partial(7, 4)
				if err != nil || !fresh {
					t.Fatalf("Partial: fresh %v, %v", fresh, err)
				}
				defer p.Close()
				if _, err := p.WriteAt([]byte("ours"), 0); err != nil {
					t.Fatal(err)
				}
				wantListing(t, d.listing(t), map[string]string{"theirs": "4444", "pkg": "/"})
			})
		}
	}
}

func TestPartialTakesNothingBeyondItsSize(t *testing.T) {
	tree := newDisk(t).placedTree(t)
	p, _, err := tree.Partial(1, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, off := range []int64{-1, 2, 5, 1<<63 - 1} {
		if _, err := p.WriteAt([]byte("abc"), off); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("WriteAt(%d): %v", off, err)
		}
	}
}

func TestRoomForAPartialFile(t *testing.T) {
	for name, c := range map[string]struct {
		size     int64
		allocate error
		fails    bool
	}{
		"is claimed where that takes no time":    {size: 4 << 20},
		"is not claimed where that is refused":   {size: 4 << 20, allocate: syscall.EOPNOTSUPP},
		"that is not there is said at once":      {size: 4 << 20, allocate: syscall.ENOSPC, fails: true},
		"is not claimed for small files":         {size: 4 << 10, allocate: syscall.ENOSPC},
		"is not needed for an empty file at all": {size: 0, allocate: syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			d.sys.traits = func(*os.File) (traits, error) { return traits{allocate: true}, nil }
			if c.allocate != nil {
				d.sys.allocate = func(*os.File, int64) error { return c.allocate }
			}
			tree := d.placedTree(t)
			p, _, err := tree.Partial(1, c.size)
			if c.fails {
				if !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("Partial: %v", err)
				}
				if left, _ := os.ReadDir(filepath.Join(d.path, ".masvfs-"+testID)); len(left) != 0 {
					t.Errorf("it leaves %v", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			info, err := p.file.Stat()
			if err != nil || info.Size() != c.size {
				t.Errorf("size is %d, %v", info.Size(), err)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	uid, gid := 12345, 54321
	spec := Spec{ID: testID, PackageFolder: true, UID: &uid, GID: &gid}
	t.Run("are given to all that is made", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root may give files to others")
		}
		d := newDisk(t)
		d.put(t, "theirs", "")
		tree := d.tree(t, spec, "")
		if _, err := tree.Place("", named("pkg"), forget); err != nil {
			t.Fatal(err)
		}
		commit(t, newJournal(), written(t, tree, 1, "sub/deep/a", "A"))
		for _, p := range []string{"pkg", "pkg/sub", "pkg/sub/deep", "pkg/sub/deep/a"} {
			info, err := os.Lstat(filepath.Join(d.path, p))
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid {
				t.Errorf("%s belongs to %d:%d", p, st.Uid, st.Gid)
			}
		}
	})
	for name, c := range map[string]struct {
		traits traits
		errno  syscall.Errno
		ok     bool
	}{
		"that are refused are an error where there are owners": {traits{owners: true}, syscall.EPERM, false},
		"that are refused are none where there are no owners":  {traits{}, syscall.EPERM, true},
		"that are unknown to the file system are none":         {traits{owners: true}, syscall.ENOTSUP, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			d.sys.traits = func(*os.File) (traits, error) { return c.traits, nil }
			d.sys.chown = func(*os.File, int, int) error { return c.errno }
			_, err := d.tree(t, spec, "").Place("", named("pkg"), forget)
			if (err == nil) != c.ok || err != nil && !errors.Is(err, c.errno) {
				t.Fatalf("Place: %v", err)
			}
		})
	}
}
