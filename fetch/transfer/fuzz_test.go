package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// reciting is a storage whose first answers have arbitrary heads, and whose
// bodies are what these heads say that they are. Later ones are good.
type reciting struct {
	t     testing.TB
	size  int64
	heads []string
	cut   int // of the body that a head is followed by, no more is sent

	mu    sync.Mutex // guards asked
	asked int
}

// versionOf is the object under a version: another one under each.
func versionOf(version string, size int64) []byte {
	h := fnv.New64a()
	io.WriteString(h, version)
	return content(h.Sum64(), int(size))
}

const goodVersion = `"good"`

var contentRange = regexp.MustCompile(`^bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})$`)

func (s *reciting) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	n := s.asked
	s.asked++
	s.mu.Unlock()
	if n > 500 {
		s.t.Error("500 requests were made")
		return nil, errors.New("enough")
	}
	if req.URL.Scheme != "https" || len(req.Header["Cookie"])+len(req.Header["Authorization"])+len(req.Header["Referer"]) > 0 {
		s.t.Errorf("a request goes to %s with %v", req.URL, req.Header)
	}
	if v := req.Header.Get("If-Range"); v != "" && v[0] != '"' {
		if _, err := http.ParseTime(v); err != nil {
			s.t.Errorf("If-Range: %q", v)
		}
	}
	if n >= len(s.heads) {
		start, end := asked(req)
		head := fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nETag: %s\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n",
			goodVersion, start, end-1, s.size, end-start)
		return respond(req, head, versionOf(goodVersion, s.size)[start:end])
	}
	head := strings.TrimRight(s.heads[n], "\r\n") + "\r\n\r\n"
	resp, err := respond(req, head, nil)
	if err != nil {
		return nil, err
	}
	body := []byte("a page that says what is wrong")
	version := resp.Header.Get("ETag")
	if version == "" {
		version = resp.Header.Get("Last-Modified")
	}
	if version == "" {
		version = goodVersion // nothing says that it is another
	}
	whole := versionOf(version, s.size)
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		for i := range whole {
			whole[i] = ^whole[i]
		}
	}
	switch m := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range")); {
	case resp.StatusCode == http.StatusOK:
		body = whole
	case resp.StatusCode == http.StatusPartialContent && m != nil:
		first, _ := strconv.ParseInt(m[1], 10, 64)
		last, _ := strconv.ParseInt(m[2], 10, 64)
		body = whole[min(first, s.size):max(min(first, s.size), min(last+1, s.size))]
	}
	return respond(req, head, body[:min(len(body), s.cut)])
}

// respond reads an answer as a connection would give it.
func respond(req *http.Request, head string, body []byte) (*http.Response, error) {
	if strings.Contains(strings.ToLower(head), "\r\ntransfer-encoding: chunked") {
		body = fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	return http.ReadResponse(bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(body))), req)
}

// lone is the Supply, Source and Sink of one file in memory.
type lone struct {
	t testing.TB
	f *File

	mu   sync.Mutex // guards what follows
	data []byte
	urls int
	done bool
	err  error
}

func (l *lone) Next(context.Context) (*File, error) {
	f := l.f
	l.f = nil
	return f, nil
}

func (l *lone) Done(_ *File, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		l.t.Error("it is done twice")
	}
	l.done, l.err = true, err
}

func (l *lone) Moved(*File, int64)                               {}
func (l *lone) Written(*File, Arrived)                           {}
func (l *lone) Checkpoint(context.Context, *File, Arrived) error { return nil }
func (l *lone) Sync() error                                      { return nil }
func (l *lone) Close() error                                     { return nil }

func (l *lone) URL(context.Context, string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.urls++
	return fmt.Sprint("https://storage.example/object?signature=", l.urls), nil
}

func (l *lone) WriteAt(p []byte, off int64) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off < 0 || off+int64(len(p)) > int64(len(l.data)) {
		l.t.Errorf("%d bytes at %d are written to a file of %d", len(p), off, len(l.data))
		return 0, errors.New("outside")
	}
	return copy(l.data[off:], p), nil
}

// FuzzObject has arbitrary heads of answers (separated by an empty line)
// precede good ones. In the end the file is whole, of one version of the
// object, or has failed for good; nothing is written beside it, no foreign
// scheme is spoken, and it takes no day.
func FuzzObject(f *testing.F) {
	const partial = "HTTP/1.1 206 x\r\nETag: \"good\"\r\n"
	for _, heads := range []string{
		"", partial + "Content-Range: bytes 0-99/100\r\nContent-Length: 100", partial + "Content-Range: bytes 0-99/100", partial + "Content-Range: bytes 10-99/100",
		partial + "Content-Range: bytes 0-49/100\r\nContent-Length: 50", partial + "Content-Range: bytes 0-99/100\r\nContent-Length: 7", partial + "Content-Range: bytes 0-99/*",
		partial + "Content-Range: bytes 0-199/200", partial + "Content-Range: bytes 0-99/100\r\nContent-Encoding: gzip", partial + "Content-Range: bytes 0-18446744073709551615/100",
		"HTTP/1.1 206 x\r\nETag: \"other\"\r\nContent-Range: bytes 0-99/100", "HTTP/1.1 206 x\r\nContent-Range: bytes 0-99/100", "HTTP/1.1 206 x\r\nETag: W/\"weak\"\r\nContent-Range: bytes 0-99/100",
		"HTTP/1.1 206 x\r\nLast-Modified: Tue, 03 Nov 2026 10:00:00 GMT\r\nContent-Range: bytes 0-99/100\n\n" + partial + "Content-Range: bytes 0-99/100",
		"HTTP/1.1 200 OK\r\nETag: \"good\"\r\nContent-Length: 100", "HTTP/1.1 200 OK\r\nETag: \"good\"", "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: 100\n\nHTTP/1.1 200 OK\r\nETag: \"two\"\r\nContent-Length: 100",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", "HTTP/1.1 200 OK\r\nContent-Type: text/html", "HTTP/1.1 200 OK\r\nContent-Length: 99", "HTTP/1.0 200 OK",
		"HTTP/1.1 416 x\r\nContent-Range: bytes */100", "HTTP/1.1 416 x\r\nContent-Range: bytes */7\n\nHTTP/1.1 416 x", "HTTP/1.1 503 x\r\nRetry-After: 99999999999999999999", "HTTP/1.1 429 x\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT",
		"HTTP/1.1 403 x\n\nHTTP/1.1 410 x", "HTTP/1.1 302 x\r\nLocation: http://plain.example/", "HTTP/1.1 302 x\r\nLocation: file:///etc/shadow", "HTTP/1.1 307 x\r\nLocation: ?again", "HTTP/1.1 304 x", "HTTP/1.1 204 x", "HTTP/1.1 100 Continue", "nonsense",
	} {
		for _, cut := range []int{1000, 33} {
			f.Add(heads, int64(100), cut)
		}
	}
	f.Fuzz(func(t *testing.T, heads string, size int64, cut int) {
		size = 1 + (size&(1<<62-1))%5000
		s := &reciting{t: t, size: size, cut: max(cut, 0)}
		for head := range strings.SplitSeq(heads, "\n\n") {
			if len(s.heads) < 8 {
				s.heads = append(s.heads, head)
			}
		}
		synctest.Test(t, func(t *testing.T) {
			e := New(Config{Connections: 3, Transport: s})
			defer e.Close()
			l := &lone{t: t, data: make([]byte, size)}
			l.f = &File{ID: 1, Size: size, Source: l, Sink: l}
			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			defer cancel()
			if err := e.Run(ctx, Job{Name: "fuzz", Supply: l}); err != nil || !l.done {
				t.Fatalf("it ended with %v, done: %v", err, l.done)
			}
			if l.err != nil {
				if !errors.Is(l.err, ErrRefused) && !errors.Is(l.err, ErrChanged) && !errors.Is(l.err, ErrInvalid) {
					t.Errorf("it failed with %v", l.err)
				}
				return
			}
			for _, version := range s.versions() {
				if bytes.Equal(l.data, versionOf(version, size)) {
					return
				}
			}
			t.Error("it is done, and is no version of the object")
		})
	})
}

// versions returns those that were served.
func (s *reciting) versions() []string {
	all := []string{goodVersion}
	for _, head := range s.heads {
		resp, err := respond(nil, strings.TrimRight(head, "\r\n")+"\r\n\r\n", nil)
		if err != nil {
			continue
		}
		for _, name := range []string{"ETag", "Last-Modified"} {
			if v := resp.Header.Get(name); v != "" {
				all = append(all, v)
			}
		}
	}
	return all
}

// FuzzContentRange compares what is read of a Content-Range with what its
// grammar says, and holds every pause that a server asks for within bounds.
func FuzzContentRange(f *testing.F) {
	for _, text := range []string{"bytes 0-0/1", "bytes 0-9/*", "bytes */10", "bytes 5-4/10", "bytes +1-2/3", "bytes 00-01/02", "bytes  0-1/2", "bytes 0-1/2 ", "BYTES 0-1/2",
		"bytes 0-9223372036854775807/9223372036854775807", "bytes 1-2/3/4", "bytes 1-2-3/4", "120", "-1", "99999999999999999999", "Tue, 03 Nov 2026 10:00:00 GMT", "\u0661"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		start, end, total, ok := parseContentRange(text)
		if ok && (start < 0 || start >= end || end > total) {
			t.Errorf("%q was taken as %d to %d of %d", text, start, end, total)
		}
		if m := contentRange.FindStringSubmatch(text); m != nil {
			n := func(i int) int64 { v, _ := strconv.ParseInt(m[i], 10, 64); return v }
			if sensible := n(1) <= n(2) && n(2) < n(3); ok != sensible || ok && (start != n(1) || end != n(2)+1 || total != n(3)) {
				t.Errorf("%q was read as %d, %d, %d, %v", text, start, end, total, ok)
			}
		}
		now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		if after := retryAfter(&unavailable{503, parseRetryAfter(http.Header{"Retry-After": {text}}, now)}); after < 0 || after > maxRetryAfter {
			t.Errorf("%q asks for a pause of %v", text, after)
		}
		if v := validator(text); v != "" && v != text {
			t.Errorf("%q became the validator %q", text, v)
		}
	})
}
