package fetch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"masvfs/fetch/masv"
	"masvfs/fetch/masv/masvtest"
)

// line is a way to the cloud that can be cut, by itself once so many bytes
// have come over it.
type line struct {
	http.RoundTripper
	down  atomic.Bool
	calls atomic.Int64 // while it was down
	left  atomic.Int64 // bytes until it is cut
}

var errCut = errors.New("network is unreachable")

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.down.Load() {
		l.calls.Add(1)
		return nil, errCut
	}
	resp, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = &over{resp.Body, l}
	}
	return resp, err
}

// atOnce is how much each connection gets over a line that is being cut.
const atOnce = 64 << 10

// over is a body that comes over a line.
type over struct {
	io.ReadCloser
	line *line
}

func (o *over) Read(p []byte) (int, error) {
	if o.line.down.Load() {
		return 0, errCut
	}
	n, err := o.ReadCloser.Read(p[:min(len(p), atOnce)])
	if o.line.left.Add(-int64(n)) <= 0 {
		o.line.down.Store(true)
	}
	return n, err
}

// TestHoursOfOutageAreWaitedOut cuts the line for six hours of a clock that is
// not the machine's: before anything is known of a link, and while bytes arrive.
func TestHoursOfOutageAreWaitedOut(t *testing.T) {
	for name, cutAfter := range map[string]int64{"before the link is opened": 0, "while bytes arrive": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			cloud := masvtest.NewServer()
			defer cloud.Close()
			link := cloud.AddPackage(masvtest.Package{Name: "Outage", Files: []masvtest.File{{Name: "a", Size: 8 << 20}, {Name: "b", Size: 1000}}})
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) { waitOut(t, cloud, link, dir, cutAfter) })
		})
	}
}

func waitOut(t *testing.T, cloud *masvtest.Server, link masvtest.Link, dir string, cutAfter int64) {
	// The clock here is years behind that by which the program has started.
	defer func(was time.Time) { started = was }(started)
	started = time.Now()
	// What waits for a connection that is kept would keep the clock from moving.
	l := &line{RoundTripper: &http.Transport{DisableKeepAlives: true}}
	l.left.Store(cutAfter)
	l.down.Store(cutAfter == 0)
	client, err := masv.NewClient(masv.Config{BaseURL: cloud.URL, Transport: l})
	if err != nil {
		t.Fatal(err)
	}
	agent, err := New(Config{
		Database: filepath.Join(dir, "masvfs.db"),
		Cloud:    client,
		Roots:    []string{dir},
		Storage:  l,
		Log:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-done, agent.Close()); err != nil {
			t.Error(err)
		}
	}()
	w := &world{TB: t, cloud: cloud, agent: agent}
	id := w.add(w.request(link)).ID
	const outage = 6 * time.Hour
	time.Sleep(outage)
	d, err := agent.Get(id)
	if err != nil || d.State != Transferring || d.BytesDone > cutAfter+32*atOnce {
		t.Fatalf("after six hours: %+v, %v", d, err)
	}
	// Once in half a minute on average, for each of two files; chance adds to that.
	if n := l.calls.Load(); n < 100 || n > 6*int64(outage/time.Minute) {
		t.Errorf("it called %d times in %v", n, outage)
	}
	l.left.Store(1 << 40)
	l.down.Store(false)
	back := time.Now()
	for d.State != Complete {
		if time.Since(back) > 2*time.Minute {
			t.Fatalf("two minutes after the line is back: %+v", d)
		}
		time.Sleep(time.Second)
		if d, err = agent.Get(id); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		f := cloud.File(link, i)
		w.check(filepath.Join(d.Path, f.Name), f)
	}
	if n := cloud.LinkStats(link).Calls; n != 1 {
		t.Errorf("the link was called %d times", n)
	}
	t.Logf("%d calls in %v, complete %v after", l.calls.Load(), outage, time.Since(back))
}
