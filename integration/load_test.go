package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// A throng is many clients of one agent at once: most ask in turn and think in
// between, the others are slow.
type throng struct {
	*site
	client *http.Client
	ids    []string

	asking sync.WaitGroup
	mu     sync.Mutex // guards took
	took   []time.Duration

	wrong             atomic.Int64 // answers that were not right
	slow, shut, taken atomic.Int64 // slow senders, how many of them were shut out, bytes that slow readers took
}

func newThrong(s *site) *throng {
	transport := &http.Transport{MaxIdleConnsPerHost: 2000}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &throng{site: s, client: &http.Client{Transport: transport}}
}

// queue has the agent accept n downloads, which a cloud of their own refuses
// to list, so that they stay in the list and cost no more.
func (c *throng) queue(n int) {
	t := c.t
	t.Helper()
	type request struct {
		URL string `json:"url"`
	}
	for first := 0; first < n; first += 5000 {
		var all []request
		for i := first; i < min(n, first+5000); i++ {
			all = append(all, request{linkTo(i)})
		}
		data, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		c.drop(fmt.Sprintf("history %d.masvlink", first), string(data))
	}
	c.until("all are in the list, and settled", func() bool {
		all := c.list()
		if len(all) < n {
			return false
		}
		c.ids = c.ids[:0]
		for _, d := range all {
			if d.State == "transferring" {
				return false
			}
			c.ids = append(c.ids, d.ID)
		}
		return true
	})
}

// ask makes one request of a kind, and looks at what comes.
func (c *throng) ask(ctx context.Context, random *rand.Rand, dashboard bool) {
	id := c.ids[random.IntN(len(c.ids))]
	path := "/downloads/" + id
	switch {
	case dashboard:
		path = "/downloads"
	case random.IntN(10) == 0:
		path = "/downloads?state=transferring"
	}
	r, err := http.NewRequestWithContext(ctx, "GET", c.address+"/api/v1"+path, nil)
	if err != nil {
		panic(err)
	}
	began := time.Now()
	resp, err := c.client.Do(r)
	var data []byte
	if err == nil {
		data, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if ctx.Err() != nil {
		return
	}
	took := time.Since(began)
	right := err == nil && resp.StatusCode == 200 && json.Valid(data)
	if dashboard {
		right = right && bytes.Count(data, []byte(`"download_id"`)) >= len(c.ids)
	} else if !strings.Contains(path, "?") {
		right = right && bytes.Contains(data, []byte(id))
	}
	if !right {
		c.wrong.Add(1)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took = append(c.took, took)
}

// come has them all come, until ctx ends. Of a thousand, 25 look at the whole
// list, 100 take answers slowly, 150 send requests slowly, 25 do nothing.
func (c *throng) come(ctx context.Context, n int) {
	host := strings.TrimPrefix(c.address, "http://")
	for i := range n {
		random := rand.New(rand.NewPCG(uint64(i), 6))
		rest := func(d time.Duration) {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(random.Int64N(int64(2 * d)))):
			}
		}
		c.asking.Go(func() {
			rest(time.Second)
			switch part := i * 40 / n; {
			case part < 1:
				for ctx.Err() == nil {
					c.ask(ctx, random, true)
					rest(20 * time.Second)
				}
			case part < 5:
				for ctx.Err() == nil {
					c.takeSlowly(ctx, host)
				}
			case part < 9:
				c.slow.Add(1)
				c.sendSlowly(ctx, host, "GET /api/v1/downloads HTTP/1.1\r\nHost: localhost\r\nX: ")
			case part < 11:
				c.slow.Add(1)
				c.sendSlowly(ctx, host, "POST /api/v1/downloads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n")
			case part < 12:
				if conn, err := net.Dial("tcp", host); err == nil {
					<-ctx.Done()
					conn.Close()
				}
			default:
				for ctx.Err() == nil {
					c.ask(ctx, random, false)
					rest(2 * time.Second)
				}
			}
		})
	}
}

// takeSlowly asks for a long answer and takes a little of it now and then.
func (c *throng) takeSlowly(ctx context.Context, host string) {
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(conn, "GET /api/v1/downloads HTTP/1.1\r\nHost: localhost\r\n\r\n")
	buf := make([]byte, 1<<10)
	for ctx.Err() == nil {
		n, err := conn.Read(buf)
		c.taken.Add(int64(n))
		if err != nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// sendSlowly begins a request and never gets to its end, until it is shut out.
func (c *throng) sendSlowly(ctx context.Context, host, request string) {
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := io.WriteString(conn, request); err != nil {
		return
	}
	go func() {
		for {
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
			time.Sleep(300 * time.Millisecond)
		}
	}()
	io.Copy(io.Discard, conn)
	if ctx.Err() == nil {
		c.shut.Add(1)
	}
}

// median returns how long answers took, at the median and at the 99th of 100.
func (c *throng) median() (half, most time.Duration, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.took) == 0 {
		return 0, 0, 0
	}
	slices.Sort(c.took)
	return c.took[len(c.took)/2], c.took[len(c.took)*99/100], len(c.took)
}

// busy is a site with so many downloads in its list, and a cloud that has one
// more, which is large.
func busy(t testing.TB, downloads int, size int64) (c *throng, link masvtest.Link) {
	history := &misdeed{name: "refused", at: "link", answer: func(w io.Writer) {
		io.WriteString(w, "HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	}}
	all := make([]*misdeed, downloads)
	for i := range all {
		all[i] = history
	}
	s := newSite(t, false)
	link = s.cloud.AddPackage(masvtest.Package{Name: "Under way", Files: []masvtest.File{{Name: "large", Size: size}}})
	cloud := s.cloud.URL
	s.extra = []string{"--api-url", newSpite(t, all).address}
	c = newThrong(s)
	s.start()
	c.queue(downloads)
	s.signal(syscall.SIGTERM)
	s.extra = []string{"--api-url", cloud}
	s.start()
	return c, link
}

// TestAThrongIsServedAndHoldsNothingUp has a thousand clients come to an agent
// that has ten thousand downloads in its list and one under way, and 200 link
// files at once. Every answer is right, slow senders are shut out, memory is
// bounded, every link is taken and every byte is right.
func TestAThrongIsServedAndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	c, link := busy(t, 10_000, 64<<20)
	c.cloud.SetRate(1 << 20)
	id := c.add(link, "")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c.come(ctx, 1000)
	files := make([]masvtest.Link, 200)
	for i := range files {
		files[i] = c.cloud.AddPackage(masvtest.Package{Name: fmt.Sprint("Dropped ", i), Files: []masvtest.File{{Name: "f", Size: 100}}})
	}
	for i, f := range files {
		c.drop(fmt.Sprintf("link %d.masvlink", i), f.URL()+"\n")
	}
	c.until("all 200 link files are accepted", func() bool {
		taken, err := os.ReadDir(filepath.Join(c.inbox, "accepted"))
		return err == nil && len(taken) >= 202
	})
	c.until("slow senders are shut out", func() bool { return c.slow.Load() == 150 && c.shut.Load() == 150 })
	c.cloud.SetRate(0)
	d := c.waitFor(id, "complete")
	sameContent(t, filepath.Join(d.Path, "large"), c.cloud.File(link, 0))
	c.until("all are complete", func() bool {
		var complete []download
		c.call("GET", "/downloads?state=complete", "", &complete)
		return len(complete) == 201
	})
	peak := c.peak()
	stop()
	c.asking.Wait()
	half, most, n := c.median()
	t.Logf("%d answers, half of them within %v, 99 of 100 within %v; slow readers took %d KiB; %d MiB of memory at most", n, half, most, c.taken.Load()>>10, peak>>20)
	if wrong := c.wrong.Load(); wrong > 0 || n < 1000 || c.taken.Load() == 0 {
		t.Errorf("%d of %d answers were wrong", wrong, n)
	}
	if peak > 320<<20 {
		t.Errorf("%d MiB of memory were needed", peak>>20)
	}
	c.signal(syscall.SIGTERM)
}
