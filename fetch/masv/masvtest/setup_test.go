package masvtest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// cloud is a server and a client that shows what it is told: it follows no
// redirect and undoes no compression.
type cloud struct {
	*masvtest.Server
	t      testing.TB
	client *http.Client
}

func start(t testing.TB, opts ...masvtest.Option) *cloud {
	t.Helper()
	s := masvtest.NewServer(opts...)
	client := s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Transport.(*http.Transport).DisableCompression = true
	t.Cleanup(func() {
		client.CloseIdleConnections()
		s.Close()
	})
	return &cloud{s, t, client}
}

// reply is an answer as it arrived; err is what ended it before its end.
type reply struct {
	status int
	header http.Header
	body   []byte
	proto  string
	err    error
}

// do sends a request with headers given as "Name: value".
func (c *cloud) do(method, url string, headers ...string) reply {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, body, resp.Proto, err}
}

func (c *cloud) get(url string, headers ...string) reply {
	c.t.Helper()
	return c.do(http.MethodGet, url, headers...)
}

// want fails the test unless the answer arrived, with that status.
func (r reply) want(t testing.TB, status int) reply {
	t.Helper()
	if r.err != nil {
		t.Fatalf("no whole answer (%d, %d bytes): %v", r.status, len(r.body), r.err)
	}
	if r.status != status {
		t.Fatalf("status %d, want %d; body %q", r.status, status, r.body)
	}
	return r
}

func (c *cloud) linkURL(l masvtest.Link) string {
	return c.URL + "/links/" + l.ID + "?secret=" + l.Secret
}

func (c *cloud) listingURL(l masvtest.Link) string {
	return c.URL + "/packages/" + l.PackageID + "/files"
}

func (c *cloud) fileURL(l masvtest.Link, i int) string {
	return c.listingURL(l) + "/" + c.File(l, i).ID + "/download"
}

// token makes the link call, and returns the header that authorises the rest.
func (c *cloud) token(l masvtest.Link, headers ...string) string {
	c.t.Helper()
	var answer struct {
		Token string `json:"package_token"`
	}
	decode(c.t, c.get(c.linkURL(l), headers...).want(c.t, 200).body, &answer)
	return "X-Package-Token: " + answer.Token
}

// object returns the storage URL of file i.
func (c *cloud) object(l masvtest.Link, i int) string {
	c.t.Helper()
	var answer struct {
		URL string `json:"url"`
	}
	decode(c.t, c.get(c.fileURL(l, i), c.token(l)).want(c.t, 200).body, &answer)
	return answer.URL
}

// one shares a package of one file, and returns the file's URL.
func (c *cloud) one(f masvtest.File) (masvtest.Link, string) {
	c.t.Helper()
	l := c.AddPackage(masvtest.Package{Name: "One", Files: []masvtest.File{f}})
	return l, c.object(l, 0)
}

func decode(t testing.TB, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
}

func content(seed uint64, offset, length int64) string {
	p := make([]byte, length)
	masvtest.Content(seed, offset, p)
	return string(p)
}

// eventually waits until a condition holds that another goroutine brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// clock is a time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// cutShort reports whether an answer ended early, as its reader is told.
func cutShort(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
