package dest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	r, err := NewRoots([]string{"/srv/media", "/home/ann/in/"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dst string
		ok  bool
	}{
		"a root itself":                              {"/srv/media", true},
		"a folder below a root":                      {"/srv/media/2026/jobs", true},
		"a folder with a slash at its end":           {"/srv/media/2026/", true},
		"a root given with a slash at its end":       {"/home/ann/in", true},
		"a path that leaves the root and comes back": {"/srv/media/../media/x", true},
		"a path that leaves the root":                {"/srv/media/../other", false},
		"a folder whose name begins like a root":     {"/srv/media2", false},
		"a folder above a root":                      {"/srv", false},
		"a relative path":                            {"srv/media", false},
		"an empty path":                              {"", false},
		"a path with a NUL":                          {"/srv/media/\x00", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := r.Check(c.dst)
			if (err == nil) != c.ok {
				t.Fatalf("Check(%q) = %v", c.dst, err)
			}
			var not *NotAllowedError
			if err != nil && !errors.As(err, &not) {
				t.Fatalf("the error is a %T", err)
			}
		})
	}
	if err := r.Check("/etc"); !strings.Contains(err.Error(), "--allow-dst /etc") {
		t.Errorf("the refusal does not say how to allow it: %v", err)
	}
}

func TestRootsMustBeAbsolute(t *testing.T) {
	for _, roots := range [][]string{nil, {"media"}, {""}, {"/srv", "x"}} {
		if _, err := NewRoots(roots); err == nil {
			t.Errorf("NewRoots(%q) takes them", roots)
		}
	}
}

func TestOpenMakesWhatIsMissingBelowARootOnly(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "root")
	r, err := NewRoots([]string{root})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(filepath.Join(root, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a root that is missing: %v", err)
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(root, "a", "b", "c")
	if _, err := r.Existing(deep); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Existing on a missing folder: %v", err)
	}
	for range 2 {
		f, err := r.Open(deep)
		if err != nil {
			t.Fatal(err)
		}
		if f.Path() != deep {
			t.Errorf("path is %s", f.Path())
		}
		if space, err := f.Space(); err != nil || space.Free <= 0 || space.Total < space.Free {
			t.Errorf("space is %+v, %v", space, err)
		}
		f.Close()
	}
	wantListing(t, listing(t, base, true), map[string]string{"root": "/", "root/a": "/", "root/a/b": "/", "root/a/b/c": "/"})
}

func TestADestinationIsMadeOnEveryKindOfFileSystem(t *testing.T) {
	onEveryKind(t, func(t *testing.T, d *disk) {
		r, err := NewRoots([]string{d.path})
		if err != nil {
			t.Fatal(err)
		}
		r.sys = &d.sys
		f, err := r.Open(filepath.Join(d.path, "a", "b"))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	})
}

func TestSymlinksOnTheWayToADestination(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"real/inside/deep", "outside"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"root": "real", "real/in": "inside", "real/inside/up": "../inside/deep",
		"real/out": "../outside", "real/abs": base + "/outside", "real/nowhere": "missing",
	} {
		if err := os.Symlink(target, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "real/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := NewRoots([]string{filepath.Join(base, "root")})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dst string
		ok  bool
	}{
		"the root may be one":                      {"root/x", true},
		"one that stays inside is followed":        {"root/in/y", true},
		"one that goes up but stays inside too":    {"root/inside/up/z", true},
		"one that leads out is refused":            {"root/out", false},
		"also below it":                            {"root/out/x", false},
		"an absolute one that leads out too":       {"root/abs/x", false},
		"one that leads nowhere is not replaced":   {"root/nowhere", false},
		"a file in the way is not replaced":        {"root/file/x", false},
		"a file in place of the folder is neither": {"root/file", false},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := r.Open(filepath.Join(base, c.dst))
			if (err == nil) != c.ok {
				t.Fatalf("Open(%s): %v", c.dst, err)
			}
			if err == nil {
				f.Close()
			}
		})
	}
	wantListing(t, listing(t, filepath.Join(base, "outside"), true), map[string]string{})
}

func TestReserve(t *testing.T) {
	const gib = 1 << 30
	for text, c := range map[string]struct {
		total, want int64
		bad         bool
	}{
		"":      {total: 50 * gib, want: gib / 2},
		" ":     {total: 5000 * gib, want: gib},
		"0":     {total: 50 * gib, want: 0},
		"20GiB": {total: 50 * gib, want: 20 * gib},
		"10 %":  {total: 50 * gib, want: 5 * gib},
		"-1":    {bad: true},
		"101%":  {bad: true},
		"NaN%":  {bad: true},
		"lots":  {bad: true},
		"9EiB":  {bad: true},
	} {
		t.Run(text, func(t *testing.T) {
			r, err := ParseReserve(text)
			if (err != nil) != c.bad {
				t.Fatalf("error is %v", err)
			}
			if got := r.Of(Space{Total: c.total}); err == nil && got != c.want {
				t.Errorf("keeps %d, want %d", got, c.want)
			}
		})
	}
}
