package integration

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// read lists the mount and reads what it finds, again and again, with so many
// readers. What fails is of no account: the agent is stopped under them.
func (s *site) read(readers int) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for ctx.Err() == nil {
				filepath.WalkDir(s.mount, func(p string, e fs.DirEntry, err error) error {
					if err == nil && e.Type().IsRegular() {
						if f, err := os.Open(p); err == nil {
							io.Copy(io.Discard, f)
							f.Close()
						}
					}
					return ctx.Err()
				})
			}
		})
	}
	end = func() { stop(); all.Wait() }
	s.last = append(s.last, end)
	return end
}

// mounts counts what is mounted at the mount, without touching it.
func (s *site) mounts() int {
	s.t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Count(string(table), " "+s.mount+" ")
}

func TestKilledInTheMiddleOfAnnouncementsItIsGoneAndStartsCleanly(t *testing.T) {
	t.Parallel()
	rounds := 5
	if os.Getenv("MASVFS_TEST_LONG") != "" {
		rounds = 100
	}
	const n = 400
	s := newSite(t, true)
	limit := time.AfterFunc(time.Duration(rounds)*patience, func() { syscall.Unmount(s.mount, syscall.MNT_FORCE|syscall.MNT_DETACH) })
	defer limit.Stop()
	s.start()
	s.read(4)
	random := rand.New(rand.NewPCG(3, 4))
	var slowest time.Duration
	for round := range rounds {
		link, files := s.addPackage(masvtest.Package{Name: fmt.Sprint("Round ", round), Files: small(n, "", "reel 1", "reel 2/a")})
		folder := fmt.Sprint("Round ", round)
		w := s.watch(func(e event) {
			if e.kind != "CLOSE_WRITE" {
				return
			}
			if f, err := os.Open(filepath.Join(s.mount, e.path)); err == nil {
				io.Copy(io.Discard, f)
				f.Close()
			}
		})
		id := s.add(link, "")
		at := 10 + random.IntN(n-100)
		s.until("files are announced", func() bool { return w.count("CLOSE_WRITE", folder+"/files") >= at })

		agent, exited := s.process.Process, s.exited
		agent.Kill()
		killed := time.Now()
		select {
		case <-exited:
			slowest = max(slowest, time.Since(killed))
		case <-time.After(deathTime):
			t.Fatalf("round %d: %v after SIGKILL the agent is still there", round, deathTime)
		}
		s.process = nil
		w.stop()
		t.Logf("round %d: killed after %d announcements", round, w.count("CLOSE_WRITE", folder+"/files"))

		release := s.hold(0)
		s.start()
		if s.mounts() != 1 {
			t.Errorf("round %d: there are %d mounts", round, s.mounts())
		}
		// What is there, is there; a new watcher is told of the rest.
		again := s.watch(nil)
		var rest []string
		for name := range files {
			if _, err := os.Stat(filepath.Join(s.mount, folder, name)); err != nil {
				rest = append(rest, name)
			}
		}
		release()
		d := s.waitFor(id, "complete")
		if len(rest) > 0 {
			again.until(1, "MODIFY", folder+"/state")
		}
		for i, name := range keys(files) {
			if i%8 == round%8 || slices.Contains(rest, name) {
				sameContent(t, filepath.Join(d.MountPath, name), files[name])
			}
		}
		told := slices.DeleteFunc(slices.Clone(again.sofar()), func(e event) bool { return !strings.Contains(e.path, "/frame ") })
		checkTold(t, told, folder+"/files", trimmed(rest), nil)
		again.stop()
		if log := s.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
			t.Errorf("round %d: the next start complains", round)
		}
		if status := s.call("DELETE", "/downloads/"+id, `{"remove_files": true}`, nil); status != 204 {
			t.Errorf("DELETE answers %d", status)
		}
		if t.Failed() {
			t.Fatalf("failed in round %d", round)
		}
	}
	t.Logf("%d kills, the slowest death took %v", rounds, slowest)
}

func TestStoppedInTheMiddleOfAnnouncementsItEndsCleanly(t *testing.T) {
	t.Parallel()
	const n = 400
	s := watchedSite(t)
	link, files := s.addPackage(masvtest.Package{Name: "Stopped", Files: small(n, "", "reel 1", "reel 2/a")})
	end := s.read(2)
	w := s.watch(nil)
	id := s.add(link, "")
	s.until("files are announced", func() bool { return w.count("CLOSE_WRITE", "Stopped/files") >= 50 })
	agent := s.process
	s.signal(syscall.SIGTERM)
	if code := agent.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	end()
	if s.mounts() != 0 {
		t.Error("it is still mounted")
	}
	if log := s.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
		t.Errorf("it complains:\n%s", log)
	}
	before := map[string]bool{}
	for _, e := range w.sofar() {
		if e.kind == "CLOSE_WRITE" {
			before[strings.TrimPrefix(e.path, "Stopped/")] = true
		}
	}
	w.stop()

	s.start()
	again := s.watch(nil)
	d := s.waitFor(id, "complete")
	for name, f := range files {
		sameContent(t, filepath.Join(d.MountPath, name), f)
	}
	// What was told of before the stop is there, and is not told of again.
	for _, e := range again.sofar() {
		if e.kind == "CREATE" && before[strings.TrimPrefix(e.path, "Stopped/")] {
			t.Errorf("%s was announced before and after the stop", e.path)
		}
	}
}
