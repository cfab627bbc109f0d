package masvtest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

func TestFolderIsServedAsItIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Rushes")
	at := time.Date(2020, 5, 6, 7, 8, 9, 0, time.UTC)
	large := []byte(content(3, 0, 9<<20))
	write(t, dir, "a.mov", large, at)
	write(t, dir, "Day 1/Cam A/b.mov", []byte("bb"), at)
	write(t, dir, ".hidden/c", nil, at)
	write(t, filepath.Dir(dir), "outside", []byte("secret"), at)
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "Day 1", "Empty"), 0o755),
		os.Symlink("a.mov", filepath.Join(dir, "link")),
		os.Symlink("..", filepath.Join(dir, "Day 1", "loop")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p, err := masvtest.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := start(t)
	l := c.AddPackage(p)
	if p.Name != "Rushes" {
		t.Errorf("name %q", p.Name)
	}
	var got []struct {
		Kind, Name, Path string
		Size             int64
		LastModified     time.Time `json:"last_modified"`
	}
	token := c.token(l)
	decode(t, c.get(c.listingURL(l), token).want(t, 200).body, &got)
	var names []string
	for _, f := range got {
		names = append(names, f.Kind+" "+f.Path+"/"+f.Name)
		if f.Kind == "file" && !f.LastModified.Equal(at) {
			t.Errorf("%s: last modified %v", f.Name, f.LastModified)
		}
	}
	if want := []string{"file .hidden/c", "file Day 1/Cam A/b.mov", "directory Day 1/Empty", "file /a.mov"}; !slices.Equal(names, want) {
		t.Errorf("listed %q, want %q", names, want)
	}

	u := c.object(l, 3)
	r := c.get(u).want(t, 200)
	if !bytes.Equal(r.body, large) || got[3].Size != int64(len(large)) {
		t.Errorf("a.mov: listed with %d bytes, served with %d", got[3].Size, len(r.body))
	}
	if r := c.get(u, "Range: bytes=5000000-").want(t, 206); !bytes.Equal(r.body, large[5_000_000:]) {
		t.Error("a range of a.mov is wrong")
	}
	if got := c.FileStats(l, 3); got.Served != int64(2*len(large)-5_000_000) || got.Twice != int64(len(large)-5_000_000) {
		t.Errorf("counted %+v", got)
	}
	c.Fault(masvtest.On(masvtest.CallStorage, masvtest.Truncate(1000)))
	if r := c.get(u); !cutShort(r.err) || !bytes.Equal(r.body, large[:1000]) {
		t.Errorf("faults pass files by: %v, %d bytes", r.err, len(r.body))
	}
	c.Fault(nil)

	write(t, dir, "a.mov", []byte("another"), at)
	changed := c.get(u).want(t, 200)
	if string(changed.body) != "another" || changed.header.Get("ETag") == r.header.Get("ETag") {
		t.Errorf("after a change: %q, ETag %s", changed.body, changed.header.Get("ETag"))
	}
	write(t, dir, "a.mov", []byte("another"), at.Add(time.Millisecond))
	if c.get(u).want(t, 200).header.Get("ETag") == changed.header.Get("ETag") {
		t.Error("a file that was written again keeps its ETag")
	}
	replace(t, filepath.Join(dir, "a.mov"), func(name string) error { return os.Symlink("../outside", name) })
	c.get(u).want(t, 404)
	replace(t, filepath.Join(dir, "a.mov"), func(name string) error { return syscall.Mkfifo(name, 0o644) })
	c.get(u).want(t, 404)
	replace(t, filepath.Join(dir, "a.mov"), func(string) error { return nil })
	c.get(u).want(t, 404)
}

func write(t testing.TB, dir, name string, content []byte, at time.Time) {
	t.Helper()
	name = filepath.Join(dir, name)
	for _, err := range []error{
		os.MkdirAll(filepath.Dir(name), 0o755),
		os.WriteFile(name, content, 0o644),
		os.Chtimes(name, at, at),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func replace(t testing.TB, name string, by func(name string) error) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := by(name); err != nil {
		t.Fatal(err)
	}
}

func TestFolderThatIsNone(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := masvtest.Folder(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("error %v", err)
	}
}

func TestSampleIsWhatACrewSends(t *testing.T) {
	c := start(t)
	p := masvtest.Sample()
	l := c.AddPackage(p)
	kinds := map[string]int{}
	seen := map[string]bool{}
	quarantined := 0
	var bytes int64
	for i := range p.Files {
		f := c.File(l, i)
		kinds[f.Kind]++
		if f.VirusDetected {
			quarantined++
		}
		if f.Kind == "file" {
			bytes += f.Size
			if f.LastModified.IsZero() || f.Size == 0 {
				t.Errorf("%s: %d bytes of %v", f.Name, f.Size, f.LastModified)
			}
		}
		if name := f.Path + "/" + f.Name; seen[name] || strings.HasPrefix(f.Path, "/") || strings.HasSuffix(f.Path, "/") {
			t.Errorf("%q twice, or in an odd folder", name)
		} else {
			seen[name] = true
		}
	}
	if kinds["file"] != 40 || kinds["directory"] != 1 || kinds["zip_windows"] != 1 || quarantined != 1 {
		t.Errorf("%v, %d quarantined", kinds, quarantined)
	}
	if mib := bytes >> 20; mib < 90 || mib > 110 {
		t.Errorf("%d MiB", mib)
	}
}
