package dest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestCommitAfterACrash ends a commit at each of its steps, starts again with
// what was recorded, and finds every file placed once.
func TestCommitAfterACrash(t *testing.T) {
	points := []struct {
		name   string
		change func(*system, *journal)
		whole  bool // it was recorded as whole before the crash
		want   Recovery
	}{
		{"before the bytes are flushed", func(s *system, _ *journal) {
			s.flushFile = func(*os.File) error { return errCrash }
			s.flushAll = s.flushFile
		}, false, Gone},
		{"before it is recorded as whole", func(_ *system, j *journal) {
			j.onWhole = func() error { return errCrash }
		}, false, Gone},
		{"before the rename", func(s *system, _ *journal) {
			s.RenameNoReplace = func(*os.File, string, *os.File, string) error { return errCrash }
		}, true, PartialThere},
		{"between link and unlink", func(s *system, _ *journal) {
			s.RenameNoReplace = func(a *os.File, b string, c *os.File, d string) error {
				if err := native.Link(a, b, c, d); err != nil {
					return err
				}
				return errCrash
			}
		}, true, AlreadyPlaced},
		{"after the rename, before the folder is flushed", func(s *system, _ *journal) {
			s.flushDir = func(*os.File) error { return errCrash }
			s.flushAll = s.flushDir
		}, true, AlreadyPlaced},
		{"before it is recorded as placed", func(_ *system, j *journal) {
			j.onPlaced = func() error { return errCrash }
		}, true, AlreadyPlaced},
	}
	for _, point := range points {
		for _, n := range []int{1, 30} {
			t.Run(fmt.Sprintf("%s, with %d files", point.name, n), func(t *testing.T) {
				d := newDisk(t)
				d.put(t, "sub/0", "theirs")
				spec := Spec{ID: testID}
				tree := d.tree(t, spec, "")
				if _, err := tree.workFolder(true); err != nil {
					t.Fatal(err)
				}
				j := newJournal()
				point.change(&d.sys, j)
				var pieces []*Piece
				want := map[string]string{"sub": "/", "sub/0": "theirs"}
				for i := range n {
					name := fmt.Sprint(i)
					pieces = append(pieces, written(t, tree, int64(i), "sub/"+name, "content of "+name))
					if i == 0 {
						name = "0+"
					}
					want["sub/"+name] = "content of " + fmt.Sprint(i)
				}
				commit(t, j, pieces...)
				if len(j.placed) != 0 {
					t.Fatalf("there was no crash: %v", j.placed)
				}
				tree.Close()

				d.sys = native
				tree = d.tree(t, spec, "")
				after := newJournal()
				var again []*Piece
				for i := range n {
					p := *pieces[i]
					p.Tree, p.Partial = tree, nil
					name, whole := j.whole[p.ID]
					if whole != point.whole {
						t.Fatalf("recorded as whole: %v", whole)
					}
					if !whole {
						again = append(again, written(t, tree, p.ID, "sub/"+p.Name, "content of "+fmt.Sprint(i)))
						continue
					}
					p.Name = name
					got, err := tree.Recover(&p)
					// Of the first, the name is taken: the crash before
					// the rename came before that was found out.
					if err != nil || got != point.want {
						t.Fatalf("Recover file %d: %v, %v", i, got, err)
					}
					if got == PartialThere {
						again = append(again, &p)
					}
				}
				commit(t, after, again...)
				after.wantNoFailure(t)
				wantListing(t, d.listing(t), want)
				if left, _ := os.ReadDir(filepath.Join(d.path, ".masvfs-"+testID)); len(left) != 0 {
					t.Errorf("the work folder still has %v", left)
				}
			})
		}
	}
}

func TestRecover(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(work, tree string) error
		want    Recovery
	}{
		"nothing is there":                       {func(string, string) error { return nil }, Gone},
		"the partial file, flushed before":       {func(w, _ string) error { return os.WriteFile(w+"/1.part", []byte("four"), 0o644) }, PartialThere},
		"the partial file, never flushed before": {func(w, _ string) error { return os.WriteFile(w+"/1.new", []byte("four"), 0o644) }, PartialThere},
		"a partial file that is too short":       {func(w, _ string) error { return os.WriteFile(w+"/1.new", []byte("4"), 0o644) }, Gone},
		"the finished file":                      {func(_, f string) error { return os.WriteFile(f+"/sub/a", []byte("four"), 0o644) }, AlreadyPlaced},
		"a file of another size":                 {func(_, f string) error { return os.WriteFile(f+"/sub/a", []byte("seven"), 0o644) }, Gone},
		"a symlink to a file of that size": {func(w, f string) error {
			os.WriteFile(f+"/b", []byte("four"), 0o644)
			return os.Symlink("../b", f+"/sub/a")
		}, Gone},
		"a folder of that name":           {func(_, f string) error { return os.Mkdir(f+"/sub/a", 0o755) }, Gone},
		"a file in place of its folder":   {func(_, f string) error { os.Remove(f + "/sub"); return os.WriteFile(f+"/sub", nil, 0o644) }, Gone},
		"no folder, but the partial file": {func(w, f string) error { os.Remove(f + "/sub"); return os.WriteFile(w+"/1.new", []byte("four"), 0o644) }, PartialThere},
		"the partial file, and another's under its name": {func(w, f string) error {
			os.WriteFile(f+"/sub/a", []byte("2222"), 0o644)
			return os.WriteFile(w+"/1.new", []byte("four"), 0o644)
		}, PartialThere},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			tree := d.placedTree(t)
			if err := tree.Mkdir("sub"); err != nil {
				t.Fatal(err)
			}
			if err := c.prepare(filepath.Join(d.path, ".masvfs-"+testID), tree.Path()); err != nil {
				t.Fatal(err)
			}
			p := &Piece{Tree: tree, ID: 1, Folder: "sub", Name: "a", Size: 4}
			got, err := tree.Recover(p)
			if err != nil || got != c.want {
				t.Fatalf("Recover: %v, %v", got, err)
			}
			if (p.Partial != nil) != (got == PartialThere) {
				t.Errorf("the partial is %v", p.Partial)
			}
			if p.Partial != nil {
				p.Partial.Close()
			}
		})
	}
}
