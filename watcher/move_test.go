package watcher

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// moving is an inbox with x.masvlink in it and an open accepted/.
func moving(t *testing.T) (w *Watcher, to *folder, seen sight) {
	t.Helper()
	w = New(Config{Folder: t.TempDir(), NoEvents: true})
	if err := os.WriteFile(filepath.Join(w.folder, "x.masvlink"), []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.attach(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	to, err := w.inbox.inner(accepted)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.close)
	if seen, err = w.inbox.sight("x.masvlink"); err != nil {
		t.Fatal(err)
	}
	return w, to, seen
}

func TestAFileWrittenToWhileItIsMovedIsNoticedAndPutBack(t *testing.T) {
	tests := []struct {
		name    string
		wasOpen bool
		meddle  func(t *testing.T, f *os.File)
		changed bool
	}{
		{"nobody touches it", false, nil, false},
		{"another line arrives", false, func(t *testing.T, f *os.File) {
			if _, err := f.WriteString("two\n"); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a writer has just opened it", false, func(*testing.T, *os.File) {}, runtime.GOOS == "linux"},
		{"the writer that had it open still has", true, func(*testing.T, *os.File) {}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, to, seen := moving(t)
			target, err := w.place("x.masvlink", to, "")
			if err != nil {
				t.Fatal(err)
			}
			if tt.meddle != nil {
				f, err := os.OpenFile(filepath.Join(w.folder, accepted, target), os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				tt.meddle(t, f)
			}
			if got := !w.unchanged(to, target, seen, tt.wasOpen); got != tt.changed {
				t.Fatalf("changed: %v, want %v", got, tt.changed)
			}
			if err := w.putBack(to, target, "x.masvlink", ""); !errors.Is(err, errChanged) {
				t.Fatalf("putBack: %v", err)
			}
			if _, err := w.inbox.sight("x.masvlink"); err != nil {
				t.Error(err)
			}
		})
	}
}
