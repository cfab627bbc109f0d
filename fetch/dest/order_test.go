package dest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A file system of the tests' own can be cut off its power, but none of those
// that are flushed at once (syncfs(2)). So for them each flush is noted, and
// nothing may be recorded that the flushes before it do not cover.
func TestWhatIsRecordedWasFlushedBefore(t *testing.T) {
	for name, left := range map[string]string{
		"with all flushes": "",
		// Otherwise the test would prove nothing.
		"without those of all that there is": "all",
		"without those of files":             "files",
		"without those of folders":           "folders",
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{left: left, written: make(map[int64]int), files: make(map[*os.File]int), names: make(map[string]bool)}
			l.run(t)
			switch {
			case left == "" && len(l.broken) > 0:
				t.Errorf("%d promises were broken, first: %s", len(l.broken), l.broken[0])
			case left != "" && len(l.broken) == 0:
				t.Error("it was not noticed")
			}
		})
	}
}

// ledger has what a power cut would leave: bytes by a clock that counts
// events, names by what was there when a flush began.
type ledger struct {
	path string // of the destination
	left string // the flushes that are left out

	mu      sync.Mutex // guards what follows
	clock   int
	written map[int64]int    // when a file's last byte was written, by its ID
	files   map[*os.File]int // when the last flush of a file began
	all     int              // when the last flush of everything began
	names   map[string]bool  // paths in the destination that were flushed
	broken  []string
}

func (l *ledger) tick() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	return l.clock
}

// store notes a flush that began then, with these names.
func (l *ledger) store(names []string, note func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		l.names[name] = true
	}
	note()
	return nil
}

func (l *ledger) flushAll(*os.File) error {
	if l.left == "all" {
		return nil
	}
	began := l.tick()
	var names []string
	err := filepath.WalkDir(l.path, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return nil // what is on its way moves meanwhile
	})
	return errors.Join(err, l.store(names, func() { l.all = began }))
}

func (l *ledger) flushFile(f *os.File) error {
	if l.left == "files" {
		return nil
	}
	began := l.tick()
	return l.store(nil, func() { l.files[f] = began })
}

func (l *ledger) flushDir(f *os.File) error {
	if l.left == "folders" {
		return nil
	}
	folder, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(folder, e.Name()))
	}
	return errors.Join(err, l.store(names, func() {}))
}

// run sends files on their way from several sides, in batches of many and of few.
func (l *ledger) run(t *testing.T) {
	d := newDisk(t)
	l.path = d.path
	d.sys.traits = func(*os.File) (traits, error) { return traits{flushAll: true, owners: true}, nil }
	d.sys.flushAll, d.sys.flushFile, d.sys.flushDir = l.flushAll, l.flushFile, l.flushDir
	tree := d.placedTree(t)
	c := NewCommitter(witness{l, t}, Config{Delay: time.Hour, MaxBatch: 50})
	var all sync.WaitGroup
	for w := range int64(4) {
		all.Go(func() {
			for i := range int64(150) {
				id := 1000*w + i
				p := written(t, tree, id, fmt.Sprintf("%d/%d/x%d", w, i/3, i), "x")
				l.mu.Lock()
				l.clock++
				l.written[id] = l.clock
				l.mu.Unlock()
				if err := c.Commit(t.Context(), p); err != nil {
					t.Error(err)
				}
				if i%50 < 10 {
					if err := c.Drain(t.Context(), tree); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// witness is a Journal that looks into the ledger.
type witness struct {
	l *ledger
	t testing.TB
}

func (w witness) Whole(_ context.Context, ps []*Piece) error {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	for _, p := range ps {
		if max(w.l.all, w.l.files[p.Partial.file]) < w.l.written[p.ID] {
			w.l.broken = append(w.l.broken, p.path()+" is recorded as whole and was not flushed")
		}
	}
	return nil
}

func (w witness) Placed(_ context.Context, ps []*Piece) error {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	for _, p := range ps {
		for path := p.path(); path != w.l.path; path = filepath.Dir(path) {
			if !w.l.names[path] {
				w.l.broken = append(w.l.broken, fmt.Sprintf("%s is recorded as placed, and the name of %s was not flushed", p.path(), path))
			}
		}
	}
	return nil
}

func (w witness) Taken(_ context.Context, p *Piece) (string, error) { return p.Name + "+", nil }

func (w witness) Failed(p *Piece, err error) { w.t.Errorf("%s failed: %v", p.path(), err) }
