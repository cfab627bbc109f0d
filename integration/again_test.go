package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"masvfs/fetch/masv/masvtest"
	"masvfs/integration/cutfs"
)

// What a killed program had written is still in the page cache, so next to
// nothing of it is downloaded again.
func TestKilledAtHalfItDownloadsLittleTwice(t *testing.T) {
	const size = 1 << 30
	s := newSite(t, false, "--connections", "16")
	link := s.cloud.AddPackage(masvtest.Package{Name: "Half", Files: []masvtest.File{{Name: "a.bin", Size: size}}})
	s.cloud.SetRate(20 << 20)
	s.start()
	id := s.add(link, "")
	s.until("half of it is there", func() bool { return s.get(id).BytesDone >= size/2 })
	if err := s.process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.until("it has stopped", func() bool { return strings.Contains(s.proc("status"), "State:\tT") })
	before := s.received()
	s.signal(syscall.SIGKILL)
	s.start()
	sameContent(t, filepath.Join(s.waitFor(id, "complete").Path, "a.bin"), s.cloud.File(link, 0))
	twice := before + s.received() - size
	if twice > size/100 {
		t.Errorf("%d bytes were downloaded twice", twice)
	}
	t.Logf("%.1f MiB downloaded twice", float64(twice)/(1<<20))
}

// proc returns what the kernel tells of the agent's process (proc(5)).
func (s *site) proc(file string) string {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.process.Process.Pid, file))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// received returns how many bytes the agent has read, from sockets and files. What
// the cloud has sent is more: it counts what waits for the agent, too.
func (s *site) received() (bytes int64) {
	s.t.Helper()
	if _, err := fmt.Sscanf(s.proc("io"), "rchar: %d", &bytes); err != nil {
		s.t.Fatal(err)
	}
	return bytes
}

// What is left after a power cut is what was flushed. Of the rest nothing may be
// believed, though some of it is there and the machine was not started anew.
func TestAPowerCutCostsWhatWasNotFlushed(t *testing.T) {
	for _, seed := range seeds(t, 2, 20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			const size, most = 192 << 20, 64 << 20
			s, disk := cutSite(t, false, "--reserve-free", "0", "--connections", "16")
			l := &life{site: s, disk: disk, rand: rand.New(rand.NewPCG(seed, 3))}
			link := s.cloud.AddPackage(masvtest.Package{Name: "Cut", Files: []masvtest.File{{Name: "a.bin", Size: size}}})
			s.cloud.SetRate(10 << 20)
			s.start()
			id := s.add(link, "")
			there := size/4 + l.rand.Int64N(size*5/8)
			s.until("enough of it is there", func() bool { return s.get(id).BytesDone >= there })
			l.cut(cutfs.Any(l.rand.Uint64()), func() {})
			s.start()
			s.cloud.SetRate(0)
			sameContent(t, filepath.Join(s.waitFor(id, "complete").Path, "a.bin"), s.cloud.File(link, 0))
			twice := s.cloud.Stats().Twice
			if twice > most {
				t.Errorf("%d bytes were served twice", twice)
			}
			t.Logf("cut at %d MiB, %.1f MiB served twice", there>>20, float64(twice)/(1<<20))
		})
	}
}
