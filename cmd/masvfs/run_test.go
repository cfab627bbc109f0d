package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestEveryFolderIsMadeAndThoseWithSecretsAreClosedToOthers(t *testing.T) {
	base := t.TempDir()
	defer syscall.Umask(syscall.Umask(0o022))
	in := func(name string) string { return filepath.Join(base, name) }
	if err := os.Mkdir(in("theirs"), 0o750); err != nil {
		t.Fatal(err)
	}
	s := &settings{
		inbox: in("MASV/inbox"), state: in("local/state/masvfs"), mount: in("mounts/here/live"),
		roots: []string{in("MASV/downloads"), in("theirs")},
	}
	for range 2 { // the second start finds them, one of them opened by somebody
		if err := s.makeFolders(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.state, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.makeFolders(); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{
		"MASV": 0o755, "MASV/inbox": 0o700, "MASV/downloads": 0o755, "theirs": 0o750,
		"local": 0o755, "local/state/masvfs": 0o700, "mounts/here": 0o755,
	} {
		info, err := os.Stat(in(name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
	}
}
