package masvtest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

const (
	size = 1 << 20
	seed = 77
)

// faulty returns a cloud with one object whose storage has the given fault.
func faulty(t testing.TB, fault *masvtest.Fault) (*cloud, string) {
	t.Helper()
	c := start(t)
	_, u := c.one(masvtest.File{Name: "a", Size: size, Seed: seed})
	c.Fault(masvtest.On(masvtest.CallStorage, fault))
	return c, u
}

func TestStatusInPlaceOfTheAnswer(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{Files: []masvtest.File{{Name: "a", Size: 10}}})
	token, object := c.token(l), c.object(l, 0)
	for call, u := range map[masvtest.Call]string{
		masvtest.CallLink: c.linkURL(l), masvtest.CallListing: c.listingURL(l),
		masvtest.CallFileURL: c.fileURL(l, 0), masvtest.CallStorage: object,
	} {
		t.Run(call.String(), func(t *testing.T) {
			var headers []string
			if call != masvtest.CallStorage {
				headers = append(headers, token)
			}
			c.Fault(masvtest.On(call, masvtest.Busy(503, 1500*time.Millisecond)))
			r := c.get(u, headers...).want(t, 503)
			if r.header.Get("Retry-After") != "2" || len(r.body) == 0 {
				t.Errorf("Retry-After %q, body %q", r.header.Get("Retry-After"), r.body)
			}
			c.Fault(masvtest.On(call, masvtest.HTML(502)))
			if r := c.get(u, headers...).want(t, 502); !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") || !bytes.HasPrefix(r.body, []byte("<!DOCTYPE")) {
				t.Errorf("%v %q", r.header, r.body)
			}
			c.Fault(masvtest.On(call, masvtest.JSON(`{"nonsense":[`)))
			if r := c.get(u, headers...).want(t, 200); json.Valid(r.body) {
				t.Errorf("body %s", r.body)
			}
			c.Fault(nil)
			c.get(u, headers...).want(t, 200)
		})
	}
	if got := c.LinkStats(l); got.Initiated != 3 || got.Calls != 6 {
		t.Errorf("%+v: calls that failed count as downloads begun, or do not count as calls", got)
	}
}

func TestAnswersEndEarly(t *testing.T) {
	const n = 300_000
	for name, test := range map[string]struct {
		fault     *masvtest.Fault
		min, max  int // bytes of the body
		header    bool
		connreset bool
	}{
		"reset before the answer": {fault: masvtest.Reset(), connreset: true},
		"reset after the header":  {fault: masvtest.ResetAfter(0), connreset: true},
		"reset in the body":       {fault: masvtest.ResetAfter(n), max: n, connreset: true},
		"closed after the header": {fault: masvtest.Truncate(0), header: true},
		"closed in the body":      {fault: masvtest.Truncate(n), min: n, max: n, header: true},
		"closed before the end":   {fault: masvtest.Truncate(size - 1), min: size - 1, max: size - 1, header: true},
	} {
		t.Run(name, func(t *testing.T) {
			c, u := faulty(t, test.fault)
			c.client.Transport.(*http.Transport).DisableKeepAlives = true // net/http retries on its own else
			r := c.get(u)
			if test.connreset && !errors.Is(r.err, syscall.ECONNRESET) || !test.connreset && !cutShort(r.err) {
				t.Errorf("the client is told: %v", r.err)
			}
			if len(r.body) < test.min || len(r.body) > test.max || test.header && r.status != 200 {
				t.Errorf("status %d, %d bytes", r.status, len(r.body))
			}
			if string(r.body) != content(seed, 0, int64(len(r.body))) {
				t.Error("what arrived is not the beginning")
			}
		})
	}
}

func TestAPIAnswersEndEarly(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{AccessLimit: 2, Count: 5000, Generate: func(i int) masvtest.File { return masvtest.File{Name: fmt.Sprint(i)} }})
	token := c.token(l)

	c.Fault(masvtest.On(masvtest.CallListing, masvtest.Cut(100_000)))
	if r := c.get(c.listingURL(l), token).want(t, 200); len(r.body) != 100_000 || json.Valid(r.body) {
		t.Errorf("%d bytes", len(r.body))
	}
	c.Fault(masvtest.On(masvtest.CallListing, masvtest.Truncate(100_000)))
	if r := c.get(c.listingURL(l), token); len(r.body) != 100_000 || !cutShort(r.err) {
		t.Errorf("%d bytes, %v", len(r.body), r.err)
	}
	c.Fault(masvtest.On(masvtest.CallLink, masvtest.Reset()))
	if r := c.get(c.linkURL(l)); r.err == nil || c.LinkStats(l).Initiated != 1 {
		t.Errorf("a reset in place of the answer: %v, %+v", r.err, c.LinkStats(l))
	}
	c.Fault(masvtest.On(masvtest.CallLink, masvtest.Truncate(20)))
	if r := c.get(c.linkURL(l)); !cutShort(r.err) || len(r.body) != 20 || c.LinkStats(l).Initiated != 2 {
		t.Errorf("an answer lost on its way: %v, %q, %+v", r.err, r.body, c.LinkStats(l))
	}
	if got := c.Stats().Link.Status; got[0] == 0 {
		t.Errorf("answers without a status are not counted: %v", got)
	}
}

func TestStallLastsUntilItIsReleased(t *testing.T) {
	const n = 5000
	release := make(chan struct{})
	c, u := faulty(t, masvtest.StallAfter(n, release))
	resp, err := c.client.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	head := make([]byte, n)
	if _, err := io.ReadFull(resp.Body, head); err != nil || string(head) != content(seed, 0, n) {
		t.Fatalf("before the stall: %v", err)
	}
	if got := c.Stats().Served; got != n {
		t.Fatalf("%d bytes were served before the stall, want %d", got, n)
	}
	close(release)
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != content(seed, n, size-n) {
		t.Errorf("after the stall: %d bytes, %v", len(rest), err)
	}
}

func TestStallLastsUntilTheClientGivesUp(t *testing.T) {
	for name, fault := range map[string]*masvtest.Fault{
		"before the answer": masvtest.Stall(), "after the header": masvtest.StallAfter(0, nil), "in the body": masvtest.StallAfter(10, nil),
	} {
		t.Run(name, func(t *testing.T) {
			c, u := faulty(t, fault)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := c.client.Do(req); err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the body ended with %v", err)
				}
			}
			eventually(t, "the server to notice", func() bool { return c.Stats().Objects.Open == 0 })
		})
	}
}

func TestStallLastsForATime(t *testing.T) {
	c, u := faulty(t, &masvtest.Fault{Ending: masvtest.EndStall, After: 100, StallFor: time.Millisecond})
	if r := c.get(u).want(t, 200); string(r.body) != content(seed, 0, size) {
		t.Error("the rest did not follow")
	}
}

func TestWrongAnswersToARange(t *testing.T) {
	const from, n = 1000, 5000
	honest := fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, size)
	for name, test := range map[string]struct {
		fault        *masvtest.Fault
		status       int
		contentRange string
		body         string
	}{
		"the whole object":         {masvtest.Whole(), 200, "", content(seed, 0, size)},
		"another range":            {masvtest.WrongRange(10), 206, fmt.Sprintf("bytes %d-%d/%d", from+10, from+n+9, size), content(seed, from+10, n)},
		"a range before the start": {masvtest.WrongRange(-size), 206, fmt.Sprintf("bytes 0-%d/%d", n-1, size), content(seed, 0, n)},
		"a wrong Content-Range":    {masvtest.WrongContentRange("bytes 0-1/2"), 206, "bytes 0-1/2", content(seed, from, n)},
		"no Content-Range":         {masvtest.WrongContentRange(""), 206, "", content(seed, from, n)},
		"too few bytes":            {masvtest.WrongLength(-1), 206, honest, content(seed, from, n-1)},
		"too many bytes":           {masvtest.WrongLength(7), 206, honest, content(seed, from, n+7)},
		"another version":          {masvtest.NewVersion(78), 206, honest, content(78, from, n)},
		"a late answer":            {masvtest.Delay(time.Millisecond), 206, honest, content(seed, from, n)},
		"a slow answer":            {masvtest.Slow(1 << 20), 206, honest, content(seed, from, n)},
	} {
		t.Run(name, func(t *testing.T) {
			c, u := faulty(t, test.fault)
			r := c.get(u, fmt.Sprintf("Range: bytes=%d-%d", from, from+n-1)).want(t, test.status)
			if got := r.header.Get("Content-Range"); got != test.contentRange {
				t.Errorf("Content-Range %q, want %q", got, test.contentRange)
			}
			if string(r.body) != test.body {
				t.Errorf("%d bytes, want %d others", len(r.body), len(test.body))
			}
			if got := r.header.Get("Content-Length"); got != fmt.Sprint(len(test.body)) {
				t.Errorf("Content-Length %s", got)
			}
		})
	}
}

func TestTooManyBytesPastTheEndOfTheObject(t *testing.T) {
	c := start(t)
	_, u := c.one(masvtest.File{Name: "a", Size: 3, Open: func() (io.ReaderAt, io.Closer, error) {
		return strings.NewReader("abc"), nil, nil
	}})
	c.Fault(masvtest.On(masvtest.CallStorage, masvtest.WrongLength(2)))
	if r := c.get(u).want(t, 200); string(r.body) != "abc\x00\x00" {
		t.Errorf("%q", r.body)
	}
}

func TestNewVersionStays(t *testing.T) {
	c, u := faulty(t, nil)
	etag := c.get(u).want(t, 200).header.Get("ETag")
	c.Fault(masvtest.Times(1, masvtest.On(masvtest.CallStorage, masvtest.NewVersion(78))))
	for range 2 {
		r := c.get(u).want(t, 200)
		if string(r.body) != content(78, 0, size) || r.header.Get("ETag") == etag {
			t.Error("the old version is served, or its ETag")
		}
	}
}

func TestWrongETag(t *testing.T) {
	c, u := faulty(t, masvtest.WrongETag(`"x"`))
	if got := c.get(u).want(t, 200).header.Get("ETag"); got != `"x"` {
		t.Errorf("ETag %s", got)
	}
	c.Fault(masvtest.On(masvtest.CallStorage, masvtest.WrongETag("")))
	if got, ok := c.get(u).want(t, 200).header["Etag"]; ok {
		t.Errorf("ETag %s", got)
	}
}

func TestGzipThoughNotAsked(t *testing.T) {
	c, u := faulty(t, masvtest.Gzip())
	r := c.get(u, "Range: bytes=10-999").want(t, 206)
	if r.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("headers %v", r.header)
	}
	z, err := gzip.NewReader(bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || string(got) != content(seed, 10, 990) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestRedirects(t *testing.T) {
	other := start(t)
	c, u := faulty(t, masvtest.Redirect(307, other.StorageURL))
	path := strings.TrimPrefix(u, c.StorageURL)
	if got := c.get(u).want(t, 307).header.Get("Location"); got != other.StorageURL+path {
		t.Errorf("Location %s", got)
	}
	c.Fault(masvtest.On(masvtest.CallStorage, masvtest.Redirect(302, "self")))
	hops := 0
	follows := &http.Client{Transport: c.client.Transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		req.Header.Del("Referer") // net/http sets it, and it would be a leak
		if hops = len(via); hops == 10 {
			return errors.New("too many hops")
		}
		return nil
	}}
	if _, err := follows.Get(u); err == nil || hops != 10 {
		t.Errorf("a loop ends with %v", err)
	}
	c.Fault(masvtest.Times(1, masvtest.On(masvtest.CallStorage, masvtest.Redirect(302, "self"))))
	resp, err := follows.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d after one redirect", resp.StatusCode)
	}
}
