package transfer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// plainStorage answers with ranges of one buffer, fast.
func plainStorage(b *testing.B, size int64) *httptest.Server {
	chunk := content(1, 1<<20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, end := int64(0), size
		status := http.StatusOK
		if r.Header.Get("Range") != "" {
			s, e := asked(r)
			start, end, status = int64(s), int64(e), http.StatusPartialContent
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, size))
		}
		w.Header().Set("ETag", `"v"`)
		w.Header().Set("Content-Length", strconv.FormatInt(end-start, 10))
		w.WriteHeader(status)
		for n := end - start; n > 0; {
			k, err := w.Write(chunk[:min(n, int64(len(chunk)))])
			if err != nil {
				return
			}
			n -= int64(k)
		}
	}))
	b.Cleanup(srv.Close)
	return srv
}

// benchSupply hands out files that are all the same object.
type benchSupply struct {
	b      *testing.B
	folder string
	url    string
	size   int64
	count  int
	given  int
}

func (s *benchSupply) Written(*File, Arrived) {}

func (s *benchSupply) Next(context.Context) (*File, error) {
	if s.given == s.count {
		return nil, nil
	}
	s.given++
	sink, err := os.Create(filepath.Join(s.folder, fmt.Sprint(s.given)))
	return &File{ID: int64(s.given), Size: s.size, Source: s, Sink: sink}, err
}

func (s *benchSupply) URL(context.Context, string) (string, error) { return s.url, nil }
func (s *benchSupply) Done(f *File, err error) {
	if err != nil {
		s.b.Error(err)
	}
	f.Sink.Close()
}
func (s *benchSupply) Moved(*File, int64)                               {}
func (s *benchSupply) Checkpoint(context.Context, *File, Arrived) error { return nil }

// BenchmarkOneLargeFile compares 16 connections with a plain copy of one; the
// ratio is what carries to another machine.
func BenchmarkOneLargeFile(b *testing.B) {
	const size = 1 << 30
	srv := plainStorage(b, size)
	e := New(Config{Connections: 16})
	defer e.Close()
	folder := b.TempDir()
	var ours, plain time.Duration
	b.SetBytes(size)
	for b.Loop() {
		begun := time.Now()
		if err := e.Run(b.Context(), Job{Supply: &benchSupply{b: b, folder: folder, url: srv.URL, size: size, count: 1}}); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(begun)
		os.Remove(filepath.Join(folder, "1"))

		b.StopTimer()
		begun = time.Now()
		resp, err := http.Get(srv.URL)
		if err != nil {
			b.Fatal(err)
		}
		out, err := os.Create(filepath.Join(folder, "plain"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(struct{ io.Writer }{out}, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
		out.Close()
		plain += time.Since(begun)
		os.Remove(out.Name())
		b.StartTimer()
	}
	b.ReportMetric(ours.Seconds()/plain.Seconds(), "of-plain-copy")
}

func BenchmarkManySmallFiles(b *testing.B) {
	const size, count = 16 << 10, 2000
	srv := plainStorage(b, size)
	e := New(Config{Connections: 16})
	defer e.Close()
	b.SetBytes(size * count)
	for b.Loop() {
		if err := e.Run(b.Context(), Job{Supply: &benchSupply{b: b, folder: b.TempDir(), url: srv.URL, size: size, count: count}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count*b.N)/b.Elapsed().Seconds(), "files/s")
}
