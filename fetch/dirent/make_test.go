package dirent

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func TestEveryNewFolderIsFlushedAndSoIsWhatListsIt(t *testing.T) {
	there := t.TempDir()
	defer syscall.Umask(syscall.Umask(0o022))
	flushed := make(map[string][]string) // what each listed when it was flushed last
	sync := func(folder string) error {
		var names []string
		entries, err := os.ReadDir(folder)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		flushed[folder] = names
		return err
	}
	path := filepath.Join(there, "a", "b", "c")
	for range 2 { // the second time it is there
		if err := makeFolder(path, 0o700, sync); err != nil {
			t.Fatal(err)
		}
	}
	for folder, lists := range map[string][]string{"": {"a"}, "a": {"b"}, "a/b": {"c"}, "a/b/c": nil} {
		got, ok := flushed[filepath.Join(there, folder)]
		if !ok || !slices.Equal(got, lists) {
			t.Errorf("%q was flushed: %v, with %q in it, want %q", folder, ok, got, lists)
		}
	}
	if len(flushed) != 4 {
		t.Errorf("flushed were %v", flushed)
	}
	for folder, mode := range map[string]os.FileMode{"a/b": 0o755, "a/b/c": 0o700} {
		info, err := os.Stat(filepath.Join(there, folder))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want mode %v", folder, info.Mode(), err, mode)
		}
	}
}

func TestAFolderMayBeALinkToOneAndNothingElse(t *testing.T) {
	there := t.TempDir()
	link, file := filepath.Join(there, "link"), filepath.Join(there, "file")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MakeFolder(filepath.Join(link, "inner"), 0o755); err != nil {
		t.Error(err)
	}
	for _, path := range []string{file, filepath.Join(file, "inner")} {
		if err := MakeFolder(path, 0o755); err == nil {
			t.Errorf("a file is taken for a folder: %s", path)
		}
	}
}
