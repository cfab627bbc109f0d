package masv

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// decodeAll decodes a whole listing.
func decodeAll(r io.Reader) ([]Entry, error) {
	l := newListing(bufio.NewReader(r))
	var entries []Entry
	for {
		e, err := l.next()
		if err == io.EOF {
			return entries, l.end()
		}
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
}

func FuzzListing(f *testing.F) {
	for _, body := range []string{
		`[]`, `null`, ` [ ] `, `{}`, ``, `[`, `[{}]`, `[null]`, `[{"id":"a"},]`, `[{"id":"a"}] `, `[{"id":"a"}]]`, `[] "`, `[]}`, "<html>",
		`[{"id":"a","kind":"file","name":"x","path":"y","size":1,"last_modified":"2019-02-03T21:34:13.000Z","virus_detected":true},{"ID":"b","size":-1}]`,
		`[{"id":"a","x":[[{"y":"\ud800\u0000"}]]},{"id":"b","size":1e3}]`,
		strings.Repeat("[", 10_001),
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		entries, err := decodeAll(strings.NewReader(string(body)))
		for _, e := range entries {
			if e.ID == "" || e.Size < 0 {
				t.Errorf("an entry that makes no sense came through: %+v", e)
			}
		}
		if bare, again := decodeAll(iotest.OneByteReader(strings.NewReader(string(body)))); len(bare) != len(entries) || (again == nil) != (err == nil) {
			t.Errorf("how the bytes arrive changes what they mean: %d entries, %v; one by one %d, %v", len(entries), err, len(bare), again)
		}
		// What is taken is what the array holds, in its order, no more and no less.
		var whole []struct {
			ID, Name, Path string
			Kind           Kind
			Size           int64
			Virus          bool `json:"virus_detected"`
		}
		if err != nil {
			return
		}
		if json.Unmarshal(body, &whole) != nil || len(whole) != len(entries) {
			t.Fatalf("%d entries came of an array of %d", len(entries), len(whole))
		}
		for i, e := range entries {
			if w := whole[i]; e.ID != w.ID || e.Name != w.Name || e.Path != w.Path || e.Kind != w.Kind || e.Size != w.Size || e.VirusDetected != w.Virus {
				t.Errorf("entry %d is %+v, in place of %+v", i, e, w)
			}
		}
	})
}

func TestAListingWithoutEndIsRefused(t *testing.T) {
	entries := strings.NewReader(`[{"id":"a"},{"id":"b"},{"id":"c"}]`)
	for name, grow := range map[string]func(*listing){
		"by the number of its entries": func(l *listing) { l.count = maxEntries - 1 },
		"by its length":                func(l *listing) { l.in.read, l.in.limit = maxListing-1, maxListing },
	} {
		entries.Seek(0, io.SeekStart)
		l := newListing(bufio.NewReader(iotest.OneByteReader(entries)))
		if _, err := l.next(); err != nil {
			t.Fatal(err)
		}
		grow(l)
		var err error
		for n := 0; err == nil && n < 3; n++ {
			_, err = l.next()
		}
		if _, ok := err.(shapeError); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
