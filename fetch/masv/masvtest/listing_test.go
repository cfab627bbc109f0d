package masvtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

func TestListingIsWhatTheSenderSent(t *testing.T) {
	c := start(t)
	at := time.Date(2019, 2, 3, 21, 34, 13, 0, time.UTC)
	l := c.AddPackage(masvtest.Package{Files: []masvtest.File{
		{ID: "01D2TMGA09VHKVW6G3MJH2EP57", Name: "Hawaii.jpg", Path: "Day 1/Cam A", Size: 14914472, LastModified: at},
		{Kind: "directory", Name: "Empty folder", Path: "Day 1"},
		{Kind: "zip_windows", Name: "package.zip", Size: 9, LastModified: at},
		{Kind: "hologram", Name: "x", VirusDetected: true},
	}})
	got := string(c.get(c.listingURL(l), c.token(l)).want(t, 200).body)
	id := func(i int) string { return c.File(l, i).ID }
	want := `[{"id":"01D2TMGA09VHKVW6G3MJH2EP57","kind":"file","name":"Hawaii.jpg","path":"Day 1/Cam A","size":14914472,"last_modified":"2019-02-03T21:34:13.000Z","virus_detected":false},` +
		`{"id":"` + id(1) + `","kind":"directory","name":"Empty folder","path":"Day 1"},` +
		`{"id":"` + id(2) + `","kind":"zip_windows","name":"package.zip","size":9,"last_modified":"2019-02-03T21:34:13.000Z","virus_detected":false},` +
		`{"id":"` + id(3) + `","kind":"hologram","name":"x","size":0,"last_modified":"0001-01-01T00:00:00Z","virus_detected":true}]` + "\n"
	if got != want {
		t.Errorf("listing\n%s\nwant\n%s", got, want)
	}
}

func TestListingOfNothingIsAnEmptyArray(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{})
	if got := string(c.get(c.listingURL(l), c.token(l)).want(t, 200).body); got != "[]\n" {
		t.Errorf("%q", got)
	}
}

func TestHostileNamesArePassedOn(t *testing.T) {
	names := []string{"..", "/etc/passwd", `..\x`, "a\x00b", "", strings.Repeat("n", 5000), "\"\n\t\x1f", "e\u0301", "\u00e9", "A", "a", "a", "\u202egpj.exe", "😀\u2028"}
	var files []masvtest.File
	for _, name := range names {
		files = append(files, masvtest.File{Name: name, Path: name})
	}
	files = append(files, masvtest.File{Name: "bad\xff\xc0"})
	c := start(t)
	l := c.AddPackage(masvtest.Package{Files: files})
	body := c.get(c.listingURL(l), c.token(l)).want(t, 200).body
	var got []struct{ Name, Path string }
	decode(t, body, &got)
	for i, name := range names {
		if got[i].Name != name || got[i].Path != name {
			t.Errorf("%q arrived as %q in %q", name, got[i].Name, got[i].Path)
		}
	}
	if !strings.Contains(string(body), "\"bad\xff\xc0\"") {
		t.Error("invalid UTF-8 did not arrive as it was")
	}
}

func TestMillionFilesAreStreamedAndFoundByID(t *testing.T) {
	const count = 1_000_000
	c := start(t)
	l := c.AddPackage(masvtest.Package{Size: 1, Count: count, Generate: func(i int) masvtest.File {
		return masvtest.File{Name: fmt.Sprintf("%07d.dpx", i), Size: int64(i % 7), Gone: i == 5}
	}})
	token := c.token(l)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.listingURL(l), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Package-Token", strings.TrimPrefix(token, "X-Package-Token: "))
	resp, err := c.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	// Every entry is counted by its separator; decoding them all is a client's test.
	var n int64
	var last []byte
	buffer := make([]byte, 256<<10)
	for {
		m, err := resp.Body.Read(buffer)
		for _, b := range buffer[:m] {
			if b == '{' {
				n++
			}
		}
		last = append(last, buffer[:m]...)
		last = last[max(0, len(last)-300):]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != count {
		t.Errorf("%d entries", n)
	}
	var entry struct{ ID, Name string }
	decode(t, last[strings.LastIndex(string(last), `{"id"`):len(last)-2], &entry)
	if entry.Name != "0999999.dpx" || entry.ID != c.File(l, count-1).ID {
		t.Errorf("the last is %+v", entry)
	}
	c.get(c.listingURL(l)+"/"+entry.ID+"/download", token).want(t, 200)
	c.get(c.fileURL(l, 5), token).want(t, 404)
	c.get(c.fileURL(l, count), token).want(t, 404)
}

func TestFileURL(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{Files: []masvtest.File{
		{Name: "a", Size: 1}, {Kind: "directory", Name: "d"}, {Name: "gone", Gone: true},
		{ID: "odd/id ?#%", Name: "odd", Size: 3, Seed: 9},
	}})
	token := c.token(l)
	var answer map[string]string
	decode(t, c.get(c.fileURL(l, 0), token).want(t, 200).body, &answer)
	if len(answer) != 1 || !strings.HasPrefix(answer["url"], c.StorageURL+"/") {
		t.Errorf("answer %v", answer)
	}
	c.get(c.fileURL(l, 1), token).want(t, 404)
	c.get(c.fileURL(l, 2), token).want(t, 404)
	c.get(c.listingURL(l)+"/01D2TMGA09VHKVW6G3MJH2EP57/download", token).want(t, 404)
	c.get(c.URL+"/packages/"+l.ID+"/files/x/download", token).want(t, 404)
	decode(t, c.get(c.listingURL(l)+"/odd%2Fid%20%3F%23%25/download", token).want(t, 200).body, &answer)
	if got := c.get(answer["url"]).want(t, 200); string(got.body) != content(9, 0, 3) {
		t.Errorf("content of a file with an odd ID: %q", got.body)
	}

	c.Update(l, func(p *masvtest.Package) { p.RedirectFileURL = true })
	r := c.get(c.fileURL(l, 0), token).want(t, 302)
	if c.get(r.header.Get("Location")).want(t, 200); json.Valid(r.body) {
		t.Errorf("a redirect with a body: %q", r.body)
	}
}
