package transfer

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestAStoppedJobGoesOnWithoutFetchingAnythingTwice(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 40*mib))
	p.add(2, s.add(2, 1000))
	reason := errors.New("somebody paused it")
	ctx, cancel := context.WithCancelCause(t.Context())
	p.onMoved = func(f *File, total int64) {
		if f.ID == 1 && total > 15*mib {
			cancel(reason)
		}
	}
	e := newEngine(t, Config{Connections: 3})
	if err := e.Run(ctx, Job{Supply: p}); err != reason {
		t.Fatalf("Run: %v", err)
	}
	for _, f := range p.files[:p.next] {
		if _, done := p.done[f.ID]; !done && !f.Sink.(*disk).closed() {
			t.Errorf("file %d was left open", f.ID)
		}
	}
	kept := p.last(1)
	if kept.Bytes() != p.moved[1] || kept.ETag == "" {
		t.Errorf("%d bytes of %q were checkpointed, %d had arrived", kept.Bytes(), kept.ETag, p.moved[1])
	}
	p.intact(p.files[0], kept.Spans)

	q := p.again()
	before := len(s.log())
	q.run(e)
	q.verify()
	asks := spans{}
	for _, r := range s.log()[before:] {
		if r.URL.Path != "/1" {
			continue
		}
		start, end := asked(r)
		asks.add(Span{int64(start), int64(end)})
		if r.Header.Get("If-Range") != kept.ETag {
			t.Errorf("a request has If-Range %q", r.Header.Get("If-Range"))
		}
	}
	if want := spans(kept.Spans).missing(nil, Span{0, 40 * mib}); !slices.Equal(asks, want) {
		t.Errorf("asked for %v, missing were %v", asks, want)
	}
}

func TestASmallFileIsCheckpointedWhenItsJobStops(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 2*mib))
	ctx, cancel := context.WithCancel(t.Context())
	p.onMoved = func(*File, int64) { cancel() }
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		o.part(w, r, mib)
		return true
	})
	if err := newEngine(t, Config{Connections: 1}).Run(ctx, Job{Supply: p}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if a := p.last(1); a.Bytes() == 0 || a.Bytes() != p.moved[1] {
		t.Errorf("%d bytes were checkpointed, %d had arrived", a.Bytes(), p.moved[1])
	}
}

func TestAFileThatArrivedWholeNeedsNoRequest(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 5*mib))
	f.Sink.(*disk).WriteAt(s.objects["/1"].content, 0)
	f.Arrived = Arrived{ETag: `"v1-of-1"`, Spans: []Span{{0, 5 * mib}}}
	p.run(newEngine(t, Config{}))
	p.verify()
	if len(s.log()) != 0 {
		t.Errorf("%d requests were made", len(s.log()))
	}
}

func TestResumingAReplacedObjectStartsAgain(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 9*mib))
	f.Sink.(*disk).WriteAt(content(77, 6*mib), 0) // of the old version
	f.Arrived = Arrived{ETag: `"old"`, Spans: []Span{{0, 6 * mib}}}
	p.run(newEngine(t, Config{Connections: 2}))
	p.verify()
	if all := p.checkpoints[1]; len(all) == 0 || len(all[0].Spans) != 0 {
		t.Errorf("checkpoints: %v; the first should be empty", all)
	}
}

func TestAnErrorOfTheDiskStopsTheJobAndKeepsWhatItCan(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 30*mib))
	var writes atomic.Int64
	f.Sink.(*disk).fail = func(op string) error {
		if op == "write" && writes.Add(1) > 20 {
			return syscall.ENOSPC
		}
		return nil
	}
	err := newEngine(t, Config{Connections: 3}).Run(t.Context(), Job{Supply: p})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Run: %v", err)
	}
	if a := p.last(1); a.Bytes() == 0 {
		t.Error("what was written before is lost")
	} else {
		p.intact(f, a.Spans)
	}
	if len(p.done) != 0 {
		t.Errorf("done: %v", p.done)
	}
}

func TestNothingIsCheckpointedAfterAFlushFailed(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 30*mib))
	var syncs atomic.Int64
	f.Sink.(*disk).fail = func(op string) error {
		if op == "sync" && syncs.Add(1) == 1 { // as the kernel does: it tells once
			return syscall.EIO
		}
		return nil
	}
	err := newEngine(t, Config{Connections: 3, CheckpointBytes: 1}).Run(t.Context(), Job{Supply: p})
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("Run: %v", err)
	}
	if n := len(p.checkpoints[1]); n != 0 {
		t.Errorf("%d checkpoints were taken", n)
	}
}

func TestAnErrorOfTheSupplyStopsTheJob(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 30*mib))
	p.failing = errors.New("the database is read only")
	err := newEngine(t, Config{Connections: 2, CheckpointBytes: 1}).Run(t.Context(), Job{Supply: p})
	if !errors.Is(err, p.failing) {
		t.Errorf("Run: %v", err)
	}
}

// cachingSink keeps what is written in memory until it is flushed, as a kernel
// does; a power cut loses the rest.
type cachingSink struct {
	mu      sync.Mutex
	cached  []byte
	durable []byte
	dirty   spans
}

func (c *cachingSink) WriteAt(p []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	copy(c.cached[off:], p)
	c.dirty.add(Span{off, off + int64(len(p))})
	return len(p), nil
}

func (c *cachingSink) Sync() error {
	c.mu.Lock()
	flush := c.dirty
	c.dirty = nil
	c.mu.Unlock()
	time.Sleep(time.Millisecond) // writes go on meanwhile, and are not part of it
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range flush {
		copy(c.durable[s.Start:s.End], c.cached[s.Start:s.End])
	}
	return nil
}

func (c *cachingSink) Close() error { return nil }

func TestWhatACheckpointClaimsSurvivesAPowerCutAtAnyMoment(t *testing.T) {
	const size = 24 * mib
	s := newStorage(t)
	o := s.add(1, size)
	var checked int
	p := newTape(t, s)
	f := p.add(1, o)
	sink := &cachingSink{cached: make([]byte, size), durable: make([]byte, size)}
	f.Sink = sink
	check := &checkingTape{tape: p, check: func(a Arrived) {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		checked++
		for _, span := range a.Spans {
			if string(sink.durable[span.Start:span.End]) != string(o.content[span.Start:span.End]) {
				t.Errorf("%v is claimed and not on disk", span)
			}
		}
	}}
	if err := newEngine(t, Config{Connections: 4, CheckpointBytes: 1}).Run(t.Context(), Job{Supply: check}); err != nil {
		t.Fatal(err)
	}
	if checked < 2 {
		t.Errorf("only %d checkpoints were taken", checked)
	}
	if err, ok := p.done[1]; !ok || err != nil {
		t.Errorf("done %v: %v", ok, err)
	}
}

type checkingTape struct {
	*tape
	check func(Arrived)
}

func (c *checkingTape) Checkpoint(ctx context.Context, f *File, a Arrived) error {
	c.check(a)
	return c.tape.Checkpoint(ctx, f, a)
}

// slowSink is a disk that is slower than the line, behind a cache that takes
// everything at once.
type slowSink struct {
	over chan struct{} // closed when more is at risk than may be

	mu      sync.Mutex
	written int64
	saved   int64 // as the checkpoints say
}

func (s *slowSink) WriteAt(p []byte, _ int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += int64(len(p))
	if s.written-s.saved > 64*mib {
		select {
		case <-s.over:
		default:
			close(s.over)
		}
	}
	return len(p), nil
}

func (s *slowSink) Sync() error {
	select {
	case <-s.over:
	case <-time.After(100 * time.Millisecond): // a flush lasts
	}
	return nil
}

func (s *slowSink) Close() error { return nil }

func TestALineThatIsFasterThanTheDiskPutsLittleAtRisk(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	sink := &slowSink{over: make(chan struct{})}
	p.add(1, s.add(1, 200*mib)).Sink = sink
	check := &checkingTape{tape: p, check: func(a Arrived) {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		sink.saved = a.Bytes()
	}}
	if err := newEngine(t, Config{}).Run(t.Context(), Job{Supply: check}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-sink.over:
		t.Error("a power cut would have cost more than 64 MiB")
	default:
	}
	if err, ok := p.done[1]; !ok || err != nil {
		t.Errorf("done %v: %v", ok, err)
	}
}

func TestConnectionsThatAreTakenAwayPutNothingMoreAtRisk(t *testing.T) {
	s := newStorage(t)
	large, small := newTape(t, s), newTape(t, s)
	release := make(chan struct{})
	sink := &stuckSink{slowSink{over: make(chan struct{})}, release}
	large.add(1, s.add(1, 128*mib)).Sink = sink
	for id := range int64(400) {
		small.add(100+id, s.add(100+id, 1000))
	}
	e := newEngine(t, Config{Connections: 3})
	// Every small file comes when all connections wait for the large one's flush.
	gate := func() {
		waitFor(t, func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			f := e.jobs[slices.IndexFunc(e.jobs, func(j *job) bool { return j.Supply == large })].files[0]
			waits := func(c *claim) bool { return c.listening.Load() == 0 && c.ctx.Err() == nil }
			return len(f.claims) == 3 && f.underway+f.unsaved >= mostUnsaved && !slices.ContainsFunc(f.claims, func(c *claim) bool { return !waits(c) })
		})
	}
	var runs sync.WaitGroup
	defer runs.Wait()
	runs.Go(func() { e.Run(t.Context(), Job{Supply: large}) })
	waitFor(t, func() bool { return len(s.log()) > 0 })
	err := e.Run(t.Context(), Job{Supply: &gatedTape{small, gate}})
	select {
	case <-sink.over:
		t.Error("a power cut would have cost more than 64 MiB")
	default:
	}
	close(release)
	if err != nil {
		t.Errorf("the small job: %v", err)
	}
}

// gatedTape gives a file out when the gate opens.
type gatedTape struct {
	*tape
	gate func()
}

func (g *gatedTape) Next(ctx context.Context) (*File, error) {
	g.gate()
	return g.tape.Next(ctx)
}

// stuckSink is a disk whose flush does not end before release.
type stuckSink struct {
	slowSink
	release chan struct{}
}

func (s *stuckSink) Sync() error { <-s.release; return nil }

func TestACrashCostsLittle(t *testing.T) {
	// The record of the last checkpoint is all that is left after SIGKILL.
	const size = 64 * mib
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, size))
	ctx, cancel := context.WithCancel(t.Context())
	var atCrash Arrived
	var once sync.Once
	p.onMoved = func(f *File, total int64) {
		if total > size/2 {
			once.Do(func() { atCrash = p.last(1); cancel() })
		}
	}
	// The storage is not faster than a disk flushes.
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		start, end := asked(r)
		if end-start > mib {
			end = start + mib
		}
		time.Sleep(2 * time.Millisecond)
		o.part(w, r, end-start)
		return true
	})
	e := newEngine(t, Config{Connections: 4, CheckpointBytes: 4 * mib})
	e.Run(ctx, Job{Supply: p})
	if again := size/2 - atCrash.Bytes(); again > 16*mib {
		t.Errorf("%d bytes of %d would be fetched again", again, size/2)
	}
	p.intact(p.files[0], atCrash.Spans)
	p.checkpoints[1] = []Arrived{atCrash}
	s.misbehave(nil)
	q := p.again()
	before := s.sent.Load()
	q.run(e)
	q.verify()
	if sent := s.sent.Load() - before; sent > size-atCrash.Bytes()+4*mib {
		t.Errorf("%d bytes were sent, %d were missing", sent, size-atCrash.Bytes())
	}
}
