package transfer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// tape is a Supply of files in temporary folders that notes what it is told.
type tape struct {
	t       testing.TB
	storage *storage
	folder  string

	mu          sync.Mutex
	files       []*File
	next        int
	open        int // files given out and not done
	mostOpen    int
	done        map[int64]error
	moved       map[int64]int64
	checkpoints map[int64][]Arrived
	written     map[int64]Arrived // the last word
	onMoved     func(f *File, total int64)
	onDone      func(f *File, err error)
	onNext      func()
	failing     error // what Checkpoint answers
}

func newTape(t testing.TB, s *storage) *tape {
	return &tape{t: t, storage: s, folder: t.TempDir(), done: map[int64]error{}, moved: map[int64]int64{}, checkpoints: map[int64][]Arrived{}, written: map[int64]Arrived{}}
}

// add puts a file on the tape whose object the storage has.
func (p *tape) add(id int64, o *object) *File {
	p.t.Helper()
	sink, err := os.OpenFile(filepath.Join(p.folder, fmt.Sprint(id)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { sink.Close() })
	f := &File{ID: id, Size: int64(len(o.content)), Source: &source{s: p.storage, id: id, o: o}, Sink: &disk{File: sink}}
	p.files = append(p.files, f)
	return f
}

func (p *tape) Written(f *File, a Arrived) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written[f.ID] = a
}

func (p *tape) Next(ctx context.Context) (*File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.onNext != nil {
		p.onNext()
	}
	if p.next == len(p.files) {
		return nil, nil
	}
	p.next++
	p.open++
	p.mostOpen = max(p.mostOpen, p.open)
	return p.files[p.next-1], nil
}

func (p *tape) Done(f *File, err error) {
	p.mu.Lock()
	if _, twice := p.done[f.ID]; twice {
		p.t.Errorf("file %d is done twice", f.ID)
	}
	p.done[f.ID] = err
	p.open--
	then := p.onDone
	p.mu.Unlock()
	if then != nil {
		then(f, err)
	}
}

func (p *tape) Moved(f *File, delta int64) {
	p.mu.Lock()
	p.moved[f.ID] += delta
	total, then := p.moved[f.ID], p.onMoved
	p.mu.Unlock()
	if then != nil {
		then(f, total)
	}
}

func (p *tape) Checkpoint(ctx context.Context, f *File, a Arrived) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if p.failing != nil {
		return p.failing
	}
	p.checkpoints[f.ID] = append(p.checkpoints[f.ID], a)
	return nil
}

// last returns the checkpoint that counts.
func (p *tape) last(id int64) Arrived {
	p.mu.Lock()
	defer p.mu.Unlock()
	if all := p.checkpoints[id]; len(all) > 0 {
		return all[len(all)-1]
	}
	return Arrived{}
}

// run transfers the tape and wants no error of Run.
func (p *tape) run(e *Engine) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	if err := e.Run(ctx, Job{Name: "test", Supply: p}); err != nil {
		p.t.Fatalf("Run: %v", err)
	}
}

// verify wants every file done without an error and with the right bytes.
func (p *tape) verify() {
	p.t.Helper()
	for _, f := range p.files {
		if err, ok := p.done[f.ID]; !ok || err != nil {
			p.t.Errorf("file %d: done %v, error %v", f.ID, ok, err)
			continue
		}
		p.intact(f, []Span{{0, f.Size}})
		if got := p.moved[f.ID] + f.Arrived.Bytes(); got != f.Size {
			p.t.Errorf("file %d: %d bytes were said to have moved, it has %d", f.ID, got, f.Size)
		}
		if f.Sink.(*disk).closed() {
			p.t.Errorf("file %d: its sink was closed before Done", f.ID)
		}
	}
}

// intact wants those spans of a file to hold what its object does.
func (p *tape) intact(f *File, spans []Span) {
	p.t.Helper()
	want := f.Source.(*source).o.content
	for _, s := range spans {
		got := make([]byte, s.Len())
		if _, err := f.Sink.(*disk).readAt(got, s.Start); err != nil {
			p.t.Errorf("file %d: read %v: %v", f.ID, s, err)
		} else if !bytes.Equal(got, want[s.Start:s.End]) {
			p.t.Errorf("file %d: the bytes of %v are wrong", f.ID, s)
		}
	}
}

// again returns a tape with the same unfinished files, as the next start of
// the program would find them.
func (p *tape) again() *tape {
	q := newTape(p.t, p.storage)
	q.folder = p.folder
	for _, f := range p.files {
		if _, done := p.done[f.ID]; done {
			continue
		}
		g := q.add(f.ID, f.Source.(*source).o)
		g.Arrived = p.last(f.ID)
		if g.Arrived.Spans == nil {
			g.Arrived = f.Arrived
		}
	}
	return q
}

// source gives URLs of the storage.
type source struct {
	s  *storage
	id int64
	o  *object

	mu     sync.Mutex
	stale  []string
	answer func(n int, stale string) (string, error) // n counts from 1
}

func (s *source) URL(ctx context.Context, stale string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = append(s.stale, stale)
	if s.answer != nil {
		return s.answer(len(s.stale), stale)
	}
	return s.s.url(s.id, s.o), nil
}

func (s *source) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.stale)
}

// disk is a Sink that is a file.
type disk struct {
	*os.File
	mu       sync.Mutex
	isClosed bool
	syncs    int
	fail     func(op string) error
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if d.fail != nil {
		if err := d.fail("write"); err != nil {
			return 0, err
		}
	}
	return d.File.WriteAt(p, off)
}

func (d *disk) Sync() error {
	d.mu.Lock()
	d.syncs++
	d.mu.Unlock()
	if d.fail != nil {
		return d.fail("sync")
	}
	return nil
}

func (d *disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.isClosed = true
	return nil // the test reads on
}

func (d *disk) readAt(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return d.File.ReadAt(p, off)
}

func (d *disk) closed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.isClosed
}
