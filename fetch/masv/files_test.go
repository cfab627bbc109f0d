package masv_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"masvfs/fetch/masv"
)

func TestFilesReadsTheListing(t *testing.T) {
	modified := time.Date(2019, 2, 3, 21, 34, 13, 0, time.UTC)
	for _, tt := range []struct {
		name, body string
		want       []masv.Entry
	}{
		{"an empty package", `[]`, nil},
		{"an empty package, in Go's way", ` null `, nil},
		{"as documented", `[
			{"id":"a","kind":"file","name":"Hawaii.jpg","path":"Day 1/Cam A","size":14914472,"last_modified":"2019-02-03T21:34:13.000Z","virus_detected":false},
			{"id":"b","kind":"directory","name":"Empty folder","path":"Day 1"},
			{"id":"c","kind":"zip_windows","name":"package.zip","size":7}]`,
			[]masv.Entry{
				{ID: "a", Kind: masv.KindFile, Name: "Hawaii.jpg", Path: "Day 1/Cam A", Size: 14914472, LastModified: modified},
				{ID: "b", Kind: masv.KindDirectory, Name: "Empty folder", Path: "Day 1"},
				{ID: "c", Kind: "zip_windows", Name: "package.zip", Size: 7},
			}},
		{"unknown fields, however deep", `[{"id":"a","x":{"y":[[[{"z":1e999}]]]},"kind":"other"}]`, []masv.Entry{{ID: "a", Kind: "other"}}},
		{"nulls", `[{"id":"a","kind":null,"name":null,"path":null,"size":null,"last_modified":null,"virus_detected":null}]`, []masv.Entry{{ID: "a"}}},
		{"a virus", `[{"id":"a","virus_detected":true}]`, []masv.Entry{{ID: "a", VirusDetected: true}}},
		{"times that are unknown", `[{"id":"a","last_modified":"0001-01-01T00:00:00Z"},{"id":"b","last_modified":""},{"id":"c","last_modified":"yesterday"},{"id":"d","last_modified":17},{"id":"e","last_modified":{}},{"id":"f","last_modified":"0001-01-01T05:00:00Z"}]`,
			[]masv.Entry{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}, {ID: "e"}, {ID: "f"}}},
		{"a time in another zone, without a fraction", `[{"id":"a","last_modified":"2019-02-03T23:34:13+02:00"}]`, []masv.Entry{{ID: "a", LastModified: modified}}},
		{"a time with nanoseconds", `[{"id":"a","last_modified":"2019-02-03T21:34:13.000000001Z"}]`, []masv.Entry{{ID: "a", LastModified: modified.Add(1)}}},
		{"names as hostile as they come", `[{"id":"a","name":"../../etc/passwd","path":"/\\..\u0000"}]`, []masv.Entry{{ID: "a", Name: "../../etc/passwd", Path: "/\\..\x00"}}},
		{"the largest size", `[{"id":"a","size":9223372036854775807}]`, []masv.Entry{{ID: "a", Size: 1<<63 - 1}}},
		{"an entry of nearly 1 MiB", `[{"id":"a"},{"id":"b","x":"` + strings.Repeat("x", 1<<20-100) + `"},{"id":"c"}]`, []masv.Entry{{ID: "a"}, {ID: "b"}, {ID: "c"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := list(t.Context(), answering(t, 200, nil, tt.body))
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("Files = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestFilesRefusesWhatIsNoListing(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		entries    int // before the error
		class      error
		say        string
	}{
		{"an object", `{"files":[]}`, 0, masv.ErrInvalid, "not an array"},
		{"a string", `"x"`, 0, masv.ErrInvalid, "not an array"},
		{"a negative size", `[{"id":"a"},{"id":"b","size":-1}]`, 1, masv.ErrInvalid, "entry 2 of the listing has a negative size"},
		{"an empty id", `[{"id":"","name":"x"}]`, 0, masv.ErrInvalid, "has no id"},
		{"an entry that is null", `[null]`, 0, masv.ErrInvalid, "has no id"},
		{"an entry that is a number", `[{"id":"a"},7]`, 1, masv.ErrInvalid, "entry 2 of the listing is not a JSON object"},
		{"a size with a fraction", `[{"id":"a","size":1.5}]`, 0, masv.ErrInvalid, `wrong kind in "size"`},
		{"a size that no machine holds", `[{"id":"a","size":9223372036854775808}]`, 0, masv.ErrInvalid, `"size"`},
		{"an id that is a number", `[{"id":5}]`, 0, masv.ErrInvalid, `"id"`},
		{"garbage in the middle", `[{"id":"a"},~~~]`, 1, masv.ErrInvalid, "not valid JSON"},
		{"no comma", `[{"id":"a"} {"id":"b"}]`, 1, masv.ErrInvalid, "not valid JSON"},
		{"a wrong bracket", `[{"id":"a"}}`, 1, masv.ErrInvalid, "not valid JSON"},
		{"more after its end", `[{"id":"a"}]x`, 1, masv.ErrInvalid, "goes on after its end"},
		{"half a string after its end", `[{"id":"a"}] "`, 1, masv.ErrInvalid, "goes on after its end"},
		{"a bracket too many", `[{"id":"a"}]]`, 1, masv.ErrInvalid, "goes on after its end"},
		{"two listings", `[{"id":"a"}][]`, 1, masv.ErrInvalid, "goes on after its end"},
		{"an entry over 1 MiB", `[{"id":"a"},{"id":"b","x":"` + strings.Repeat("x", 1<<20) + `"}]`, 1, masv.ErrInvalid, "longer than 1 MiB"},
		{"white space without end", `[{"id":"a"},` + strings.Repeat(" ", 1<<21) + `{"id":"b"}]`, 1, masv.ErrInvalid, "longer than 1 MiB"},
		{"white space before anything", strings.Repeat(" ", 3<<20) + `[]`, 0, masv.ErrInvalid, "longer than 1 MiB"},
		{"nesting without end", `[{"id":"a","x":` + strings.Repeat("[", 20_000), 0, masv.ErrInvalid, "not valid JSON"},
		{"nothing", ``, 0, masv.ErrUnavailable, "cut short"},
		{"an array that does not end", `[{"id":"a"}`, 1, masv.ErrUnavailable, "cut short"},
		{"a cut after a comma", `[{"id":"a"},`, 1, masv.ErrUnavailable, "cut short"},
		{"a cut inside an entry", `[{"id":"a"},{"id":"b","na`, 1, masv.ErrUnavailable, "cut short"},
		{"a page", " \n<!DOCTYPE html>", 0, masv.ErrUnavailable, "a web page"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := list(t.Context(), answering(t, 200, http.Header{"Content-Type": {"application/json"}}, tt.body))
			e := mustBe(t, err, tt.class)
			if len(got) != tt.entries {
				t.Errorf("%d entries before the error, want %d", len(got), tt.entries)
			}
			if !strings.Contains(e.Error(), tt.say) || !strings.Contains(e.Error(), packageID) || len(e.Error()) > 500 {
				t.Errorf("error = %v, want one with %q", e, tt.say)
			}
		})
	}
}

func TestFilesCanBeLeftEarlyAndRangedOverAgain(t *testing.T) {
	gone := make(chan struct{}, 2)
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `[{"id":"a"}`)
		for {
			if _, err := fmt.Fprint(w, `,{"id":"b"}`); err != nil || r.Context().Err() != nil {
				gone <- struct{}{}
				return
			}
		}
	})
	files := client(t, masv.Config{BaseURL: base}).Files(t.Context(), packageID, token)
	for range 2 {
		seen := 0
		for _, err := range files {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen == 3 {
				break
			}
		}
		<-gone // the server was told, so nothing goes on behind the consumer's back
	}
}

func TestACancelledListingHandsOutNoMore(t *testing.T) {
	c := answering(t, 200, nil, `[{"id":"a"},{"id":"b"},{"id":"c"}]`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	var last error
	for e, err := range c.Files(ctx, packageID, token) {
		got, last = append(got, e.ID), err
		cancel()
	}
	if !slices.Equal(got, []string{"a", ""}) || !errors.Is(last, context.Canceled) {
		t.Errorf("entries %q, error %v, want one entry and the context's error", got, last)
	}
}

func TestAListingMayBeCompressed(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, listAnswer)
		z.Close()
	})
	if got, err := list(t.Context(), client(t, masv.Config{BaseURL: base})); err != nil || len(got) != 1 {
		t.Errorf("Files = %v, %v", got, err)
	}
}

func TestALongListingTakesLittleMemory(t *testing.T) {
	const entries = 200_000
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		out := bufio.NewWriter(w)
		defer out.Flush()
		sep := '['
		for i := range entries {
			fmt.Fprintf(out, `%c{"id":"%026d","kind":"file","name":"IMG_%07d.jpg","path":"Day 1/Cam A","size":%d,"last_modified":"2019-02-03T21:34:13.000Z","virus_detected":false}`, sep, i, i, i)
			sep = ','
		}
		fmt.Fprint(out, "]")
	})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	c := client(t, masv.Config{BaseURL: base})
	before, most := heap(), uint64(0)
	var count, size int64
	for e, err := range c.Files(t.Context(), packageID, token) {
		if err != nil {
			t.Fatal(err)
		}
		if count++; count%20_000 == 0 {
			most = max(most, heap())
		}
		size += e.Size
	}
	if count != entries || size != entries*(entries-1)/2 {
		t.Errorf("%d entries of %d bytes came", count, size)
	}
	if most > before+8<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, most)
	}
}

func TestArchivesAreToldByTheirKind(t *testing.T) {
	for kind, want := range map[masv.Kind]bool{"zip": true, "zip_windows": true, "zip_mac": true, "zip_new": true, masv.KindFile: false, masv.KindDirectory: false, "": false, "unzip": false} {
		if kind.Archive() != want {
			t.Errorf("Kind(%q).Archive() = %t", kind, !want)
		}
	}
}
