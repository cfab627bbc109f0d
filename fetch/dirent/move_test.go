package dirent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// kinds of file systems, by what their calls answer.
var kinds = map[string]func(*Calls){
	"a local file system":                    func(*Calls) {},
	"a file system without RENAME_NOREPLACE": func(c *Calls) { c.RenameNoReplace = answers(syscall.EINVAL) },
	"a file system without hard links either": func(c *Calls) {
		c.RenameNoReplace, c.Link = answers(syscall.EINVAL), answers(syscall.EPERM)
	},
}

func answers(err error) Call {
	return func(*os.File, string, *os.File, string) error { return err }
}

// folders are two open folders, the first with a file and a folder in it.
func folders(t *testing.T) (from, to *os.File) {
	t.Helper()
	open := func() *os.File {
		f, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	from, to = open(), open()
	put(t, from, "file", "mine")
	put(t, from, "folder/file", "mine")
	return from, to
}

func put(t *testing.T, in *os.File, name, content string) {
	t.Helper()
	path := filepath.Join(in.Name(), name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, in *os.File, name, content string) {
	t.Helper()
	if got, err := os.ReadFile(filepath.Join(in.Name(), name)); string(got) != content {
		t.Errorf("%s is %q (%v), want %q", name, got, err, content)
	}
}

func wantNone(t *testing.T, in *os.File, name string) {
	t.Helper()
	if _, err := os.Lstat(filepath.Join(in.Name(), name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there (%v)", name, err)
	}
}

func TestAMoveNeverReplaces(t *testing.T) {
	for kind, change := range kinds {
		t.Run("on "+kind, func(t *testing.T) {
			calls := Native
			change(&calls)
			from, to := folders(t)
			put(t, to, "taken", "theirs")
			if err := os.Symlink("nowhere", filepath.Join(to.Name(), "link")); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"taken", "link"} {
				if err := calls.MoveFile(from, "file", to, name); !errors.Is(err, fs.ErrExist) {
					t.Errorf("file to %s: %v, want fs.ErrExist", name, err)
				}
				if err := calls.MoveFolder(from, "folder", to, name); !errors.Is(err, fs.ErrExist) {
					t.Errorf("folder to %s: %v, want fs.ErrExist", name, err)
				}
			}
			want(t, to, "taken", "theirs")
			if err := errors.Join(calls.MoveFile(from, "file", to, "a"), calls.MoveFolder(from, "folder", to, "b")); err != nil {
				t.Fatal(err)
			}
			want(t, to, "a", "mine")
			want(t, to, "b/file", "mine")
			wantNone(t, from, "file")
			wantNone(t, from, "folder")
		})
	}
}

func TestAMoveThatWasCutShortIsFinished(t *testing.T) {
	for kind, change := range kinds {
		t.Run("on "+kind, func(t *testing.T) {
			calls := Native
			change(&calls)
			from, to := folders(t)
			if err := Native.Link(from, "file", to, "a"); err != nil {
				t.Fatal(err)
			}
			if err := calls.MoveFile(from, "file", to, "a"); err != nil {
				t.Fatal(err)
			}
			want(t, to, "a", "mine")
			wantNone(t, from, "file")
		})
	}
}

func TestALostAnswerCostsNoFile(t *testing.T) {
	for name, change := range map[string]func(*Calls){
		"to the link": func(c *Calls) {
			c.Link = func(from *os.File, name string, to *os.File, newName string) error {
				return errors.Join(Native.Link(from, name, to, newName), syscall.EEXIST)
			}
		},
		"to the unlink": func(c *Calls) {
			c.Link = func(from *os.File, name string, to *os.File, newName string) error {
				return errors.Join(Native.Link(from, name, to, newName), Remove(from, name, false))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			calls := Native
			calls.RenameNoReplace = answers(syscall.EINVAL)
			change(&calls)
			from, to := folders(t)
			if err := calls.MoveFile(from, "file", to, "a"); err != nil {
				t.Fatal(err)
			}
			want(t, to, "a", "mine")
			wantNone(t, from, "file")
		})
	}
}
