package masv_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"masvfs/fetch/masv"
)

// raw starts a server that answers every request, which it gets with its
// headers as one line, with bytes of its own making, then hangs up.
func raw(t testing.TB, answer func(asked string) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(conn)
			var asked strings.Builder
			for {
				line, err := r.ReadString('\n')
				if line = strings.TrimSpace(line); line == "" || err != nil {
					break
				}
				asked.WriteString(line + " ")
			}
			io.WriteString(conn, answer(asked.String()))
			conn.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestABrokenConnectionIsTemporaryAndTellsNoSecret(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(asked string) string
	}{
		{"nothing", func(string) string { return "" }},
		{"something else than HTTP, with the request in it", func(asked string) string { return asked + "\r\n\r\n" }},
		{"a malformed header with the request in it", func(asked string) string { return "HTTP/1.1 200 OK\r\nbad " + asked + "\r\n\r\n" }},
		{"a malformed length", func(asked string) string { return "HTTP/1.1 200 OK\r\nContent-Length: " + asked + "\r\n\r\n" }},
		{"a body shorter than told", func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{\"id\":" }},
		{"a chunk that is none", func(string) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"id\r\n" + linkSecret + "\r\n"
		}},
		{"compression that is none", func(string) string {
			return "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nbqkBtnPw, which is not compressed"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := raw(t, tt.answer)
			for _, call := range calls {
				err := call.do(t.Context(), client(t, masv.Config{BaseURL: base}))
				if call.name == "CheckToken" && err == nil {
					continue // it does not look at the body
				}
				if mustBe(t, err, masv.ErrUnavailable); !masv.Temporary(err) {
					t.Errorf("%s: not temporary: %v", call.name, err)
				}
			}
		})
	}
}

func TestTheCauseOfABrokenConnectionIsKept(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, call := range calls {
		err := call.do(t.Context(), client(t, masv.Config{BaseURL: "http://" + l.Addr().String()}))
		if mustBe(t, err, masv.ErrUnavailable); !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, new(*net.OpError)) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: error = %v, want a *net.OpError that is ECONNREFUSED", call.name, err)
		}
	}
}

func TestTLSTroubleIsSaidPlainly(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	old := &http.Transport{TLSClientConfig: &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, InsecureSkipVerify: true}}
	for _, tt := range []struct {
		name      string
		base      string
		transport http.RoundTripper
		want      string
	}{
		{"a certificate of nobody's", secure.URL, nil, "certificate is not trusted"},
		{"no TLS at all", strings.Replace(plain, "http:", "https:", 1), nil, "does not speak TLS"},
		{"a version that is not served", secure.URL, old, "protocol version not supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, call := range calls {
				err := call.do(t.Context(), client(t, masv.Config{BaseURL: tt.base, Transport: tt.transport}))
				if e := mustBe(t, err, masv.ErrUnavailable); !strings.Contains(e.Error(), tt.want) {
					t.Errorf("%s: error = %v, want one with %q", call.name, e, tt.want)
				}
			}
		})
	}
}

// transportFunc is a transport made of a function.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnErrorThatQuotesTheAddressIsStrippedOfIt(t *testing.T) {
	cause := errors.New("no route")
	c := client(t, masv.Config{BaseURL: "http://127.0.0.1:1", Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		all := r.URL.String() + r.Header.Get("X-Link-Password") + r.Header.Get("X-Package-Token")
		return nil, fmt.Errorf("%s: %w", all, &url.Error{Op: "Get", URL: all, Err: &url.Error{Op: "Get", URL: all, Err: cause}})
	})})
	for _, call := range calls {
		err := call.do(t.Context(), c)
		if mustBe(t, err, masv.ErrUnavailable); !errors.Is(err, cause) || !strings.Contains(err.Error(), "no route") {
			t.Errorf("%s: error = %v", call.name, err)
		}
	}
}

func TestAnErrorThatIsFullOfAShortPasswordIsNotQuoted(t *testing.T) {
	c := client(t, masv.Config{BaseURL: "http://127.0.0.1:1", Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		return nil, errors.New("bad answer: " + r.Header.Get("X-Link-Password"))
	})})
	_, err := c.Link(t.Context(), masv.Link{ID: linkID, Secret: linkSecret}, "xyz")
	if e := mustBe(t, err, masv.ErrUnavailable); strings.Contains(e.Error(), "xyz") || !strings.Contains(e.Error(), "the connection failed") {
		t.Errorf("error = %v", e)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	entered := make(chan struct{})
	halfway := func(header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if header != "" {
				w.WriteHeader(map[string]int{"200": 200, "500": 500}[header])
				io.WriteString(w, body)
				w.(http.Flusher).Flush()
			}
			entered <- struct{}{}
			<-r.Context().Done()
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"before the answer":        halfway("", ""),
		"in the body":              halfway("200", " "),
		"in the body of a refusal": halfway("500", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, masv.Config{BaseURL: serve(t, handler)})
			for _, call := range calls {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					select {
					case <-entered:
					case <-t.Context().Done():
					}
					cancel()
				}()
				err := call.do(ctx, c)
				<-done
				if call.name == "CheckToken" && name == "in the body" {
					continue // it has its answer already
				}
				if !errors.Is(err, context.Canceled) || masv.Temporary(err) {
					t.Errorf("%s: error = %v, want the context's", call.name, err)
				}
				mustBe(t, err, nil)
			}
		})
	}
}

// endingBody ends the caller's context when it is read.
type endingBody struct{ end func() }

func (b endingBody) Read([]byte) (int, error) { b.end(); return 0, context.Canceled }
func (b endingBody) Close() error             { return nil }

func TestACallThatEndsWhileItsBodyIsReadIsNoRefusal(t *testing.T) {
	for _, status := range []int{200, 404, 503} {
		for _, call := range calls {
			ctx, cancel := context.WithCancel(t.Context())
			c := client(t, masv.Config{BaseURL: "http://127.0.0.1:1", Transport: transportFunc(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Header: http.Header{}, Body: endingBody{cancel}}, nil
			})})
			err := call.do(ctx, c)
			cancel()
			if call.name == "CheckToken" && status == 200 {
				continue // it does not look at the body
			}
			if mustBe(t, err, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, status %d: error = %v, want the context's", call.name, status, err)
			}
		}
	}
}

func TestADeadlineOfTheCallersIsTheContextsError(t *testing.T) {
	c := client(t, masv.Config{BaseURL: serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for _, call := range calls {
		if err := call.do(ctx, c); !errors.Is(err, context.DeadlineExceeded) || masv.Temporary(err) {
			t.Errorf("%s: error = %v, want the context's", call.name, err)
		}
	}
}

func TestASilentServerIsNotWaitedForForEver(t *testing.T) {
	for _, sent := range []string{"", "[", `[{"id":"a"},`} {
		c := client(t, masv.Config{Timeout: 50 * time.Millisecond, BaseURL: serve(t, func(w http.ResponseWriter, r *http.Request) {
			if sent != "" {
				io.WriteString(w, sent)
				w.(http.Flusher).Flush()
			}
			<-r.Context().Done()
		})})
		for _, call := range calls {
			err := call.do(t.Context(), c)
			if call.name == "CheckToken" && sent != "" {
				continue // it has its answer already
			}
			if e := mustBe(t, err, masv.ErrUnavailable); !strings.Contains(e.Error(), "fell silent for 50ms") || errors.Is(err, context.Canceled) {
				t.Errorf("%s: error = %v", call.name, e)
			}
		}
	}
}

// slowBody gives one piece a read, each after a pause, until its context ends.
type slowBody struct {
	ctx    context.Context
	pause  time.Duration
	pieces []string
}

func (b *slowBody) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(b.pause):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	n := copy(p, b.pieces[0])
	b.pieces = b.pieces[1:]
	return n, nil
}

func (b *slowBody) Close() error { return nil }

// slowly returns a client, with a time-out of 10 s, of a server that pauses before each piece of its body.
func slowly(t testing.TB, status int, pause time.Duration, pieces ...string) *masv.Client {
	return client(t, masv.Config{Timeout: 10 * time.Second, Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: &slowBody{r.Context(), pause, pieces}}, nil
	})})
}

func TestAListingTakesAsLongAsItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pieces := append(strings.Split("["+strings.Repeat(`{"id":"a"},`, 20), ","), `,{"id":"z"}`, "]")
		for i := 1; i < 20; i++ {
			pieces[i] = "," + pieces[i]
		}
		entries, err := list(t.Context(), slowly(t, 200, 9*time.Second, pieces...))
		if err != nil || len(entries) != 21 {
			t.Errorf("nine seconds between two pieces: %d entries, %v", len(entries), err)
		}
		_, err = list(t.Context(), slowly(t, 200, 11*time.Second, pieces...))
		mustBe(t, err, masv.ErrUnavailable)
	})
}

func TestTheConsumersOwnTimeIsNotTheServersSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := 0
		for _, err := range slowly(t, 200, time.Second, `[{"id":"a"}`, `,{"id":"b"}`, `,{"id":"c"}`, `]`).Files(t.Context(), packageID, token) {
			if err != nil {
				t.Fatal(err)
			}
			seen++
			time.Sleep(time.Hour)
		}
		if seen != 3 {
			t.Errorf("%d entries came", seen)
		}
	})
}

func TestAnAnswerThatTricklesIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trickle := make([]string, 1000)
		for i := range trickle {
			trickle[i] = " "
		}
		for _, call := range calls {
			if call.name == "Link" || call.name == "FileURL" {
				mustBe(t, call.do(t.Context(), slowly(t, 200, time.Second, trickle...)), masv.ErrUnavailable)
			}
			begun := time.Now()
			mustBe(t, call.do(t.Context(), slowly(t, 404, time.Second, trickle...)), masv.ErrNotFound)
			if waited := time.Since(begun); waited > 10*time.Second {
				t.Errorf("%s: the body of a refusal was waited for for %v", call.name, waited)
			}
		}
		// The listing is whole; that its body does not end is not worth an error.
		begun := time.Now()
		entries, err := list(t.Context(), slowly(t, 200, time.Second, append([]string{`[{"id":"a"}]`}, trickle...)...))
		if waited := time.Since(begun); err != nil || len(entries) != 1 || waited > 20*time.Second {
			t.Errorf("a listing whose body goes on with white space: %v, %v after %v", entries, err, waited)
		}
	})
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var connections int
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/download"):
			http.Redirect(w, r, storage, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/links/"):
			http.Error(w, `{"message":"no"}`, 404)
		default:
			fmt.Fprint(w, listAnswer)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections++
		}
	}
	s.Start()
	defer s.Close()
	c := client(t, masv.Config{BaseURL: s.URL})
	for range 5 {
		for _, call := range calls[:3] {
			call.do(t.Context(), c)
		}
	}
	s.Close()
	if connections != 1 {
		t.Errorf("15 calls took %d connections", connections)
	}
}
