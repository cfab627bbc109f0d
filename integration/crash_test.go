package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

func TestKilledAgainAndAgainItDownloadsEverythingOnce(t *testing.T) {
	s := newSite(t, true)
	files := []masvtest.File{{Name: "big.mov", Path: "Day 1", Size: 640 << 20}}
	for i := range 300 {
		files = append(files, masvtest.File{Name: fmt.Sprintf("frame %04d.dpx", i), Path: "Day 1/frames", Size: int64(10000 + i)})
	}
	link := s.cloud.AddPackage(masvtest.Package{Name: "Killed", Files: files})
	s.cloud.SetRate(4 << 20)
	random := rand.New(rand.NewPCG(1, 2))
	s.start()
	s.drop("link.masvlink", link.URL()+"\n")
	const kills = 8
	for range kills {
		time.Sleep(time.Duration(random.IntN(600)) * time.Millisecond) // the moment is to be any
		s.signal(syscall.SIGKILL)
		s.start()
	}
	s.cloud.SetRate(0)
	var all []download
	s.until("complete", func() bool {
		all = s.list()
		return len(all) == 1 && all[0].State == "complete"
	})
	for i := range files {
		f := s.cloud.File(link, i)
		sameContent(t, filepath.Join(all[0].Path, f.Path, f.Name), f)
	}
	if stray := hidden(t, s.downloads); len(stray) > 0 {
		t.Errorf("left behind: %v", stray)
	}
	if calls := s.cloud.LinkStats(link).Initiated; calls > 2 {
		// One more only if a kill fell between the cloud's answer and its record.
		t.Errorf("the link was opened %d times", calls)
	}
	stats := s.cloud.Stats()
	if stats.Twice > stats.Served/10 {
		t.Errorf("%d of %d bytes were served twice", stats.Twice, stats.Served)
	}
	t.Logf("%d kills: %d bytes served, %d of them twice (%.1f %%)", kills, stats.Served, stats.Twice, 100*float64(stats.Twice)/float64(stats.Served))
}

func TestStoppedAndStartedAgainItGoesOnWhereItWas(t *testing.T) {
	s := newSite(t, false)
	link := s.cloud.AddPackage(masvtest.Package{Name: "Long", Files: []masvtest.File{{Name: "a.bin", Size: 96 << 20}}})
	s.cloud.SetRate(3 << 20)
	s.start()
	id := s.add(link, "")
	s.until("a third", func() bool { return s.get(id).BytesDone > 32<<20 })
	s.signal(syscall.SIGTERM)
	s.start()
	if d := s.get(id); d.BytesDone < 32<<20 {
		t.Errorf("only %d bytes are left of what had arrived", d.BytesDone)
	}
	s.cloud.SetRate(0)
	sameContent(t, filepath.Join(s.waitFor(id, "complete").Path, "a.bin"), s.cloud.File(link, 0))
	if stats := s.cloud.Stats(); stats.Twice > stats.Served/4 {
		t.Errorf("%d of %d bytes were served twice", stats.Twice, stats.Served)
	}
	if calls := s.cloud.LinkStats(link).Calls; calls != 1 {
		t.Errorf("the link was called %d times", calls)
	}
}

func TestAnOutageIsWaitedOut(t *testing.T) {
	t.Parallel()
	s := newSite(t, false)
	link := s.cloud.AddPackage(masvtest.Package{Name: "Outage", Files: []masvtest.File{{Name: "a.bin", Size: 48 << 20}, {Name: "b.bin", Size: 1000}}})
	s.cloud.SetRate(2 << 20)
	s.start()
	id := s.add(link, "")
	s.until("bytes arrive", func() bool { return s.get(id).BytesDone > 1<<20 })
	s.cloud.SetDown(true)
	time.Sleep(3 * time.Second) // an outage lasts
	if d := s.get(id); d.State != "transferring" {
		t.Fatalf("during the outage the state is %s: %+v", d.State, d.Error)
	}
	s.cloud.SetDown(false)
	s.cloud.SetRate(0)
	sameContent(t, filepath.Join(s.waitFor(id, "complete").Path, "a.bin"), s.cloud.File(link, 0))
}

func TestAFullDiskIsAnErrorThatRoomMends(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "mounting a small tmpfs needs root")
	}
	s := newSite(t, false, "--reserve-free", "0")
	if err := os.Mkdir(s.downloads, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", s.downloads, "tmpfs", 0, "size=32m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(s.downloads, 2) })
	ballast := filepath.Join(s.downloads, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 24<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	link := s.cloud.AddPackage(masvtest.Package{Name: "Full", Files: []masvtest.File{{Name: "a.bin", Size: 16 << 20}}})
	s.start()
	id := s.add(link, "")
	d := s.waitFor(id, "error")
	if d.Error.Code != "no_space" || !d.Error.Recoverable || !strings.Contains(d.Error.Message, "16 MiB") {
		t.Errorf("error: %+v", d.Error)
	}
	if s.cloud.Stats().Served != 0 {
		t.Error("bytes were asked for although they cannot fit")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// It goes on by itself.
	sameContent(t, filepath.Join(s.again(id), "a.bin"), s.cloud.File(link, 0))
}

// again waits for a download that is in error now to become complete, and returns its tree.
func (s *site) again(id string) string {
	s.t.Helper()
	var d download
	s.until("complete", func() bool { d = s.get(id); return d.State == "complete" })
	return d.Path
}

func TestADatabaseOnTheFullDiskIsNoDeadEnd(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		skip(t, "mounting a small tmpfs needs root")
	}
	s := newSite(t, false, "--reserve-free", "0")
	shared := filepath.Join(filepath.Dir(s.downloads), "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", shared, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(shared, 2) })
	s.downloads, s.state = filepath.Join(shared, "downloads"), filepath.Join(shared, "state")
	var files []masvtest.File
	for i := range 100 {
		files = append(files, masvtest.File{Name: fmt.Sprint("f", i), Size: 300_000})
	}
	link := s.cloud.AddPackage(masvtest.Package{Name: "Shared", Files: files})
	s.cloud.SetRate(200_000)
	s.start()
	id := s.add(link, "")
	s.until("some files", func() bool { return s.get(id).FilesDone > 0 })
	ballast, err := os.Create(filepath.Join(shared, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = ballast.Write(make([]byte, 64<<10))
	}
	ballast.Close()
	s.cloud.SetRate(0)
	s.until("it is noticed", func() bool { return strings.Contains(s.log.String(), "has a problem") })
	if err := os.Remove(ballast.Name()); err != nil {
		t.Fatal(err)
	}
	tree := s.again(id)
	for i := range files {
		f := s.cloud.File(link, i)
		sameContent(t, filepath.Join(tree, f.Name), f)
	}
}

func TestASecondAgentIsRefused(t *testing.T) {
	s := newSite(t, false)
	s.start()
	_, err := s.masvfs(append(s.args(), "--listen", "http://127.0.0.1:"+freePort(t))...)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(s.process.Process.Pid)) {
		t.Errorf("a second agent on the same folders: %v", err)
	}
	other := newSite(t, false)
	other.address = s.address
	_, err = other.masvfs(other.args()...)
	if err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a second agent on the same port: %v", err)
	}
	if r, err := http.Get(s.address + "/api/v1/downloads"); err != nil || r.StatusCode != 200 {
		t.Errorf("the first agent suffered: %v", err)
	}
}
