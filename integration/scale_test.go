package integration

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// thorough reports whether the long form of the tests is asked for.
func thorough() bool { return os.Getenv("MASVFS_TEST_LONG") != "" }

// many is a site whose one download, of very many small files, is complete. It
// is downloaded once, by the first test that needs it.
var many struct {
	mu   sync.Mutex // guards dir
	dir  string     // "": not yet made
	made int        // files
}

const manyName = "Many"

// manyFile is a file of the many: a tenth of a long folder of frames, the rest
// in reels of 250.
func manyFile(i, n int) masvtest.File {
	f := masvtest.File{Name: fmt.Sprintf("frame %06d.dpx", i), Path: "frames", Size: int64(i % 300)}
	if i >= n/4 {
		f.Path = fmt.Sprintf("reels/reel %04d", i/250)
	}
	return f
}

// manyFiles returns that site, not started, and how many files it has.
func manyFiles(t testing.TB) (*site, int) {
	t.Helper()
	s := newSite(t, true)
	many.mu.Lock()
	defer many.mu.Unlock()
	if many.dir == "" {
		n := 20_000
		if thorough() {
			n = 300_000
		}
		dir, err := os.MkdirTemp(filepath.Dir(program), "many-")
		if err != nil {
			t.Fatal(err)
		}
		s.moveTo(dir)
		s.fetch(masvtest.Package{Name: manyName, Count: n, RateInterval: -1, Generate: func(i int) masvtest.File { return manyFile(i, n) }})
		many.dir, many.made = dir, n
	}
	s.moveTo(many.dir)
	return s, many.made
}

// moveTo has the site in another folder.
func (s *site) moveTo(dir string) {
	s.inbox, s.downloads, s.state = filepath.Join(dir, "inbox"), filepath.Join(dir, "downloads"), filepath.Join(dir, "state")
}

// fetch starts the agent without its mount, downloads a package whole, however
// long that takes as long as it gets on, and stops the agent.
func (s *site) fetch(p masvtest.Package) download {
	s.t.Helper()
	mount := s.mount
	s.mount = ""
	defer func() { s.mount = mount }()
	link := s.cloud.AddPackage(p)
	s.start()
	id := s.add(link, "")
	var d download
	for last := time.Now(); d.State != "complete"; time.Sleep(50 * time.Millisecond) {
		before := d.FilesDone + d.BytesDone
		d = download{}
		s.call("GET", "/downloads/"+id+"?files=false", "", &d)
		if d.FilesDone+d.BytesDone != before {
			last = time.Now()
		}
		if d.State == "error" || time.Since(last) > patience {
			s.t.Fatalf("it stands still: %+v", d)
		}
	}
	s.signal(syscall.SIGTERM)
	return d
}

func TestInodeNumbersAreTheirOwnAndTheSameAfterARestart(t *testing.T) {
	t.Parallel()
	s, n := manyFiles(t)
	numbers := func() []string {
		lines := strings.Split(strings.TrimSpace(run(t, "find", s.mount, "-printf", `%i %P\n`)), "\n")
		slices.Sort(lines)
		return lines
	}
	s.startReading(ordinary)
	before := numbers()
	if len(before) < n {
		t.Errorf("only %d of %d are found", len(before), n)
	}
	seen := map[string]string{}
	for _, line := range before {
		ino, path, _ := strings.Cut(line, " ")
		if other, ok := seen[ino]; ok {
			t.Fatalf("%q and %q are both inode %s", other, path, ino)
		}
		seen[ino] = path
	}
	// What a listing says is what stat says.
	listed := strings.Split(strings.TrimSpace(run(t, "ls", "-iU", filepath.Join(s.mount, manyName, "files", "frames"))), "\n")
	for _, line := range listed {
		ino, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if want := filepath.Join(manyName, "files", "frames", name); seen[ino] != want {
			t.Fatalf("the listing has inode %s for %q, stat for %q", ino, want, seen[ino])
		}
	}
	s.stop()
	s.startReading(ordinary)
	if after := numbers(); !slices.Equal(after, before) {
		for i := range min(len(after), len(before)) {
			if after[i] != before[i] {
				t.Fatalf("%q has become %q", before[i], after[i])
			}
		}
		t.Errorf("there were %d and are %d", len(before), len(after))
	}
	s.stop()
}

func TestAFolderThatGrowsIsListedWholeByOneThatKeepsItOpen(t *testing.T) {
	t.Parallel()
	n := 5000
	if thorough() {
		n = 50_000
	}
	s := newSite(t, true)
	link := s.cloud.AddPackage(masvtest.Package{Name: "Growing", Count: n, RateInterval: -1, Generate: func(i int) masvtest.File {
		// The order in which they arrive is not that of their names.
		return masvtest.File{Name: fmt.Sprintf("frame %06d.dpx", i*7919%n), Path: "frames", Size: int64(i % 300)}
	}})
	s.startReading(ordinary)
	id := s.add(link, "")
	frames := filepath.Join(s.mount, "Growing", "files", "frames")
	s.until("the folder", func() bool { _, err := os.Stat(frames); return err == nil })

	slow := openListing(t, frames)
	defer slow.Close()
	whole := 0
	for last := time.Now(); ; whole++ {
		var d download
		s.call("GET", "/downloads/"+id+"?files=false", "", &d)
		quick := openListing(t, frames)
		for quick.next() {
			slow.nextOf(4)
		}
		quick.Close()
		if d.State == "complete" {
			break
		}
		if d.State == "error" || time.Since(last) > 10*patience {
			t.Fatalf("it stands still: %+v", d)
		}
	}
	for slow.next() {
	}
	t.Logf("listed %d times while it grew", whole)
	if names := tree(t, frames); len(names) != n {
		t.Errorf("%d names in the end", len(names))
	}
	s.stop()
}

// listing is a folder that is being listed, in small portions.
type listing struct {
	*os.File
	t     *testing.T
	there map[string]bool // when it was opened
	seen  map[string]bool
	ended bool
}

func openListing(t *testing.T, folder string) *listing {
	t.Helper()
	// What is there now is there when the folder is opened.
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	l := &listing{File: f, t: t, there: map[string]bool{}, seen: map[string]bool{}}
	for _, e := range entries {
		l.there[e.Name()] = true
	}
	return l
}

func (l *listing) next() bool { return l.nextOf(500) }

// nextOf lists up to n names more, and at the end checks the listing.
func (l *listing) nextOf(n int) bool {
	l.t.Helper()
	if l.ended {
		return false
	}
	names, err := l.Readdirnames(n)
	for _, name := range names {
		if l.seen[name] {
			l.t.Fatalf("%s is listed twice", name)
		}
		l.seen[name] = true
	}
	if err == nil {
		return true
	}
	if err != io.EOF {
		l.t.Fatal(err)
	}
	l.ended = true
	for name := range l.there {
		if !l.seen[name] {
			l.t.Fatalf("%s was there from the beginning and is not listed among %d", name, len(l.seen))
		}
	}
	return false
}

func TestInodesThatTheKernelKnowsCostNoMemory(t *testing.T) {
	const perInode, noise = 100, 16 << 20
	inEachWay(t, func(t *testing.T, w way) {
		s, n := manyFiles(t)
		s.startReading(w)
		// What starting and a first listing take is none of the inodes'.
		run(t, "ls", "-l", filepath.Join(s.mount, manyName, "files", "reels", fmt.Sprintf("reel %04d", n/4/250)))
		before := s.memory()
		bound := before + noise + int64(n)*perInode
		t.Logf("before: %.1f MiB", mib(before))
		check := func(what string) {
			t.Helper()
			// Garbage goes by and by.
			end := time.Now().Add(patience)
			now := s.memory()
			t.Logf("%s: %.1f MiB at once", what, mib(now))
			for now > bound && time.Now().Before(end) {
				time.Sleep(100 * time.Millisecond)
				now = s.memory()
			}
			if now > bound {
				t.Errorf("%s it takes %.1f MiB, %.0f bytes an inode; %.1f MiB are allowed", what, mib(now), float64(now-before)/float64(n), mib(bound))
			}
		}
		if found := strings.Count(run(t, "find", s.mount), "\n"); found < n {
			t.Errorf("only %d of %d are found", found, n)
		}
		check("after find")
		if found := strings.Count(run(t, "sh", "-c", `cd "$0" && ls -lR`, filepath.Join(s.mount, manyName, "files")), "\n"); found < n {
			t.Errorf("only %d of %d are listed", found, n)
		}
		check("after ls -lR")
		if os.Geteuid() == 0 {
			run(t, "sh", "-c", "echo 2 > /proc/sys/vm/drop_caches")
			check("after the kernel has forgotten them")
			// Forgotten is not lost.
			if found := strings.Count(run(t, "find", s.mount), "\n"); found < n {
				t.Errorf("only %d of %d are found again", found, n)
			}
			check("after another find")
		}
		s.stop()
	})
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// memory is the memory that the agent's process itself has filled, in bytes:
// without the pages of its program, which come and go.
func (s *site) memory() int64 {
	s.t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return kib << 10
		}
	}
	s.t.Fatal("the kernel does not tell the process' memory")
	return 0
}

func TestADescriptorIsHeldForAnOpenFileOnly(t *testing.T) {
	t.Parallel()
	inEachWay(t, func(t *testing.T, w way) {
		s, _ := manyFiles(t)
		s.startReading(w)
		frames := filepath.Join(s.mount, manyName, "files", "frames")
		names := tree(t, frames)
		before := s.warm(frames, names[:100])
		for _, name := range names[100:600] {
			if _, err := os.ReadFile(filepath.Join(frames, name)); err != nil {
				t.Fatal(err)
			}
		}
		s.untilAsBefore(before)
		s.stop()
	})
}

// warm reads files, many at a time, so that whatever the agent keeps for the
// next reader is there, and returns what it has open afterwards.
func (s *site) warm(folder string, names []string) (open map[string]int) {
	s.t.Helper()
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			for _, name := range names {
				if _, err := os.ReadFile(filepath.Join(folder, name)); err != nil {
					s.t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	s.list()
	return s.settled()
}

// settled is what the agent has open when no file is.
func (s *site) settled() map[string]int {
	s.t.Helper()
	var open map[string]int
	s.until("all files are closed", func() bool {
		open = s.descriptors()
		for to := range open {
			if strings.HasSuffix(to, ".dpx") {
				return false
			}
		}
		return true
	})
	return open
}

func TestTooManyOpenFilesAreAnErrorAndNoStandstill(t *testing.T) {
	need(t, "prlimit")
	inEachWay(t, func(t *testing.T, w way) {
		const n = 10_000
		s, _ := manyFiles(t)
		s.under = []string{"prlimit", "--nofile=1024:1024"}
		s.startReading(w)
		folder := filepath.Join(s.mount, manyName, "files")
		names := tree(t, folder)
		before := s.warm(folder, names[n:n+100])
		names = names[:n]
		list := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(list, []byte(strings.Join(names, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
		link := s.cloud.AddPackage(shoot())

		hoarder := startReader(t, "all open", folder, list)
		var open, emfile, enfile int
		if _, err := fmt.Sscan(hoarder.line(), &open, &emfile, &enfile); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d open, %d refused", open, emfile+enfile)
		if open+emfile+enfile != n {
			t.Errorf("of %d files %d are open, %d were refused with EMFILE, %d with ENFILE, and the others with another error", n, open, emfile, enfile)
		}
		if open < 200 {
			t.Errorf("only %d files could be opened", open)
		}
		// Everything else goes on: who is new at the door, the mount, downloads.
		if out, err := s.masvfs("ls"); err != nil || !strings.Contains(out, manyName) {
			t.Errorf("masvfs ls: %q, %v", out, err)
		}
		if state := run(t, "cat", filepath.Join(s.mount, manyName, "state")); state != "complete\n" {
			t.Errorf("state holds %q", state)
		}
		run(t, "ls", "-l", filepath.Dir(filepath.Join(folder, names[n-1])))
		id := s.add(link, "")
		var d download
		s.until("another download ends", func() bool { d = s.get(id); return d.State != "transferring" })
		if d.State != "complete" {
			t.Errorf("another download is in %s: %+v", d.State, d.Error)
		}

		hoarder.proceed()
		if said := hoarder.line(); said != "closed" {
			t.Errorf("the reader says %q", said)
		}
		hoarder.proceed()
		for _, name := range names[n-100:] {
			if _, err := os.ReadFile(filepath.Join(folder, name)); err != nil {
				t.Fatalf("after all were closed: %v", err)
			}
		}
		if status := s.call("DELETE", "/downloads/"+id, `{"remove_files": true}`, nil); status != 204 {
			t.Errorf("DELETE answers %d", status)
		}
		s.untilAsBefore(before)
		s.stop()
	})
}
