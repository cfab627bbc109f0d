package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestWhateverGoesWrongTheBytesAreRight sends two jobs through a storage that
// does everything wrong at random, stops them at random moments and takes them
// up again from their checkpoints.
func TestWhateverGoesWrongTheBytesAreRight(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := newStorage(t)
			c := &chaos{r: rand.New(rand.NewPCG(seed, 1)), s: s}
			s.misbehave(c.serve)
			e := newEngine(t, Config{Connections: 1 + int(seed)*2, StallTimeout: 100 * time.Millisecond, CheckpointBytes: mib})

			var tapes [2]*tape
			for i := range tapes {
				tapes[i] = newTape(t, s)
				for k := range int64(8) {
					id := int64(i+1)*100 + k
					size := c.roll(1 << c.roll(24))
					o := s.add(id, size)
					if k == 3 {
						o.etag = ""
					}
					if k == 5 {
						o.etag, o.lastModified = "", "Mon, 02 Nov 2026 10:00:00 GMT"
					}
					tapes[i].add(id, o)
				}
			}
			var runs sync.WaitGroup
			for _, p := range tapes {
				runs.Go(func() {
					for {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+c.roll(500))*time.Millisecond)
						err := e.Run(ctx, Job{Supply: p})
						cancel()
						p.verifyDone()
						if err == nil {
							return
						}
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("Run: %v", err)
							return
						}
						for _, f := range p.files {
							p.intact(f, p.last(f.ID).Spans)
						}
						p = p.again()
						if c.roll(4) == 0 && c.tired() {
							s.misbehave(nil)
						}
					}
				})
			}
			runs.Wait()
		})
	}
}

// verifyDone wants the files that are done to be right.
func (p *tape) verifyDone() {
	for _, f := range p.files {
		err, done := p.done[f.ID]
		if err != nil {
			p.t.Errorf("file %d failed: %v", f.ID, err)
		}
		if done {
			p.intact(f, []Span{{0, f.Size}})
		}
	}
}

// chaos is a storage that does not mean to be kind.
type chaos struct {
	s  *storage
	mu sync.Mutex
	r  *rand.Rand
	n  int
}

func (c *chaos) roll(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.r.IntN(max(n, 1))
}

// tired says that it has been enough.
func (c *chaos) tired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n > 1500
}

func (c *chaos) serve(w http.ResponseWriter, r *http.Request, o *object) bool {
	start, end := asked(r)
	if r.URL.Query().Get("signature") != fmt.Sprintf("topsecret-%d", o.signature.Load()) {
		return false // refused
	}
	switch c.roll(24) {
	case 0:
		w.WriteHeader([]int{429, 500, 502, 503, 408}[c.roll(5)])
		return true
	case 1:
		panic(http.ErrAbortHandler)
	case 2, 3, 4, 5:
		o.part(w, r, c.roll(end-start))
		return true
	case 6:
		o.whole(w)
		return true
	case 7:
		o.head(w)
		w.(http.Flusher).Flush()
		w.Write(o.content)
		return true
	case 8:
		w.Header().Set("Content-Length", fmt.Sprint(len(o.content)))
		o.head(w)
		w.Write(o.content[:c.roll(len(o.content))])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case 9:
		if c.roll(8) == 0 {
			o.signature.Add(1)
		}
	case 10:
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", start, start+c.roll(end-start)))
	case 11:
		if c.roll(6) == 0 {
			<-r.Context().Done()
			return true
		}
	case 12:
		if c.roll(3) == 0 {
			w.Header().Set("Content-Encoding", "br")
		}
	case 13:
		time.Sleep(time.Duration(c.roll(20)) * time.Millisecond)
	}
	return false
}
