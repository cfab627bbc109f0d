package integration

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/text/unicode/norm"

	"masvfs/fetch/masv/masvtest"
)

// hostileNames are what senders, or those who pose as one, may call things.
var hostileNames = []string{
	"", ".", "..", "...", "a", "A", "a ", "a.", " a", "a (2)", "a (2).txt", "a.txt", "A.TXT", "a\x00b", "a_b", "a/b", `a\b`, "/etc/passwd", "../../../canary", `..\..\canary`, `C:\canary`, "//", "a//b/./c", "./..",
	"CON", "con.txt", "nul", "COM1 .x", "a:b", "a:b:$DATA", "a?b", "a*b", "<a>", "a|b", `"a"`, "~", "-rf", "--", "%2e%2e", "%00", "$(touch canary)", "`touch canary`", "; touch canary", "*",
	".masvfs-00000000-0000-4000-8000-000000000000", ".hidden", "state", "progress", "error", "files", "tree", "1.part", "1.new", "1.note", "x.masvlink", "canary", "link", "lost+found", "desktop.ini",
	"\x1b[31mred", "a\nb", "a\rb", "a\tb", "\x7f", "\u009b31m", "\u202egpj.exe", "\u2066a\u2069", "\u200e", "\ufeff", "\u2028", "\u00e9", "e\u0301", "\u00c9", "E\u0301", "\u1e69", "s\u0323\u0307", "s\u0307\u0323",
	"\u00df", "ss", "SS", "\u1e9e", "\u017f", "\u212a", "k", "\u0130", "\u0131", "\xff", "\xfe", "\xed\xa0\x80", "\xc0\xae\xc0\xae", "日本", "\U0001f4fc",
	strings.Repeat("n", 254), strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("n", 300) + ".mov", strings.Repeat("n", 301) + ".mov", strings.Repeat("é", 128), strings.Repeat("\u0301", 140), strings.Repeat("日", 100) + ".tiff",
}

// hostilePackage is one that a seed gives: names of every kind under paths of
// every kind, many of them twice.
func hostilePackage(seed uint64) masvtest.Package {
	r := rand.New(rand.NewPCG(seed, 6))
	name := func() string { return hostileNames[r.IntN(len(hostileNames))] }
	p := masvtest.Package{Name: name()}
	for i := range 120 {
		f := masvtest.File{Name: name(), Size: int64(r.IntN(2000))}
		switch r.IntN(12) {
		case 0:
			f.Kind = "directory"
		case 1:
			f.Kind = []string{"symlink", "FILE", "zip_mac", "zip_evil", "device", "\u202e"}[r.IntN(6)]
		case 2:
			f.VirusDetected = true
		case 3:
			f.Size = 0
		case 4:
			f.LastModified = time.Date(r.IntN(9999), 1, 1, 0, 0, 0, 0, time.UTC)
		}
		for range r.IntN(4) {
			f.Path += name() + "/"
		}
		if i > 0 && r.IntN(4) == 0 { // beside another
			f.Path = p.Files[r.IntN(i)].Path
		}
		switch r.IntN(40) {
		case 0:
			f.Path = strings.Repeat("d/", 150+r.IntN(100)) + f.Path
		case 1:
			f.Path = strings.Repeat("d/", 1000)
		case 2:
			f.Path = strings.Repeat(strings.Repeat("w", 255)+"/", 10+r.IntN(70))
		case 3:
			f.Name = strings.Repeat(f.Name+"x", 2000)
		}
		p.Files = append(p.Files, f)
	}
	return p
}

// asSent returns the folders and the name that a sender gave to an entry, as
// what they are on any system: parts between slashes.
func asSent(f masvtest.File) (folders []string, name string) {
	parts := func(text string) []string {
		text = string([]rune(text)) // JSON holds no invalid UTF-8
		return slices.DeleteFunc(strings.Split(text, "/"), func(s string) bool { return s == "" || s == "." })
	}
	folders, names := parts(f.Path), parts(f.Name)
	if len(names) == 0 {
		return folders, ""
	}
	return append(folders, names[:len(names)-1]...), names[len(names)-1]
}

// beyond reports whether an entry lies deeper than is downloaded.
func beyond(folders []string, name string, dir bool) bool {
	depth, size := len(folders), len(name)
	if dir {
		depth++
	}
	for _, f := range folders {
		size += len(f) + 1
	}
	return depth > 200 || size > 16384
}

// surroundings is a tree around a destination, and in it, that nobody may
// touch.
type surroundings struct {
	t      testing.TB
	folder string
	was    []string
}

// surround moves the site's destination into surroundings, and fills them.
func (s *site) surround() *surroundings {
	s.t.Helper()
	around := &surroundings{t: s.t, folder: filepath.Join(s.t.TempDir(), "around")}
	s.downloads = filepath.Join(around.folder, "deep", "downloads")
	for _, p := range []string{"canary", "deep/canary", "etc/passwd", "deep/etc/passwd", "deep/downloads/canary/canary", "deep/downloads/a/a", "deep/downloads/_", "deep/downloads/state"} {
		file := filepath.Join(around.folder, p)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("untouched "+p), 0o640); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.Symlink("../..", filepath.Join(s.downloads, "link")); err != nil {
		s.t.Fatal(err)
	}
	around.was = around.look()
	return around
}

// look lists what was not downloaded: all but the folders given.
func (a *surroundings) look(but ...string) (all []string) {
	a.t.Helper()
	err := filepath.WalkDir(a.folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains(but, p) {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %v %d", p, info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %v %q", info.ModTime(), text)
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return all
}

// check reports what has changed beside the folders given.
func (a *surroundings) check(but ...string) {
	a.t.Helper()
	if now := a.look(but...); !slices.Equal(now, a.was) {
		for _, line := range now {
			if !slices.Contains(a.was, line) {
				a.t.Errorf("around the downloads there is now %s", line)
			}
		}
		for _, line := range a.was {
			if !slices.Contains(now, line) {
				a.t.Errorf("around the downloads there is no longer %s", line)
			}
		}
	}
}

// detailed is a download with all that REST tells of its files.
type detailed struct {
	download
	FilesTotal int64 `json:"files_total"`
	Files      []struct {
		ID       string `json:"id"`
		Path     string `json:"path"`
		Original string `json:"original_path"`
		Size     int64  `json:"size"`
		State    string `json:"state"`
		Error    *struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"files"`
}

// below lists files with their content, and folders, below a folder. It goes
// from folder to folder, since a path may be longer than the kernel takes.
func below(t testing.TB, folder string) (files map[string][]byte, folders int) {
	t.Helper()
	files = make(map[string][]byte)
	var walk func(at int, path string) error
	walk = func(at int, path string) error {
		dir := os.NewFile(uintptr(at), path)
		defer dir.Close()
		entries, err := dir.ReadDir(-1)
		for _, e := range entries {
			name := filepath.Join(path, e.Name())
			if !e.IsDir() && !e.Type().IsRegular() {
				t.Errorf("%q is neither a file nor a folder", name)
				continue
			}
			fd, err := unix.Openat(at, e.Name(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("open %q: %w", name, err)
			}
			if e.IsDir() {
				folders++
				if err := walk(fd, name); err != nil {
					return err
				}
				continue
			}
			f := os.NewFile(uintptr(fd), name)
			text, err := io.ReadAll(f)
			f.Close()
			if err != nil {
				return fmt.Errorf("read %q: %w", name, err)
			}
			files[name] = text
		}
		return err
	}
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = walk(fd, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return files, folders
}

// TestHostileListings downloads packages of hostile names. Nothing lands or
// changes outside; each file is there once, with its own bytes; what it was
// called is told; and mount, disk and a restart agree.
func TestHostileListings(t *testing.T) {
	for _, names := range []string{"linux", "portable"} {
		t.Run(names, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, true, "--names", names, "--reserve-free", "0")
			around := s.surround()
			s.start()
			s.guard()
			links := make(map[string]masvtest.Link)
			packages := make(map[string]masvtest.Package)
			for _, seed := range seeds(t, 4, 150) {
				p := hostilePackage(seed)
				link := s.cloud.AddPackage(p)
				id := s.add(link, "")
				links[id], packages[id] = link, p
			}
			entries := 0
			look := func() (told map[string]detailed) {
				told = make(map[string]detailed)
				var folders []string
				for id, p := range packages {
					s.waitFor(id, "complete")
					var d detailed
					s.call("GET", "/downloads/"+id, "", &d)
					told[id] = d
					folders = append(folders, d.Path)
					s.checkHostile(p, links[id], d, names)
				}
				around.check(folders...)
				if n := s.cloud.Stats().Leaks; n != 0 {
					t.Errorf("the storage saw secrets: %v", s.cloud.Stats().Leaked)
				}
				return told
			}
			before := look()
			s.stop()
			s.start()
			s.guard()
			for id, d := range look() {
				if was := before[id]; !reflect.DeepEqual(was, d) {
					t.Errorf("%s is another after a restart: %.2000v, before %.2000v", id, d, was)
				}
				entries += len(packages[id].Files)
			}
			t.Logf("%d listings, %d entries", len(packages), entries)
		})
	}
}

// checkHostile compares a download with the package that it is of.
func (s *site) checkHostile(p masvtest.Package, link masvtest.Link, d detailed, names string) {
	t := s.t
	t.Helper()
	if dir, name := filepath.Split(d.Path); filepath.Clean(dir) != s.downloads || name == "" || strings.HasPrefix(name, ".") {
		t.Fatalf("package %q went to %q", p.Name, d.Path)
	}
	byID := make(map[string]int)
	for i, f := range d.Files {
		if _, twice := byID[f.ID]; twice {
			t.Errorf("%q is told twice", f.Path)
		}
		byID[f.ID] = i
	}
	onDisk, folders := below(t, d.Path)
	inMount, mountFolders := below(t, filepath.Join(d.MountPath, "files"))
	seen, folded := make(map[string]bool), make(map[string]string)
	senders := make(map[string]bool) // folders
	note := func(parts []string) {
		for i := range parts {
			senders[strings.Join(parts[:i+1], "/")] = true
		}
	}
	for i := range p.Files {
		f := s.cloud.File(link, i)
		parts, name := asSent(f)
		deep := beyond(parts, name, f.Kind == "directory")
		if f.Kind == "directory" {
			if !deep && name != "" {
				note(append(slices.Clone(parts), name))
			} else if !deep {
				note(parts)
			}
			continue
		}
		at, told := byID[f.ID]
		if strings.HasPrefix(f.Kind, "zip") {
			if told {
				t.Errorf("an archive is told: %+v", d.Files[at])
			}
			continue
		}
		if !told {
			t.Errorf("%q of %q is not told", f.Name, f.Path)
			continue
		}
		got := d.Files[at]
		original := got.Original
		if original == "" {
			original = got.Path
		}
		if whole := strings.Join(append(slices.Clone(parts), name), "/"); original != whole && whole != "" && !deep {
			t.Errorf("%.300q is told as %.300q, once %.300q", whole, got.Path, got.Original)
		}
		if deep || f.VirusDetected || f.Kind != "file" {
			if got.State != "skipped" || got.Error == nil || got.Error.Message == "" {
				t.Errorf("%q of kind %q is %s, %+v", got.Path, f.Kind, got.State, got.Error)
			}
			continue
		}
		note(parts)
		if got.State != "complete" || seen[got.Path] || !filepath.IsLocal(got.Path) || path.Clean(got.Path) != got.Path {
			t.Errorf("%.300q is %s, at a place of its own: %v", got.Path, got.State, !seen[got.Path])
		}
		seen[got.Path] = true
		if names == "portable" {
			key := norm.NFC.String(strings.ToUpper(strings.ToLower(norm.NFD.String(got.Path))))
			if other, taken := folded[key]; taken || strings.ContainsAny(got.Path, "<>:\"\\|?*\n\x1b") {
				t.Errorf("%q is not portable, beside %q", got.Path, other)
			}
			folded[key] = got.Path
		}
		want := make([]byte, f.Size)
		io.ReadFull(masvtest.Reader(f.Seed, f.Size), want)
		for where, files := range map[string]map[string][]byte{"disk": onDisk, "mount": inMount} {
			if have, there := files[got.Path]; !there || !bytes.Equal(have, want) {
				t.Errorf("%.300q on the %s: there %v, %d bytes of %d", got.Path, where, there, len(have), f.Size)
			}
		}
	}
	if len(onDisk) != len(seen) || len(inMount) != len(seen) || d.FilesDone != int64(len(seen)) {
		t.Errorf("%d files are told, %d are on the disk, %d in the mount, %d done", len(seen), len(onDisk), len(inMount), d.FilesDone)
	}
	if folders != len(senders) || mountFolders != len(senders) {
		t.Errorf("%d folders were sent, %d are on the disk, %d in the mount", len(senders), folders, mountFolders)
	}
}

// TestAListingThatMakesNoSenseIsAnErrorThatSaysSo is about those of which
// nothing can be made, and about those that cannot fit on any disk.
func TestAListingThatMakesNoSenseIsAnErrorThatSaysSo(t *testing.T) {
	s := newSite(t, false)
	around := s.surround()
	s.start()
	small := masvtest.File{Name: "good", Size: 10}
	for name, test := range map[string]struct {
		files []masvtest.File
		code  string
		says  string
	}{
		"a negative size":            {[]masvtest.File{small, {Name: "a", Size: -1}}, "listing_invalid", "negative size"},
		"the smallest size":          {[]masvtest.File{{Name: "a", Size: -1 << 63}}, "listing_invalid", "negative size"},
		"a size larger than disks":   {[]masvtest.File{{Name: "a", Size: 1<<63 - 1}}, "destination", "larger than the file system"},
		"sizes that add up to more":  {[]masvtest.File{{Name: "a", Size: 1<<63 - 1}, {Name: "b", Size: 1<<63 - 1}, {Name: "c", Size: 2}}, "listing_invalid", "larger together"},
		"an entry larger than 1 MiB": {[]masvtest.File{small, {Name: strings.Repeat("a", 1<<20)}}, "listing_invalid", "1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			// A size that is told beforehand would be refused by that alone.
			link := s.cloud.AddPackage(masvtest.Package{Name: name, Files: test.files, Size: 1})
			d := s.waitFor(s.add(link, ""), "error")
			if d.Error == nil || d.Error.Code != test.code || !strings.Contains(d.Error.Message, test.says) {
				t.Errorf("error: %+v", d.Error)
			}
			if status := s.call("DELETE", "/downloads/"+d.ID, `{"remove_files": true}`, nil); status != 204 {
				t.Errorf("DELETE answers %d", status)
			}
			around.check()
		})
	}
	link := s.cloud.AddPackage(masvtest.Package{Name: "good", Files: []masvtest.File{small}})
	s.waitFor(s.add(link, ""), "complete")
}

// TestHostileNamesStraightIntoAFolder has a package without a folder of its own
// meet what is in the destination already: nothing of that is replaced, nor
// followed.
func TestHostileNamesStraightIntoAFolder(t *testing.T) {
	s := newSite(t, false)
	around := s.surround()
	s.start()
	files := []masvtest.File{
		{Name: "canary", Path: "canary", Size: 10}, {Name: "canary", Size: 11}, {Name: "_", Size: 12}, {Name: "new", Path: "state", Size: 19}, {Name: "state", Size: 13}, {Name: "a", Size: 14}, {Name: "a", Path: "a", Size: 15},
		{Name: "passwd", Path: "../etc", Size: 16}, {Name: "..", Size: 17}, {Name: "", Size: 18},
		{Name: "canary", Path: "link", Size: 21}, {Name: "passwd", Path: "link/etc", Size: 22}, {Kind: "directory", Name: "made", Path: "link"},
	}
	link := s.cloud.AddPackage(masvtest.Package{Name: "Straight", Files: files})
	id := s.add(link, `, "create_package_folder": false`)
	d := s.waitFor(id, "error") // the files below the symlink, and the one below a file, have no place
	if d.Path != s.downloads || d.Error == nil || d.Error.Code != "files_failed" {
		t.Errorf("it went to %q: %+v", d.Path, d.Error)
	}
	var all detailed
	s.call("GET", "/downloads/"+id, "", &all)
	placed := 0
	for i, f := range all.Files {
		in := files[i].Path
		if homeless := in == "link" || in == "link/etc" || in == "state"; homeless != (f.State == "error") || !homeless && f.State != "complete" {
			t.Errorf("%q is %s: %+v", f.Path, f.State, f.Error)
		}
		if f.State == "complete" {
			placed++
			sameContent(t, filepath.Join(s.downloads, f.Path), s.cloud.File(link, i))
		}
	}
	untouched := func() {
		t.Helper()
		now := around.look()
		for _, line := range around.was {
			if !slices.Contains(now, line) {
				t.Errorf("there is no longer %s", line)
			}
		}
		for _, line := range now {
			if !slices.Contains(around.was, line) && !strings.HasPrefix(line, s.downloads+"/") {
				t.Errorf("outside there is now %s", line)
			}
		}
	}
	untouched()
	if status := s.call("DELETE", "/downloads/"+id, `{"remove_files": true}`, nil); status != 204 || placed == 0 {
		t.Errorf("DELETE answers %d, and %d files were placed", status, placed)
	}
	untouched()
}

// TestOneNameForThousandsOfFiles is a listing of a million in miniature: all
// are there, and no name is sought from the beginning each time.
func TestOneNameForThousandsOfFiles(t *testing.T) {
	n := 2000
	if thorough() {
		n = 100_000
	}
	s := newSite(t, false)
	s.start()
	link := s.cloud.AddPackage(masvtest.Package{Name: "Same", Count: n, RateInterval: -1, Generate: func(i int) masvtest.File {
		return masvtest.File{Name: "frame.dpx", Path: []string{"a", "a/", "/a", "./a//"}[i%4], Size: int64(i % 50)}
	}})
	d := s.waitFor(s.add(link, ""), "complete")
	files, _ := below(t, d.Path)
	if len(files) != n || files["a/frame.dpx"] == nil || files[fmt.Sprintf("a/frame (%d).dpx", n)] == nil {
		t.Errorf("%d files of %d", len(files), n)
	}
	for i := range n {
		f := s.cloud.File(link, i)
		name := "a/frame.dpx"
		if i > 0 {
			name = fmt.Sprintf("a/frame (%d).dpx", i+1)
		}
		want := make([]byte, f.Size)
		io.ReadFull(masvtest.Reader(f.Seed, f.Size), want)
		if have, there := files[name]; !there || !bytes.Equal(have, want) {
			t.Fatalf("%s has %d bytes of %d", name, len(have), f.Size)
		}
	}
}
