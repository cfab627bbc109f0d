package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestFilesOfAllSizesArriveWhole(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	for i, size := range []int{0, 1, 4095, 100_000, 0, 2<<20 + 1, 9<<20 + 13, 33 << 20, 7} {
		p.add(int64(i+1), s.add(int64(i+1), size))
	}
	p.run(newEngine(t, Config{Connections: 5}))
	p.verify()
	for _, r := range s.log() {
		if r.Method != http.MethodGet || r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("Range") == "" {
			t.Errorf("a request was %s with %v", r.Method, r.Header)
		}
	}
	for _, id := range []int64{1, 5} {
		if n := len(s.ranges(id)); n != 0 {
			t.Errorf("%d requests were made for an empty file", n)
		}
	}
}

func TestAJobWithoutFilesEndsAtOnce(t *testing.T) {
	newTape(t, newStorage(t)).run(newEngine(t, Config{}))
}

func TestASmallFileTakesOneURLAndOneRequest(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 1<<20))
	p.run(newEngine(t, Config{}))
	p.verify()
	if got := s.ranges(1); len(got) != 1 || got[0] != "bytes=0-1048575" {
		t.Errorf("requests: %q", got)
	}
	if asked := f.Source.(*source).asked(); len(asked) != 1 || asked[0] != "" {
		t.Errorf("URLs asked for: %q", asked)
	}
	if len(p.checkpoints) != 0 || f.Sink.(*disk).syncs != 0 {
		t.Error("a small file was flushed or checkpointed on its way")
	}
}

func TestRangesOfALargeFileShareAURLAndStartInOrder(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 40<<20))
	p.run(newEngine(t, Config{Connections: 1}))
	p.verify()
	if asked := f.Source.(*source).asked(); len(asked) != 1 {
		t.Errorf("%d URLs were asked for", len(asked))
	}
	var next int
	for _, r := range s.log() {
		start, end := asked(r)
		if start != next {
			t.Errorf("range from %d follows one up to %d", start, next)
		}
		next = end
		if v := r.Header.Get("If-Range"); (start > 0) != (v == `"v1-of-1"`) {
			t.Errorf("request from %d has If-Range %q", start, v)
		}
	}
}

func TestSeveralConnectionsWorkForOneFile(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 24<<20))
	e := newEngine(t, Config{Connections: 4})
	// Nobody gets an answer before four ask at once.
	var waiting sync.WaitGroup
	waiting.Add(4)
	var n atomic.Int64
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		if n.Add(1) <= 4 {
			waiting.Done()
			waiting.Wait()
			if busy, limit, _ := e.Connections("test"); busy != 4 || limit != 4 {
				t.Errorf("%d of %d connections are busy", busy, limit)
			}
		}
		return false
	})
	p.run(e)
	p.verify()
	if busy, _, _ := e.Connections("test"); busy != 0 {
		t.Errorf("%d connections are busy after the end", busy)
	}
}

func TestAnIdleConnectionTakesHalfOfASlowRange(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 4<<20))
	more := make(chan struct{})
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		if start, _ := asked(r); start != 0 {
			close(more)
			return false
		}
		o.head(w)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 4<<20-1, 4<<20))
		w.Header().Set("Content-Length", fmt.Sprint(4<<20))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(o.content[:512<<10])
		w.(http.Flusher).Flush()
		<-more // the slow connection gives no more until another one helps
		w.Write(o.content[512<<10:])
		return true
	})
	p.run(newEngine(t, Config{Connections: 2}))
	p.verify()
	if got := s.ranges(1); len(got) != 2 {
		t.Errorf("requests: %q", got)
	}
}

func TestAFileThatWaitsHoldsNoConnection(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	for id := int64(1); id <= 3; id++ {
		p.add(id, s.add(id, 1000))
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		if r.URL.Path != "/1" {
			return false
		}
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return true
	})
	p.onDone = func(*File, error) {
		if len(p.done) == 2 {
			cancel()
		}
	}
	err := newEngine(t, Config{Connections: 1}).Run(ctx, Job{Supply: p})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if p.done[2] != nil || p.done[3] != nil || len(p.done) != 2 {
		t.Errorf("done: %v", p.done)
	}
	if n := len(s.ranges(1)); n != 1 {
		t.Errorf("the storage asked for an hour and got %d requests", n)
	}
}

func TestAnOutageDoesNotOpenTheWholePackage(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	for id := int64(1); id <= 100; id++ {
		p.add(id, s.add(id, 10))
	}
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		s.mu.Lock()
		n := len(s.requests)
		s.mu.Unlock()
		if n < 60 {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	p.run(newEngine(t, Config{Connections: 3}))
	p.verify()
	if p.mostOpen > 10 {
		t.Errorf("%d files were open at once", p.mostOpen)
	}
}

func TestJobsOfHigherPriorityComeFirstAndEqualOnesShare(t *testing.T) {
	for _, tt := range []struct {
		name       string
		priorities [2]int
		check      func(order string) error
	}{
		{"the higher one first", [2]int{0, 5}, func(order string) error {
			if !strings.HasSuffix(order, strings.Repeat("B", 20)+strings.Repeat("A", 19)) {
				return errors.New("B should be through before A goes on")
			}
			return nil
		}},
		{"equal ones by turns", [2]int{3, 3}, func(order string) error {
			for i := 4; i+4 <= 36; i++ {
				if n := strings.Count(order[i:i+4], "A"); n < 1 || n > 3 {
					return errors.New("one of them is left out")
				}
			}
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStorage(t)
			e := newEngine(t, Config{Connections: 1})
			var mu sync.Mutex
			var order strings.Builder
			bothThere := make(chan struct{})
			s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
				name := "A"
				if len(r.URL.Path) == 4 { // /1xx
					name = "B"
				}
				mu.Lock()
				order.WriteString(name)
				first := order.Len() == 1
				mu.Unlock()
				if first {
					<-bothThere
				}
				// A request takes longer than what is prepared meanwhile.
				waitFor(t, func() bool {
					e.mu.Lock()
					defer e.mu.Unlock()
					return !slices.ContainsFunc(e.jobs, func(j *job) bool { return !j.ready(time.Now()) && !j.exhausted })
				})
				return false
			})
			a, b := newTape(t, s), newTape(t, s)
			for i := range int64(20) {
				a.add(10+i, s.add(10+i, 100))
				b.add(100+i, s.add(100+i, 100))
			}
			var runs sync.WaitGroup
			runs.Go(func() { e.Run(t.Context(), Job{Supply: a, Priority: tt.priorities[0]}) })
			waitFor(t, func() bool { return len(s.log()) == 1 })
			runs.Go(func() { e.Run(t.Context(), Job{Supply: b, Priority: tt.priorities[1]}) })
			waitFor(t, func() bool {
				e.mu.Lock()
				defer e.mu.Unlock()
				return len(e.jobs) == 2
			})
			close(bothThere)
			runs.Wait()
			a.verify()
			b.verify()
			if err := tt.check(order.String()); err != nil {
				t.Errorf("order %s: %v", order.String(), err)
			}
		})
	}
}

// However many connections there are, and however small the files, together
// they never read more than the limit allows.
func TestTheLimitIsNotExceeded(t *testing.T) {
	for _, size := range []int{1 << 20, 16 << 10} {
		s := newStorage(t)
		p := newTape(t, s)
		for id := range int64(1<<20) / int64(size) {
			p.add(id, s.add(id, size))
		}
		const limit = 1 << 20
		begun := time.Now()
		p.run(newEngine(t, Config{RateLimit: limit}))
		p.verify()
		if took, least := time.Since(begun), time.Duration(float64(1<<20-burst(limit))/limit*float64(time.Second)); took < least {
			t.Errorf("files of %d bytes: %v, the limit allows %v", size, took, least)
		}
	}
}

func TestTheLimitCanBeChangedWhileBytesFlow(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 8<<20))
	e := newEngine(t, Config{Connections: 4, RateLimit: 64 << 10})
	p.onMoved = func(f *File, total int64) { e.SetRateLimit(0) }
	p.run(e)
	p.verify()
}

func TestALimitThatIsLiftedHoldsUpNobody(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 1<<20))
	e := newEngine(t, Config{RateLimit: 1})
	late := time.AfterFunc(20*time.Second, e.Close)
	defer late.Stop()
	ended := make(chan error)
	go func() { ended <- e.Run(t.Context(), Job{Supply: p}) }()
	// Somebody waits for what comes in a quarter of an hour.
	waitFor(t, func() bool { return e.limit.Load().Tokens() < 0 })
	e.SetRateLimit(0)
	if err := <-ended; err != nil {
		t.Fatalf("Run: %v", err)
	}
	p.verify()
}

func TestCloseEndsEveryRunAndRefusesNewOnes(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 1000))
	release := make(chan struct{})
	defer close(release)
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		<-release
		return false
	})
	e := newEngine(t, Config{})
	ended := make(chan error)
	go func() { ended <- e.Run(t.Context(), Job{Supply: p}) }()
	waitFor(t, func() bool { return len(s.log()) == 1 })
	e.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if !p.files[0].Sink.(*disk).closed() {
		t.Error("the sink was left open")
	}
	if err := e.Run(t.Context(), Job{Supply: p}); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
}

func TestNoURLIsEverLoggedOrReported(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	var log lockedBuffer
	refused := p.add(1, s.add(1, 1000))
	s.add(2, 1000)
	p.add(3, s.add(3, 3000))
	var cuts atomic.Int64
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		switch {
		case r.URL.Path == "/1":
			w.Header().Set("Location", "http://[bad/?signature=topsecret")
			w.WriteHeader(http.StatusFound)
			return true
		case cuts.Add(1) < 10:
			panic(http.ErrAbortHandler)
		}
		return false
	})
	unreachable := p.add(2, s.objects["/2"])
	unreachable.Source.(*source).answer = func(n int, stale string) (string, error) {
		return []string{"http://127.0.0.1:1/?signature=topsecret", "http://%zz/?signature=topsecret", "ftp://h/?signature=topsecret"}[n%3], nil
	}
	p.run(newEngine(t, Config{Log: log.logger()}))
	if !errors.Is(p.done[refused.ID], ErrRefused) || !errors.Is(p.done[unreachable.ID], ErrRefused) {
		t.Errorf("done: %v", p.done)
	}
	text := log.String() + fmt.Sprint(p.done)
	if !strings.Contains(text, "a range was not fetched") {
		t.Error("nothing was logged")
	}
	if strings.Contains(text, "topsecret") || strings.Contains(text, "signature") {
		t.Errorf("a URL shows in:\n%s", text)
	}
}

func waitFor(t testing.TB, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
