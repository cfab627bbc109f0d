package transfer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnExpiredURLIsRenewedAndTheFileGoesOn(t *testing.T) {
	for _, code := range []int{401, 403, 410} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s := newStorage(t)
			p := newTape(t, s)
			f := p.add(1, s.add(1, 30*mib))
			var n atomic.Int64
			s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
				if n.Add(1) == 4 {
					o.signature.Add(1)
				}
				if r.URL.Query().Get("signature") != fmt.Sprintf("topsecret-%d", o.signature.Load()) {
					w.WriteHeader(code)
					return true
				}
				return false
			})
			p.run(newEngine(t, Config{Connections: 4}))
			p.verify()
			stale := f.Source.(*source).asked()
			if len(stale) != 2 || stale[0] != "" || !strings.HasSuffix(stale[1], "topsecret-0") {
				t.Errorf("URLs were asked for with the stale ones %q", stale)
			}
			// What a break-off wastes is little; nothing is fetched twice.
			if sent := s.sent.Load(); sent > 33*mib {
				t.Errorf("%d bytes were sent for a file of %d", sent, 30*mib)
			}
		})
	}
}

func TestAURLIsRenewedAfterRepeatedFailures(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 1000))
	f.Source.(*source).answer = func(n int, stale string) (string, error) {
		if n == 1 {
			return "http://127.0.0.1:1/nobody-listens-here", nil
		}
		return s.url(1, s.objects["/1"]), nil
	}
	p.run(newEngine(t, Config{}))
	p.verify()
}

func TestRedirectsAreFollowedWithoutTellingWhereFrom(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 9*mib))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, s.url(1, s.objects["/1"]), http.StatusTemporaryRedirect)
	}))
	defer front.Close()
	f.Source.(*source).answer = func(int, string) (string, error) {
		return strings.Replace(front.URL, "http://", "http://user:password@", 1), nil
	}
	p.run(newEngine(t, Config{Connections: 2, UserAgent: "agent/1"}))
	p.verify()
	for _, r := range s.log() {
		for _, h := range []string{"Referer", "Cookie", "Authorization"} {
			if v := r.Header.Get(h); v != "" {
				t.Errorf("%s: %s was sent", h, v)
			}
		}
		if r.UserAgent() != "agent/1" {
			t.Errorf("User-Agent: %s", r.UserAgent())
		}
	}
}

func TestARedirectOutOfHTTPSIsRefused(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 100))
	front := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.url(1, s.objects["/1"]), http.StatusFound)
	}))
	defer front.Close()
	f.Source.(*source).answer = func(int, string) (string, error) { return front.URL, nil }
	p.run(newEngine(t, Config{Transport: front.Client().Transport}))
	if !errors.Is(p.done[1], ErrRefused) || len(s.log()) != 0 {
		t.Errorf("done: %v; %d requests reached the unprotected storage", p.done[1], len(s.log()))
	}
}

// later is an error of a Source with a hint.
type later struct{}

func (later) Error() string             { return "later" }
func (later) RetryAfter() time.Duration { return time.Hour }

func TestErrorsOfASourceDoWhatTheySay(t *testing.T) {
	broken := errors.New("broken")
	run := func(t *testing.T, answer func(n int) error) (*tape, error) {
		s := newStorage(t)
		p := newTape(t, s)
		f := p.add(1, s.add(1, 100))
		f.Source.(*source).answer = func(n int, stale string) (string, error) {
			return s.url(1, s.objects["/1"]), answer(n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return p, newEngine(t, Config{}).Run(ctx, Job{Supply: p})
	}
	t.Run("a passing one is tried again", func(t *testing.T) {
		p, err := run(t, func(n int) error {
			if n < 8 {
				return broken
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		p.verify()
	})
	t.Run("a permanent one ends the file", func(t *testing.T) {
		p, err := run(t, func(int) error { return fmt.Errorf("wrapped: %w", Permanent(broken)) })
		if err != nil || p.done[1] != broken {
			t.Errorf("Run: %v, done: %v", err, p.done)
		}
	})
	t.Run("an abort ends the job with the inner error", func(t *testing.T) {
		p, err := run(t, func(int) error { return fmt.Errorf("wrapped: %w", Abort(broken)) })
		if err != broken || len(p.done) != 0 || !p.files[0].Sink.(*disk).closed() {
			t.Errorf("Run: %v, done: %v", err, p.done)
		}
	})
	t.Run("a hint is obeyed", func(t *testing.T) {
		s := newStorage(t)
		p := newTape(t, s)
		asked := make(chan int, 10)
		p.add(1, s.add(1, 100)).Source.(*source).answer = func(n int, _ string) (string, error) {
			asked <- n
			return "", later{}
		}
		p.add(2, s.add(2, 100))
		ctx, cancel := context.WithCancel(t.Context())
		p.onDone = func(*File, error) { cancel() }
		// One connection, and the second file gets it: the first one waits.
		err := newEngine(t, Config{Connections: 1}).Run(ctx, Job{Supply: p})
		if !errors.Is(err, context.Canceled) || len(asked) != 1 {
			t.Errorf("Run: %v; asked %d times", err, len(asked))
		}
	})
}
