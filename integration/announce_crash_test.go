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

// startsWhereItWas starts an agent that was killed or stopped in the middle of
// a download. What was there is there; who watches now is told of the rest.
func (s *site) startsWhereItWas(id, folder string, files map[string]masvtest.File) {
	t := s.t
	t.Helper()
	release := s.hold(0)
	s.start()
	if n := s.mounts(); n != 1 {
		t.Errorf("there are %d mounts", n)
	}
	w := s.watch(nil)
	defer w.stop()
	var rest []string
	for name := range files {
		if _, err := os.Stat(filepath.Join(s.mount, folder, name)); err != nil {
			rest = append(rest, name)
		}
	}
	if len(rest) < held {
		t.Errorf("%d files are left to come", len(rest))
	}
	release()
	s.waitFor(id, "complete")
	w.until(1, "MODIFY", folder+"/state")
	for i, name := range keys(files) {
		if i%8 == 0 || slices.Contains(rest, name) {
			sameContent(t, filepath.Join(s.mount, folder, name), files[name])
		}
	}
	told := slices.DeleteFunc(slices.Clone(w.sofar()), func(e event) bool { return !strings.Contains(e.path, "/frame ") })
	for p := range byPath(told) {
		// One whose bytes were there already may have come before it was looked for.
		if name := strings.TrimPrefix(p, folder+"/"); !slices.Contains(rest, name) {
			rest = append(rest, name)
		}
	}
	checkTold(t, told, folder+"/files", trimmed(rest), nil)
	if log := s.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
		t.Error("the new start complains")
	}
}

// held is how many files of a download do not come before it is killed or stopped.
const held = 40

func TestKilledInTheMiddleOfAnnouncementsItIsGoneAndStartsCleanly(t *testing.T) {
	t.Parallel()
	rounds := 3
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
		s.hold(n - held)
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

		s.startsWhereItWas(id, folder, files)
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
	s.hold(n - held)
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
	w.stop()
	s.startsWhereItWas(id, "Stopped", files)
}
