package masvtest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

func TestStorageServesRanges(t *testing.T) {
	const size = 1000
	c := start(t)
	_, u := c.one(masvtest.File{Name: "a", Size: size, Seed: 5})
	_, empty := c.one(masvtest.File{Name: "e"})
	for name, test := range map[string]struct {
		url, header  string
		status       int
		from, length int64
		contentRange string
	}{
		"no range":                            {url: u, status: 200, length: size},
		"the first byte":                      {url: u, header: "bytes=0-0", status: 206, length: 1, contentRange: "bytes 0-0/1000"},
		"a range in the middle":               {url: u, header: "bytes=123-456", status: 206, from: 123, length: 334, contentRange: "bytes 123-456/1000"},
		"an open end":                         {url: u, header: "bytes=990-", status: 206, from: 990, length: 10, contentRange: "bytes 990-999/1000"},
		"an end past the end":                 {url: u, header: "bytes=990-5000", status: 206, from: 990, length: 10, contentRange: "bytes 990-999/1000"},
		"an end past all numbers":             {url: u, header: "bytes=990-99999999999999999999999", status: 206, from: 990, length: 10, contentRange: "bytes 990-999/1000"},
		"a suffix":                            {url: u, header: "bytes=-7", status: 206, from: 993, length: 7, contentRange: "bytes 993-999/1000"},
		"a suffix longer than all":            {url: u, header: "bytes=-7000", status: 206, length: size, contentRange: "bytes 0-999/1000"},
		"a start at the end":                  {url: u, header: "bytes=1000-", status: 416, contentRange: "bytes */1000"},
		"a start past the end":                {url: u, header: "bytes=1001-1002", status: 416, contentRange: "bytes */1000"},
		"a suffix of nothing":                 {url: u, header: "bytes=-0", status: 416, contentRange: "bytes */1000"},
		"an end before its start, so ignored": {url: u, header: "bytes=5-4", status: 200, length: size},
		"two ranges, so ignored":              {url: u, header: "bytes=0-1,3-4", status: 200, length: size},
		"another unit, so ignored":            {url: u, header: "lines=0-1", status: 200, length: size},
		"no numbers, so ignored":              {url: u, header: "bytes=a-b", status: 200, length: size},
		"nothing, so ignored":                 {url: u, header: "bytes=-", status: 200, length: size},
		"a sign, so ignored":                  {url: u, header: "bytes=+1-2", status: 200, length: size},
		"no range of an empty object":         {url: empty, status: 200},
		"a range of an empty object":          {url: empty, header: "bytes=0-", status: 416, contentRange: "bytes */0"},
		"a suffix of an empty object":         {url: empty, header: "bytes=-5", status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if test.header != "" {
				headers = append(headers, "Range: "+test.header)
			}
			r := c.get(test.url, headers...).want(t, test.status)
			if got := r.header.Get("Content-Range"); got != test.contentRange {
				t.Errorf("Content-Range %q, want %q", got, test.contentRange)
			}
			if test.status != 416 && string(r.body) != content(5, test.from, test.length) {
				t.Errorf("%d bytes that are not the range", len(r.body))
			}
			if test.status != 416 && r.header.Get("Content-Length") != fmt.Sprint(test.length) {
				t.Errorf("Content-Length %q", r.header.Get("Content-Length"))
			}
		})
	}
}

func TestStorageDescribesTheObject(t *testing.T) {
	c := start(t)
	at := time.Date(2019, 2, 3, 21, 34, 13, 500, time.UTC)
	_, u := c.one(masvtest.File{Name: "a", Size: 250 << 20, LastModified: at})
	h := c.do(http.MethodHead, u, "Range: bytes=0-9").want(t, 200).header // RFC 9110 defines ranges for GET alone
	if !regexp.MustCompile(`^"[0-9a-f]{32}-3"$`).MatchString(h.Get("ETag")) {
		t.Errorf("ETag %s is not that of an upload in three parts", h.Get("ETag"))
	}
	if got := [3]string{h.Get("Last-Modified"), h.Get("Accept-Ranges"), h.Get("Content-Length")}; got != [3]string{"Sun, 03 Feb 2019 21:34:13 GMT", "bytes", "262144000"} {
		t.Errorf("headers %q", got)
	}
	if got := c.Stats().Served; got != 0 {
		t.Errorf("HEAD served %d bytes", got)
	}
}

func TestConditionsGuardTheVersion(t *testing.T) {
	c := start(t)
	l, u := c.one(masvtest.File{Name: "a", Size: 100, Seed: 1, LastModified: time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)})
	first := c.get(u).want(t, 200).header
	etag, modified := first.Get("ETag"), first.Get("Last-Modified")
	ranged := "Range: bytes=10-19"
	c.get(u, ranged, "If-Range: "+etag).want(t, 206)
	c.get(u, ranged, "If-Range: "+modified).want(t, 206)
	c.get(u, ranged, "If-Range: W/"+etag).want(t, 200)
	c.get(u, ranged, "If-Range: Thu, 02 Jan 2020 03:04:06 GMT").want(t, 200)
	c.get(u, ranged, "If-Match: "+etag).want(t, 206)
	c.get(u, ranged, `If-Match: "x", `+etag).want(t, 206)
	c.get(u, ranged, "If-Match: *").want(t, 206)
	c.get(u, ranged, "If-Match: W/"+etag).want(t, 412)

	c.Replace(l, 0, 2)
	r := c.get(u, ranged, "If-Range: "+etag).want(t, 200)
	if string(r.body) != content(2, 0, 100) || r.header.Get("ETag") == etag {
		t.Error("the new version is not served whole under an ETag of its own")
	}
	c.get(u, "Range: bytes=200-", "If-Range: "+etag).want(t, 200)
	c.get(u, ranged, "If-Match: "+etag).want(t, 412)
	if f := c.File(l, 0); f.Seed != 2 {
		t.Errorf("File tells seed %d", f.Seed)
	}
}

func TestStorageURLsAreCheckedAndExpire(t *testing.T) {
	at := newClock()
	c := start(t, masvtest.WithClock(at.now))
	l := c.AddPackage(masvtest.Package{URLLife: time.Minute, Files: []masvtest.File{{Name: "a", Size: 10}, {Name: "b", Size: 10}}})
	u := c.object(l, 0)
	refused := func(u, code string) {
		t.Helper()
		r := c.get(u).want(t, 403)
		if r.header.Get("Content-Type") != "application/xml" || !strings.Contains(string(r.body), "<Error><Code>"+code+"</Code><Message>") {
			t.Errorf("body %s", r.body)
		}
	}
	c.get(u).want(t, 200)
	refused(u[:len(u)-1]+"g", "SignatureDoesNotMatch")
	refused(strings.Replace(u, "expires=1", "expires=2", 1), "SignatureDoesNotMatch")
	refused(strings.Replace(u, c.File(l, 0).ID, c.File(l, 1).ID, 1), "SignatureDoesNotMatch")
	refused(c.StorageURL+"/", "SignatureDoesNotMatch")

	at.move(time.Minute)
	refused(u, "AccessDenied")
	u = c.object(l, 0)
	c.get(u).want(t, 200)
	c.ExpireURLs(l)
	refused(u, "AccessDenied")
	c.get(c.object(l, 0)).want(t, 200)

	if r := c.do(http.MethodPut, c.object(l, 0)).want(t, 405); r.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow %q", r.header.Get("Allow"))
	}
}

func TestStorageRefusesWhatOnlyTheAPIMaySee(t *testing.T) {
	c := start(t)
	l, u := c.one(masvtest.File{Name: "a", Size: 10})
	for _, name := range []string{"X-Package-Token", "X-Link-Password", "Authorization", "Cookie", "Referer"} {
		if r := c.get(u, name+": hush"); !strings.Contains(string(r.want(t, 400).body), name) {
			t.Errorf("%s: %s", name, r.body)
		}
	}
	c.get(u+"&secret="+l.Secret).want(t, 400)
	c.get(c.StorageURL+"/anywhere?secret=x").want(t, 400)
	got := c.Stats()
	if want := []string{"Authorization", "Cookie", "Referer", "X-Link-Password", "X-Package-Token", "secret"}; got.Leaks != 7 || !slices.Equal(got.Leaked, want) {
		t.Errorf("%d leaks of %q", got.Leaks, got.Leaked)
	}
	if c.get(u).want(t, 200); c.Stats().Leaks != 7 {
		t.Error("a clean request counts as a leak")
	}
}

func TestFilesHaveContentOfTheirOwn(t *testing.T) {
	c := start(t)
	p := masvtest.Package{Files: []masvtest.File{{Name: "a", Size: 64}, {Name: "b", Size: 64}}}
	l, other := c.AddPackage(p), c.AddPackage(p)
	seen := map[string]bool{}
	for _, u := range []string{c.object(l, 0), c.object(l, 1), c.object(other, 0)} {
		seen[string(c.get(u).want(t, 200).body)] = true
	}
	if len(seen) != 3 {
		t.Error("two files have the same content")
	}
	if got := c.get(c.object(l, 1)); string(got.body) != content(c.File(l, 1).Seed, 0, 64) {
		t.Error("the content is not that of the seed that File tells")
	}
}

func TestContentComesFromAReader(t *testing.T) {
	c := start(t)
	text := strings.Repeat("0123456789", 50_000)
	closed := make(chan struct{}, 9)
	_, u := c.one(masvtest.File{Name: "a", Size: int64(len(text)), Open: func() (io.ReaderAt, io.Closer, error) {
		return strings.NewReader(text), closer(func() { closed <- struct{}{} }), nil
	}})
	if got := c.get(u, "Range: bytes=3-400000").want(t, 206).body; !bytes.Equal(got, []byte(text[3:400_001])) {
		t.Errorf("%d bytes that are not the range", len(got))
	}
	<-closed
}

func TestContentLiesElsewhere(t *testing.T) {
	c := start(t)
	const elsewhere = "https://storage.example.org/a%20b?signature=1"
	if _, u := c.one(masvtest.File{Name: "a", Size: 3, URL: elsewhere}); u != elsewhere {
		t.Errorf("the file's URL is %s", u)
	}
}

type closer func()

func (c closer) Close() error { c(); return nil }

func TestLargeObjectArrivesWhole(t *testing.T) {
	const size = 9<<20 + 13
	for name, opts := range map[string][]masvtest.Option{"in the clear": nil, "over TLS": {masvtest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			c := start(t, opts...)
			_, u := c.one(masvtest.File{Name: "a", Size: size, Seed: 4})
			got := c.get(u).want(t, 200).body
			want := make([]byte, size)
			masvtest.Content(4, 0, want)
			if !bytes.Equal(got, want) {
				t.Error("it is not what was sent")
			}
		})
	}
}

func BenchmarkStorage(b *testing.B) {
	for name, opts := range map[string][]masvtest.Option{"clear": nil, "TLS": {masvtest.WithTLS()}} {
		b.Run(name, func(b *testing.B) {
			const size = 256 << 20
			c := start(b, opts...)
			_, u := c.one(masvtest.File{Name: "a", Size: size})
			b.SetBytes(size)
			buffer := make([]byte, 256<<10)
			for range b.N {
				resp, err := c.client.Get(u)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buffer); n != size || err != nil {
					b.Fatal(n, err)
				}
				resp.Body.Close()
			}
		})
	}
}
