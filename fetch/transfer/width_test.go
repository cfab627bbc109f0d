package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestThereAreAsManyConnectionsAsBringMore(t *testing.T) {
	type step struct {
		rate float64
		now  int // connections allowed then
	}
	for _, tt := range []struct {
		name  string
		most  int
		steps []step
	}{
		{"each brings the same", 128, []step{{100, 16}, {100, 32}, {200, 32}, {200, 64}, {400, 64}, {400, 128}, {800, 128}, {800, 128}}},
		{"the line is full", 128, []step{{100, 16}, {101, 32}, {110, 16}, {100, 16}, {100, 16}}},
		{"the rate still grows by itself", 128, []step{{100, 16}, {150, 16}, {250, 16}, {260, 32}, {270, 16}}},
		{"more are not allowed", 24, []step{{100, 16}, {100, 24}, {150, 24}, {150, 24}}},
		{"few are allowed", 4, []step{{100, 4}, {100, 4}}},
		{"more brings less", 32, []step{{100, 16}, {100, 32}, {50, 16}, {100, 16}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, at := newWidth(tt.most), time.Now()
			for i, s := range tt.steps {
				at = at.Add(time.Second)
				if w.measured(s.rate, at); w.now != s.now {
					t.Fatalf("%d after step %d (%+v)", w.now, i+1, s)
				}
			}
		})
	}

	// What was in vain is tried again, more and more rarely.
	w, at, trials := newWidth(32), time.Now(), 0
	for range 600 { // seconds
		at = at.Add(time.Second)
		if w.measured(100, at) && w.now == 32 {
			trials++
		}
	}
	if trials < 8 || trials > 16 {
		t.Errorf("%d trials in ten minutes", trials)
	}
}

func TestALimitTakesNoMoreConnectionsThanItNeeds(t *testing.T) {
	e := newEngine(t, Config{})
	for limit, want := range map[int64]int{0: 16, 100 << 20: 16, 1 << 20: 4, 100 << 10: 1, 1: 1} {
		e.SetRateLimit(limit)
		if n, why := e.allowed(); n != want || why == "" {
			t.Errorf("a limit of %v allows %d connections, because %q", limit, n, why)
		}
	}
}

// fallSilent answers with the range asked for, and stops after so many bytes.
func (o *object) fallSilent(w http.ResponseWriter, r *http.Request, after int, until <-chan struct{}) {
	start, end := asked(r)
	o.head(w)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(o.content)))
	w.Header().Set("Content-Length", fmt.Sprint(end-start))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(o.content[start:min(end, start+after)])
	w.(http.Flusher).Flush()
	<-until
	w.Write(o.content[min(end, start+after):end])
}

func TestASilentConnectionIsReplacedLongBeforeItCountsAsAFailure(t *testing.T) {
	for _, after := range []int{0, 300 << 10} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			s := newStorage(t)
			p := newTape(t, s)
			p.add(1, s.add(1, 12<<20))
			forever := make(chan struct{})
			t.Cleanup(func() { close(forever) }) // before the server's end
			var n atomic.Int64
			s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
				if n.Add(1)%4 != 0 {
					return false
				}
				o.fallSilent(w, r, after, forever)
				return true
			})
			p.run(newEngine(t, Config{Connections: 3, Patience: 20 * time.Millisecond, StallTimeout: time.Hour, MinBackoff: time.Hour, MaxBackoff: time.Hour}))
			p.verify()
		})
	}
}

func TestAStorageThatIsSlowToBeginGetsItsTime(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 24<<20))
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		select {
		case <-time.After(300 * time.Millisecond):
			return false
		case <-r.Context().Done():
			return true
		}
	})
	p.run(newEngine(t, Config{Connections: 1, Patience: 10 * time.Millisecond, StallTimeout: time.Hour}))
	p.verify()
	// Cut after 10, 20 … 320 ms, at most; then it is known.
	if ranges, tries := 6, len(s.ranges(1)); tries > ranges+8 {
		t.Errorf("%d requests for %d ranges", tries, ranges)
	}
}

func TestARefusalThatIsNeverToldWholeHoldsNoConnection(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 1000))
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) }) // before the server's end
	var n atomic.Int64
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		if n.Add(1) > 1 {
			return false
		}
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.(http.Flusher).Flush()
		<-forever
		return true
	})
	p.run(newEngine(t, Config{Connections: 1, StallTimeout: 100 * time.Millisecond}))
	p.verify()
}

func TestASmallJobDoesNotWaitForTheRangesOfALargeOne(t *testing.T) {
	for _, tt := range []struct {
		name        string
		connections int
		smallFirst  int // how much more urgent it is
	}{
		{name: "equal shares", connections: 3},
		{name: "a more urgent job", connections: 1, smallFirst: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStorage(t)
			large, small := newTape(t, s), newTape(t, s)
			large.add(1, s.add(1, 24<<20))
			small.add(2, s.add(2, 1000))
			done := make(chan struct{})
			var busy sync.WaitGroup
			busy.Add(tt.connections)
			var n atomic.Int64
			s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
				if r.URL.Path != "/1" {
					return false
				}
				if n.Add(1) <= int64(tt.connections) {
					busy.Done()
				}
				o.fallSilent(w, r, 100<<10, done)
				return true
			})
			e := newEngine(t, Config{Connections: tt.connections, Patience: time.Hour, StallTimeout: time.Hour})
			var runs sync.WaitGroup
			defer runs.Wait()
			runs.Go(func() { large.run(e) })
			busy.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := e.Run(ctx, Job{Priority: tt.smallFirst, Supply: small}); err != nil {
				t.Errorf("the small job: %v", err)
			}
			close(done)
			runs.Wait()
			small.verify()
			large.verify()
		})
	}
}

func TestNoConnectionWaitsForAURL(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 1000))
	second := p.add(2, s.add(2, 1000))
	asked := make(chan struct{})
	second.Source.(*source).answer = func(int, string) (string, error) {
		close(asked)
		return s.url(2, second.Source.(*source).o), nil
	}
	// The only connection gets its bytes once the next URL is asked for.
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		<-asked
		return false
	})
	p.run(newEngine(t, Config{Connections: 1}))
	p.verify()
}

func TestAJobThatIsStoppedWhileItAsksEndsAtOnce(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 1000))
	ctx, cancel := context.WithCancel(t.Context())
	f.Source.(*source).answer = func(int, string) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}
	if err := newEngine(t, Config{}).Run(ctx, Job{Supply: p}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if !f.Sink.(*disk).closed() {
		t.Error("the sink was left open")
	}
}
