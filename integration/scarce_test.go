package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// TestFewFileDescriptors starts the agent with few file descriptors. With too
// few it says so at once, and loses nothing; with just enough it downloads
// four packages at once.
func TestFewFileDescriptors(t *testing.T) {
	need(t, "prlimit")
	t.Parallel()
	s := newSite(t, false)
	if err := os.MkdirAll(s.inbox, 0o700); err != nil {
		t.Fatal(err)
	}
	var links []masvtest.Link
	const files = 300
	for i := range 4 {
		p := masvtest.Package{Name: fmt.Sprint("Scarce ", i), Files: []masvtest.File{{Name: "big", Size: 20 << 20}}}
		for j := range files {
			p.Files = append(p.Files, masvtest.File{Name: fmt.Sprint("file ", j), Path: fmt.Sprint("folder ", j%100), Size: int64(500 * j)})
		}
		links = append(links, s.cloud.AddPackage(p))
		s.drop(fmt.Sprint(i, ".masvlink"), links[i].URL()+"\n")
	}
	for _, n := range []int{20, 256} {
		s.under = []string{"prlimit", fmt.Sprintf("--nofile=%d:%d", n, n)}
		s.launch()
		select {
		case <-s.exited:
		case <-time.After(patience):
			t.Fatalf("it runs with %d descriptors", n)
		}
		said := fmt.Sprintf("only %d files may be open at once here", n)
		if log := s.log.String(); s.process.ProcessState.ExitCode() != 1 || !strings.Contains(log, said) || !strings.Contains(log, "ulimit -n") {
			t.Errorf("with %d descriptors: %s", n, log)
		}
		s.process = nil
	}
	s.under = []string{"prlimit", "--nofile=1024:1024"}
	s.start()
	s.until("all are complete", func() bool {
		complete := 0
		for _, d := range s.list() {
			if d.State == "error" {
				t.Fatalf("with 1024 descriptors: %+v", d.Error)
			}
			if d.State == "complete" {
				complete++
			}
		}
		return complete == len(links)
	})
	for i, l := range links {
		for j := range files + 1 {
			f := s.cloud.File(l, j)
			sameContent(t, filepath.Join(s.downloads, fmt.Sprint("Scarce ", i), f.Path, f.Name), f)
		}
	}
	s.signal(syscall.SIGTERM)
}

// littleMemory is what an agent on a small machine may have, in bytes.
const littleMemory = 96 << 20

// TestLittleMemory downloads a package of very many files and a large one, both
// at once, and finds that the agent never has more memory than a small machine
// could give it.
func TestLittleMemory(t *testing.T) {
	t.Parallel()
	s := newSite(t, false, "--reserve-free", "0")
	many, big := 10_000, int64(256<<20)
	if thorough() {
		many, big = 100_000, 1<<30
	}
	links := []masvtest.Link{
		s.cloud.AddPackage(masvtest.Package{Name: "Many", RateInterval: -1, Count: many, Generate: func(i int) masvtest.File {
			return masvtest.File{Name: fmt.Sprint("file ", i), Path: fmt.Sprint("folder ", i%1000), Size: 64}
		}}),
		s.cloud.AddPackage(masvtest.Package{Name: "Big", Files: []masvtest.File{{Name: "big", Size: big}}}),
	}
	s.start()
	for _, l := range links {
		s.add(l, "")
	}
	for end := time.Now().Add(longest(t)); ; time.Sleep(100 * time.Millisecond) {
		complete := 0
		for _, d := range s.list() {
			if d.State == "error" {
				t.Fatalf("%s: %+v", d.Name, d.Error)
			}
			if d.State == "complete" {
				complete++
			}
		}
		if complete == len(links) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not complete: %+v", s.list())
		}
	}
	// VmHWM counts the program's own pages and what it has mapped of files; a
	// control group would count the page cache, too, and take that back.
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		skip(t, "this system does not tell how much memory a process has had: "+err.Error())
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files and one of %d MiB: %d MiB of memory at most", many, big>>20, kib>>10)
	if kib<<10 > littleMemory {
		t.Errorf("that is more than %d MiB", littleMemory>>20)
	}
	sameContent(t, filepath.Join(s.downloads, "Big", "big"), s.cloud.File(links[1], 0))
	for _, i := range []int{0, many / 2, many - 1} {
		f := s.cloud.File(links[0], i)
		sameContent(t, filepath.Join(s.downloads, "Many", f.Path, f.Name), f)
	}
	s.signal(syscall.SIGTERM)
}
