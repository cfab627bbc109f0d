package dest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"
)

func TestPlaceTakesTheFirstNameThatIsFree(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *disk) {
		d.put(t, "pkg/theirs.txt", "theirs")
		d.put(t, "pkg (2)", "a file")
		if err := os.Symlink("nowhere", filepath.Join(d.path, "pkg (3)")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(d.path, "pkg (4)"), 0o755); err != nil {
			t.Fatal(err)
		}
		tree := d.tree(t, Spec{ID: testID, PackageFolder: true}, "")
		var recorded []string
		folder, err := tree.Place("", named("pkg"), func(name string) error {
			recorded = append(recorded, name)
			return nil
		})
		if err != nil || folder != "pkg (5)" {
			t.Fatalf("Place: %q, %v", folder, err)
		}
		if got := strings.Join(recorded, ","); got != "pkg,pkg (2),pkg (3),pkg (4),pkg (5)" {
			t.Errorf("recorded %s", got)
		}
		if tree.Path() != filepath.Join(d.path, "pkg (5)") {
			t.Errorf("the path is %s", tree.Path())
		}
		wantListing(t, d.listing(t), map[string]string{
			"pkg": "/", "pkg/theirs.txt": "theirs", "pkg (2)": "a file", "pkg (3)": "-> nowhere", "pkg (4)": "/", "pkg (5)": "/",
		})
		again, err := tree.Place("", named("other"), func(string) error { t.Error("recorded again"); return nil })
		if err != nil || again != folder {
			t.Errorf("Place again: %q, %v", again, err)
		}
	})
}

func TestWorkFolderIsPrivate(t *testing.T) {
	d := newDisk(t)
	d.placedTree(t)
	info, err := os.Stat(filepath.Join(d.path, ".masvfs-"+testID))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("work folder: %v, %v", info.Mode(), err)
	}
}

// errCrash is the death of the program at a point where it calls something.
var errCrash = errors.New("crash")

func TestPlaceAfterACrash(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*system)
		record error // what the first call of record returns
		want   string
	}{
		"before the name was recorded": {record: errCrash, want: "pkg"},
		"before the rename": {change: func(s *system) {
			s.RenameNoReplace = func(*os.File, string, *os.File, string) error { return errCrash }
		}, want: "pkg"},
		"after the rename": {want: "pkg"},
		"before the package folder was made durable": {change: func(s *system) {
			s.flushDir = func(*os.File) error { return errCrash }
		}, want: "pkg"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			if c.change != nil {
				c.change(&d.sys)
			}
			spec := Spec{ID: testID, PackageFolder: true}
			recorded := ""
			tree := d.tree(t, spec, "")
			_, err := tree.Place("", named("pkg"), func(name string) error {
				if c.record == nil {
					recorded = name
				}
				return c.record
			})
			if (c.change != nil || c.record != nil) && err == nil {
				t.Fatal("there was no crash")
			}
			tree.Close()

			d.sys = native
			tree = d.tree(t, spec, "")
			folder, err := tree.Place(recorded, named("pkg"), func(name string) error {
				recorded = name
				return nil
			})
			if err != nil || folder != c.want || recorded != c.want {
				t.Fatalf("Place: %q (recorded %q), %v", folder, recorded, err)
			}
			wantListing(t, d.listing(t), map[string]string{c.want: "/"})
			commit(t, newJournal(), written(t, tree, 1, "a", "A"))
			wantListing(t, d.listing(t), map[string]string{c.want: "/", c.want + "/a": "A"})
		})
	}
}

func TestPlaceNeverEntersAFolderOfOthersAfterACrash(t *testing.T) {
	spec := Spec{ID: testID, PackageFolder: true}
	t.Run("when the recorded name was taken", func(t *testing.T) {
		d := newDisk(t)
		d.put(t, "pkg/theirs", "theirs")
		n := 0
		tree := d.tree(t, spec, "")
		if _, err := tree.Place("", named("pkg"), func(string) error {
			if n++; n == 2 {
				return errCrash
			}
			return nil
		}); err == nil {
			t.Fatal("there was no crash")
		}
		tree.Close()
		folder, err := d.tree(t, spec, "").Place("pkg", named("pkg"), forget)
		if err != nil || folder != "pkg (2)" {
			t.Fatalf("Place: %q, %v", folder, err)
		}
	})
	t.Run("when somebody has removed the work folder", func(t *testing.T) {
		d := newDisk(t)
		d.put(t, "pkg/theirs", "theirs")
		var recorded []string
		folder, err := d.tree(t, spec, "").Place("pkg", named("pkg"), func(name string) error {
			recorded = append(recorded, name)
			return nil
		})
		if err != nil || folder != "pkg (2)" || recorded[0] != "" {
			t.Fatalf("Place: %q (recorded %q), %v", folder, recorded, err)
		}
	})
}

func TestPublish(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *disk) {
		spec := Spec{ID: testID, PackageFolder: true, Hidden: true}
		tree := d.tree(t, spec, "")
		hidden, err := tree.Place("", named("pkg"), forget)
		if err != nil || hidden != ".pkg.masvfs-0f8c2d5e" {
			t.Fatalf("Place: %q, %v", hidden, err)
		}
		commit(t, newJournal(), written(t, tree, 1, "sub/a", "A"))
		d.put(t, "pkg/theirs", "theirs")
		folder, err := tree.Publish("", named("pkg"), forget)
		if err != nil || folder != "pkg (2)" {
			t.Fatalf("Publish: %q, %v", folder, err)
		}
		want := map[string]string{"pkg": "/", "pkg/theirs": "theirs", "pkg (2)": "/", "pkg (2)/sub": "/", "pkg (2)/sub/a": "A"}
		wantListing(t, d.listing(t), want)
		if again, err := tree.Publish(folder, named("pkg"), forget); err != nil || again != folder {
			t.Errorf("Publish again: %q, %v", again, err)
		}
		if f, err := tree.Open("sub/a"); err != nil {
			t.Error(err)
		} else {
			f.Close()
		}
		wantListing(t, d.listing(t), want)
	})
}

func TestPublishAfterACrash(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*system)
		record error
	}{
		"before the name was recorded": {record: errCrash},
		"before the rename": {change: func(s *system) {
			s.RenameNoReplace = func(*os.File, string, *os.File, string) error { return errCrash }
		}},
		"after the rename": {},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			spec := Spec{ID: testID, PackageFolder: true, Hidden: true}
			tree := d.tree(t, spec, "")
			hidden, err := tree.Place("", named("pkg"), forget)
			if err != nil {
				t.Fatal(err)
			}
			commit(t, newJournal(), written(t, tree, 1, "a", "A"))
			if c.change != nil {
				c.change(&d.sys)
			}
			_, err = tree.Publish("", named("pkg"), func(name string) error {
				if c.record == nil {
					spec.FinalFolder = name
				}
				return c.record
			})
			if (c.change != nil || c.record != nil) && err == nil {
				t.Fatal("there was no crash")
			}
			tree.Close()

			d.sys = native
			tree = d.tree(t, spec, hidden)
			folder, err := tree.Publish(spec.FinalFolder, named("pkg"), forget)
			if err != nil || folder != "pkg" {
				t.Fatalf("Publish: %q, %v", folder, err)
			}
			wantListing(t, d.listing(t), map[string]string{"pkg": "/", "pkg/a": "A"})
		})
	}
}

func TestHiddenNameFitsTheFileSystem(t *testing.T) {
	d := newDisk(t)
	tree := d.tree(t, Spec{ID: testID, PackageFolder: true, Hidden: true}, "")
	folder, err := tree.Place("", named(strings.Repeat("ü", 127)), forget)
	if err != nil || !utf8.ValidString(folder) || len(folder) > 255 {
		t.Fatalf("Place: %q (%d bytes), %v", folder, len(folder), err)
	}
}

func TestTreeThatIsGone(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"it was removed":               func(string) error { return nil },
		"a file has its name":          func(p string) error { return os.WriteFile(p, nil, 0o644) },
		"a symlink to it has its name": func(p string) error { return errors.Join(os.Mkdir(p+"-moved", 0o755), os.Symlink("pkg-moved", p)) },
		"a FIFO has its name":          func(p string) error { return syscall.Mkfifo(p, 0o644) },
	} {
		t.Run("because "+name, func(t *testing.T) {
			d := newDisk(t)
			if err := prepare(filepath.Join(d.path, "pkg")); err != nil {
				t.Fatal(err)
			}
			before := d.listingOfNames(t)
			f := d.folder(t)
			defer f.Close()
			if _, err := f.Tree(Spec{ID: testID, PackageFolder: true}, "pkg"); !errors.Is(err, ErrMissing) {
				t.Fatalf("Tree: %v", err)
			}
			for _, folder := range []string{"", "pkg"} {
				if _, err := d.roots(t).OpenFinished(d.path, Spec{ID: testID, PackageFolder: true}, folder, "a"); !errors.Is(err, ErrMissing) {
					t.Fatalf("OpenFinished in %q: %v", folder, err)
				}
			}
			if after := d.listingOfNames(t); after != before {
				t.Errorf("there is %s, and was %s", after, before)
			}
		})
	}
	t.Run("while it is open", func(t *testing.T) {
		d := newDisk(t)
		tree := d.placedTree(t)
		piece := written(t, tree, 1, "a", "A")
		if err := os.Rename(filepath.Join(d.path, "pkg"), filepath.Join(d.path, "moved")); err != nil {
			t.Fatal(err)
		}
		j := newJournal()
		commit(t, j, piece)
		if !errors.Is(j.failed[1], ErrMissing) {
			t.Errorf("the file failed with %v", j.failed[1])
		}
		if err := tree.RemoveRoot(); err != nil {
			t.Error(err)
		}
		wantListing(t, d.listing(t), map[string]string{"moved": "/"})
	})
}

func (d *disk) listingOfNames(t testing.TB) string {
	t.Helper()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name()+" "+e.Type().String())
	}
	return strings.Join(names, ", ")
}

func TestPathsThatLeadElsewhereAreRefused(t *testing.T) {
	d := newDisk(t)
	tree := d.placedTree(t)
	for _, p := range []string{"", ".", "..", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "./a", "a/\x00"} {
		_, openErr := tree.Open(p)
		for call, err := range map[string]error{"Mkdir": tree.Mkdir(p), "Remove": tree.Remove(p), "Open": openErr} {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s(%q): %v", call, p, err)
			}
		}
	}
	for _, name := range []string{"", "..", "a/b"} {
		if _, err := d.tree(t, Spec{ID: "12345678", PackageFolder: true}, "").Place("", func(int) string { return name }, forget); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Place with %q: %v", name, err)
		}
	}
}
