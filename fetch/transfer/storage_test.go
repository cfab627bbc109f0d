package transfer

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// storage is an object storage on loopback that can be told to misbehave.
type storage struct {
	*httptest.Server
	sent atomic.Int64 // bytes of bodies

	mu        sync.Mutex
	objects   map[string]*object
	requests  []*http.Request
	intercept func(w http.ResponseWriter, r *http.Request, o *object) (handled bool)
}

type object struct {
	content      []byte
	etag         string
	lastModified string
	signature    atomic.Int64 // URLs carry the latest one; older ones have expired
	gets         atomic.Int64
}

func newStorage(t testing.TB) *storage {
	s := &storage{objects: map[string]*object{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// add makes an object of random bytes.
func (s *storage) add(id int64, size int) *object {
	o := &object{content: content(uint64(id), size), etag: fmt.Sprintf(`"v1-of-%d"`, id)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[fmt.Sprintf("/%d", id)] = o
	return o
}

func content(seed uint64, size int) []byte {
	p := make([]byte, size)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(p)
	return p
}

// misbehave has f handle the requests, or leave them to the storage.
func (s *storage) misbehave(f func(w http.ResponseWriter, r *http.Request, o *object) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// ranges returns the Range headers of the requests for an object.
func (s *storage) ranges(id int64) (all []string) {
	for _, r := range s.log() {
		if r.URL.Path == fmt.Sprintf("/%d", id) {
			all = append(all, r.Header.Get("Range"))
		}
	}
	return all
}

func (s *storage) log() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

func (s *storage) url(id int64, o *object) string {
	return fmt.Sprintf("%s/%d?signature=topsecret-%d", s.URL, id, o.signature.Load())
}

func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	o := s.objects[r.URL.Path]
	s.requests = append(s.requests, r)
	intercept := s.intercept
	s.mu.Unlock()
	if o == nil {
		http.Error(w, "no such object", http.StatusNotFound)
		return
	}
	o.gets.Add(1)
	cw := &countingWriter{ResponseWriter: w, sent: &s.sent}
	if intercept != nil && intercept(cw, r, o) {
		return
	}
	s.serve(cw, r, o)
}

// serve answers as a good storage does.
func (s *storage) serve(w http.ResponseWriter, r *http.Request, o *object) {
	if sig := r.URL.Query().Get("signature"); sig != fmt.Sprintf("topsecret-%d", o.signature.Load()) {
		http.Error(w, "expired", http.StatusForbidden)
		return
	}
	o.head(w)
	modified, _ := http.ParseTime(o.lastModified)
	http.ServeContent(w, r, "", modified, bytes.NewReader(o.content))
}

func (o *object) head(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if o.etag != "" {
		w.Header().Set("ETag", o.etag)
	}
	if o.lastModified != "" {
		w.Header().Set("Last-Modified", o.lastModified)
	}
}

// whole answers with the whole object, whatever was asked for.
func (o *object) whole(w http.ResponseWriter) {
	o.head(w)
	w.Header().Set("Content-Length", strconv.Itoa(len(o.content)))
	w.Write(o.content)
}

// part answers with the range asked for, and breaks off after so many bytes.
func (o *object) part(w http.ResponseWriter, r *http.Request, cut int) {
	start, end := asked(r)
	o.head(w)
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, len(o.content)))
	w.Header().Set("Content-Length", strconv.Itoa(end-start))
	w.WriteHeader(http.StatusPartialContent)
	w.Write(o.content[start:min(end, start+cut)])
	if start+cut < end {
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

// asked returns the range that a request asks for.
func asked(r *http.Request) (start, end int) {
	first, last, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	start, _ = strconv.Atoi(first)
	end, _ = strconv.Atoi(last)
	return start, end + 1
}

type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.sent.Add(int64(n))
	return n, err
}

func (w *countingWriter) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

// newEngine returns an engine that is quick to try again.
func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff, cfg.MaxBackoff = time.Millisecond, 20*time.Millisecond
	}
	if cfg.Transport == nil {
		tr := http.DefaultTransport.(*http.Transport).Clone()
		tr.MaxIdleConnsPerHost = 64
		t.Cleanup(tr.CloseIdleConnections)
		cfg.Transport = tr
	}
	e := New(cfg)
	t.Cleanup(e.Close)
	return e
}

// lockedBuffer collects log lines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
