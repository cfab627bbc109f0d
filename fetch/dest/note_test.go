package dest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// noting makes a tree with a partial file of which something was noted.
func noting(t *testing.T, note string) (tree *Tree, work string) {
	t.Helper()
	d := newDisk(t)
	tree = d.placedTree(t)
	if tree.instance() == "" {
		t.Skip("this kernel does not tell one mount from another, so nothing is noted")
	}
	p, fresh, err := tree.Partial(7, 10)
	if err != nil || !fresh {
		t.Fatalf("fresh %v, %v", fresh, err)
	}
	if _, err := p.WriteAt([]byte("0123"), 0); err != nil {
		t.Fatal(err)
	}
	p.Note([]byte("a longer note that comes before"))
	p.Note([]byte(note))
	p.Close()
	work = filepath.Join(d.path, ".masvfs-"+testID)
	return tree, work
}

func TestWhatWasNotedIsThereForTheNextProgram(t *testing.T) {
	tree, _ := noting(t, "four bytes")
	p, fresh, err := tree.Partial(7, 10)
	if err != nil || fresh || string(p.Noted()) != "four bytes" {
		t.Fatalf("fresh %v, noted %q, %v", fresh, p.Noted(), err)
	}
	got := make([]byte, 4)
	if _, err := p.ReadAt(got, 0); err != nil || string(got) != "0123" {
		t.Errorf("it holds %q, %v", got, err)
	}
	p.Close()
}

func TestANoteThatCannotBeTrustedIsNotBelieved(t *testing.T) {
	tests := map[string]func(note string) error{
		"of another boot": func(note string) error {
			data, err := os.ReadFile(note)
			if err != nil {
				return err
			}
			data[6] ^= 1
			return os.WriteFile(note, data, 0o600)
		},
		"cut short": func(note string) error { return os.Truncate(note, 50) },
		"garbled": func(note string) error {
			data, err := os.ReadFile(note)
			if err != nil {
				return err
			}
			data[len(data)-25] ^= 1
			return os.WriteFile(note, data, 0o600)
		},
		"empty":     func(note string) error { return os.Truncate(note, 0) },
		"gone":      os.Remove,
		"a symlink": func(note string) error { os.Rename(note, note+"2"); return os.Symlink(note+"2", note) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			tree, work := noting(t, "a rather long note about some bytes")
			if err := spoil(filepath.Join(work, "7.note")); err != nil {
				t.Fatal(err)
			}
			p, fresh, err := tree.Partial(7, 10)
			if err != nil || !fresh || p.Noted() != nil {
				t.Fatalf("fresh %v, noted %q, %v", fresh, p.Noted(), err)
			}
			p.Close()
			// What the fresh one says later is its own.
			if q, fresh, err := tree.Partial(7, 10); err != nil || !fresh {
				t.Errorf("then fresh %v, %v", fresh, err)
			} else {
				q.Close()
			}
		})
	}
}

func TestWhatAnEarlierProgramHasWrittenIsFlushedByItself(t *testing.T) {
	tree, _ := noting(t, "all of it")
	p, _, err := tree.Partial(7, 10)
	if err != nil || p.Noted() == nil {
		t.Fatalf("noted %q, %v", p.Noted(), err)
	}
	var mu sync.Mutex
	byItself := false
	tree.sys.flushFile = func(f *os.File) error {
		mu.Lock()
		defer mu.Unlock()
		byItself = byItself || f == p.file
		return f.Sync()
	}
	tree.traits.flushAll = true
	tree.sys.flushAll = func(*os.File) error { return nil }
	var pieces []*Piece
	for i := range int64(4 * few) {
		pieces = append(pieces, written(t, tree, 100+i, fmt.Sprint(i), "x"))
	}
	pieces = append(pieces, &Piece{Tree: tree, Partial: p, ID: 7, Name: "noted", Size: 10})
	j := newJournal()
	commit(t, j, pieces...)
	j.wantNoFailure(t)
	if !byItself {
		t.Error("it was not")
	}
}

// FuzzNote reads arbitrary notes, and notes over longer ones as a write leaves
// them. What is believed was written whole, for this boot and mount.
func FuzzNote(f *testing.F) {
	const instance = "boot/mount"
	good := encodeNote(instance, []byte("what was written"))
	for _, seed := range [][]byte{nil, good, good[:20], encodeNote("other/mount", []byte("x")), encodeNote(instance, nil), append(encodeNote(instance, []byte("short")), good...)} {
		f.Add(seed, []byte("said"))
	}
	f.Fuzz(func(t *testing.T, data, said []byte) {
		if b := decodeNote(data, instance); b != nil && !bytes.HasPrefix(data, encodeNote(instance, b)) {
			t.Errorf("%q is believed to say %q", data, b)
		}
		whole := encodeNote(instance, said)
		over := slices.Clone(whole)
		if len(data) > len(whole) {
			over = append(over, data[len(whole):]...)
		}
		if b := decodeNote(over, instance); b == nil || !bytes.Equal(b, said) {
			t.Errorf("%q is read back as %q", said, b)
		}
		if b := decodeNote(over, "other/mount"); b != nil {
			t.Errorf("another mount's note is believed: %q", b)
		}
		if len(whole) > 0 && decodeNote(whole[:len(whole)-1], instance) != nil {
			t.Error("a note that was cut short is believed")
		}
	})
}
