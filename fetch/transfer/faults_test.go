package transfer

import (
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const mib = 1 << 20

// misbehaviour handles the n-th request for the object, n counting from 1.
type misbehaviour func(n int, w http.ResponseWriter, r *http.Request, o *object) (handled bool)

// status answers with it, for as long as the request's number is in [from, to].
func status(code, from, to int) misbehaviour {
	return func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
		if n < from || n > to {
			return false
		}
		w.WriteHeader(code)
		return true
	}
}

func TestFaultsOfTheStorageAreOvercome(t *testing.T) {
	for _, tt := range []struct {
		name        string
		size        int
		connections int
		fault       misbehaviour
	}{
		{"503 without a hint", 100, 1, status(503, 1, 12)},
		{"500", 9 * mib, 3, status(500, 1, 12)},
		{"429", 9 * mib, 3, status(429, 2, 9)},
		{"408", 100, 1, status(408, 1, 3)},
		{"refused twice with fresh URLs", 100, 1, status(403, 1, 2)},
		{"404 twice", 9 * mib, 2, status(404, 1, 2)},
		{"a log-in page in the object's place", 9 * mib, 2, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			if n > 8 {
				return false
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<html>Please log in to this hotel's network.</html>")
			return true
		}},
		{"connections that break before an answer", 9 * mib, 3, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			if n <= 10 {
				panic(http.ErrAbortHandler)
			}
			return false
		}},
		{"every answer breaks off", 9 * mib, 3, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			o.part(w, r, 700_001)
			return true
		}},
		{"a stall before the answer, and one within", 9 * mib, 3, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			switch n {
			case 1:
				<-r.Context().Done()
				return true
			case 2:
				start, end := asked(r)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(o.content)))
				w.Header().Set("ETag", o.etag)
				w.WriteHeader(206)
				w.Write(o.content[start : start+100_000])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}
			return false
		}},
		{"shorter ranges than asked for", 9 * mib, 2, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			start, end := asked(r)
			if end-start > mib {
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", start, start+mib-1))
			}
			return false
		}},
		{"parts of another range than asked for, now and then", 9 * mib, 2, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			if n == 2 || n == 4 {
				r.Header.Set("Range", "bytes=17-1000")
			}
			return false
		}},
		{"an encoded answer, now and then", 9 * mib, 2, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			if n == 1 || n == 3 {
				w.Header().Set("Content-Encoding", "gzip")
			}
			return false
		}},
		{"a wrong length once", 100, 1, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			if n == 1 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			return false
		}},
		{"no ranges at all", 9 * mib, 4, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			o.whole(w)
			return true
		}},
		{"no ranges and no validators, breaking off", 9 * mib, 4, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.Header().Set("Content-Length", fmt.Sprint(len(o.content)))
			if n < 6 {
				w.Write(o.content[:n*mib])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			w.Write(o.content)
			return true
		}},
		{"the whole object in chunks", 9 * mib, 4, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			o.head(w)
			w.(http.Flusher).Flush()
			w.Write(o.content)
			return true
		}},
		{"ranges that turn into the whole object in the middle", 21 * mib, 2, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			if n < 4 {
				return false
			}
			o.whole(w)
			return true
		}},
		{"an object that is replaced five times", 9 * mib, 2, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			if n%2 == 0 && n <= 10 {
				w.Header().Set("ETag", fmt.Sprintf(`"version %d"`, n))
				start, end := asked(r)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(o.content)))
				w.WriteHeader(206)
				w.Write(o.content[start:end])
				return true
			}
			return false
		}},
		{"weak tags only", 9 * mib, 3, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			if r.Header.Get("If-Range") != "" {
				w.WriteHeader(500)
				return true
			}
			w.Header().Set("ETag", `W/"weak"`)
			start, end := asked(r)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(o.content)))
			w.WriteHeader(206)
			w.Write(o.content[start:end])
			return true
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStorage(t)
			p := newTape(t, s)
			p.add(1, s.add(1, tt.size))
			var n atomic.Int64
			s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
				return tt.fault(int(n.Add(1)), w, r, o)
			})
			p.run(newEngine(t, Config{Connections: tt.connections, StallTimeout: 200 * time.Millisecond}))
			p.verify()
		})
	}
}

func TestAFileFailsForGoodOnlyWhenNothingElseCanHelp(t *testing.T) {
	for _, tt := range []struct {
		name     string
		size     int
		fault    misbehaviour
		err      error
		says     string
		requests int // at most
	}{
		{"403 with every fresh URL", 100, status(403, 1, 1e9), ErrRefused, "answers 403", 3},
		{"404 also after renewing twice", 100, status(404, 1, 1e9), ErrRefused, "answers 404", 3},
		{"400", 100, status(400, 1, 1e9), ErrRefused, "answers 400", 3},
		{"the rest of a file is refused", 9 * mib, status(403, 2, 1e9), ErrRefused, "answers 403", 8},
		{"an object that is too short", 100, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.Header().Set("Content-Range", "bytes 0-98/99")
			w.WriteHeader(206)
			return true
		}, ErrChanged, "object has 99 bytes, listing says 100", 2},
		{"a whole object that is too long", 100, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.Write(make([]byte, 101))
			return true
		}, ErrChanged, "object has 101 bytes, listing says 100", 2},
		{"a whole object of unknown length that is too long", 100, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.(http.Flusher).Flush()
			w.Write(make([]byte, 101))
			return true
		}, ErrChanged, "object has more bytes, listing says 100", 2},
		{"a whole object of unknown length that is too short", 100, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.(http.Flusher).Flush()
			w.Write(make([]byte, 99))
			return true
		}, ErrChanged, "object has 99 bytes, listing says 100", 4},
		{"416", 100, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.Header().Set("Content-Range", "bytes */7")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}, ErrChanged, "object has 7 bytes, listing says 100", 2},
		{"an object that changes all the time", 9 * mib, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
			start, end := asked(r)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(o.content)))
			w.WriteHeader(206)
			w.Write(o.content[start:end])
			return true
		}, ErrChanged, "replaced 6 times", 30},
		{"every answer is encoded", 100, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Range", "bytes 0-99/100")
			w.WriteHeader(206)
			z := gzip.NewWriter(w)
			z.Write(o.content)
			z.Close()
			return true
		}, ErrInvalid, "encoded", 5},
		{"parts without Content-Range", 100, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			w.WriteHeader(206)
			w.Write(o.content)
			return true
		}, ErrInvalid, "Content-Range", 5},
		{"redirects in a circle", 100, func(n int, w http.ResponseWriter, r *http.Request, o *object) bool {
			http.Redirect(w, r, r.URL.String(), http.StatusFound)
			return true
		}, ErrRefused, "redirects more than 5 times", 18},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStorage(t)
			p := newTape(t, s)
			f := p.add(1, s.add(1, tt.size))
			p.add(2, s.add(2, 10))
			var n atomic.Int64
			s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
				return r.URL.Path == "/1" && tt.fault(int(n.Add(1)), w, r, o)
			})
			p.run(newEngine(t, Config{Connections: 2}))
			err := p.done[1]
			if !errors.Is(err, tt.err) || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("error %v, want %v that says %q", err, tt.err, tt.says)
			}
			if got := len(s.ranges(1)); got > tt.requests {
				t.Errorf("%d requests were made for it, %d are enough", got, tt.requests)
			}
			if !f.Sink.(*disk).closed() {
				t.Error("its sink was left open")
			}
			if err, ok := p.done[2]; !ok || err != nil {
				t.Errorf("the other file: done %v, error %v", ok, err)
			}
		})
	}
}

// A request that was granted goes on for as long as its bytes take. It says
// nothing about requests that are made meanwhile, even if the URL is the same.
func TestAFileIsGivenUpWhileBytesGrantedBeforeStillCome(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 9*mib))
	moved, refused, over := make(chan struct{}, 100), make(chan struct{}, 100), make(chan struct{})
	p.onMoved = func(*File, int64) { moved <- struct{}{} }
	var n atomic.Int64
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		if n.Add(1) > 1 {
			select {
			case <-moved: // between any two refusals bytes arrive
			case <-over:
			}
			w.WriteHeader(http.StatusForbidden)
			refused <- struct{}{}
			return true
		}
		start, end := asked(r)
		o.head(w)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(o.content)))
		w.WriteHeader(http.StatusPartialContent)
		defer close(over)
		for ; start < end; start += mib / 2 {
			w.Write(o.content[start : start+mib/2])
			w.(http.Flusher).Flush()
			select {
			case <-refused:
			case <-r.Context().Done():
				return true
			}
		}
		return true
	})
	p.run(newEngine(t, Config{Connections: 2}))
	if err := p.done[1]; !errors.Is(err, ErrRefused) {
		t.Errorf("error %v, want ErrRefused", err)
	}
	if got := s.ranges(1); len(got) > 1+1+refusalsToFail {
		t.Errorf("%d requests were made: %q", len(got), got)
	}
}
