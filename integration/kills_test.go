package integration

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// TestKilledAtAnyMoment kills the agent while links are dropped and posted,
// while it starts, lists, transfers and finishes, and while downloads are
// paused, resumed and deleted. No link is lost or doubled, no byte is wrong,
// and each link is opened once.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	kills := 100
	if thorough() {
		kills = 2000
	}
	// A site for each hundred, so that its list stays short.
	for _, seed := range seeds(t, kills/100, kills/100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { newVictim(t, seed).run(100) })
	}
}

// victim is a site whose agent is killed.
type victim struct {
	*site
	rand *rand.Rand
	sent []*sending
	life atomic.Pointer[uptime]
}

// uptime is one life of the agent, as the cloud sees it.
type uptime struct {
	open chan struct{} // closed when links may be opened
	over chan struct{} // closed when the agent is dead
}

// sending is a link on its way.
type sending struct {
	masvtest.Package
	link     masvtest.Link
	id       string // once REST has told it
	posted   bool   // REST has answered
	dropped  bool   // the inbox has it
	deleting bool   // it was asked for
	deleted  bool   // and answered
	opened   int    // how often the link had been opened when its package was last not known
}

func newVictim(t testing.TB, seed uint64) *victim {
	t.Helper()
	v := &victim{site: newSite(t, true, "--reserve-free", "0"), rand: rand.New(rand.NewPCG(seed, 5))}
	v.cloud.SetRate(12 << 20)
	v.cloud.Fault(func(r masvtest.Request) *masvtest.Fault {
		if r.Call != masvtest.CallLink {
			return nil
		}
		u := v.life.Load()
		select {
		case <-u.open:
			return nil
		case <-u.over:
			return &masvtest.Fault{Ending: masvtest.EndReset, After: masvtest.BeforeHeader}
		}
	})
	return v
}

func (v *victim) run(kills int) {
	t := v.t
	for n := range kills {
		u := v.rise()
		if v.rand.IntN(5) == 0 { // not even started
			v.pause(60)
			v.kill(u)
			continue
		}
		v.until("REST answers", v.answers)
		v.look(u)
		ctx, cancel := context.WithCancel(context.Background())
		var doing sync.WaitGroup
		for range 1 + v.rand.IntN(3) {
			v.act(ctx, &doing)
		}
		v.pause(150)
		v.kill(u)
		cancel()
		doing.Wait()
		if t.Failed() {
			t.Fatalf("failed after kill %d", n+1)
		}
	}
	v.cloud.SetRate(0)
	u := v.rise()
	v.until("REST answers", v.answers)
	v.look(u)
	v.finish()
	v.signal(syscall.SIGTERM)
	close(u.over)
}

// pause waits for a moment that may be any, up to so many milliseconds.
func (v *victim) pause(most int) { time.Sleep(time.Duration(v.rand.IntN(most)) * time.Millisecond) }

func (v *victim) rise() *uptime {
	v.t.Helper()
	u := &uptime{open: make(chan struct{}), over: make(chan struct{})}
	v.life.Store(u)
	v.launch()
	return u
}

func (v *victim) kill(u *uptime) {
	v.t.Helper()
	v.signal(syscall.SIGKILL)
	close(u.over)
}

// look compares what REST lists with what was sent, before any link is opened
// in this life, and then lets links be opened.
func (v *victim) look(u *uptime) {
	t := v.t
	t.Helper()
	defer close(u.open)
	var all []linked
	v.call("GET", "/downloads", "", &all)
	for _, s := range v.sent {
		of := slices.DeleteFunc(slices.Clone(all), func(d linked) bool { return !strings.Contains(d.URL, s.link.ID) })
		switch {
		case len(of) > 1:
			t.Errorf("%s is there %d times", s.Name, len(of))
			continue
		case len(of) == 0 && s.deleting:
			s.deleted = true
			continue
		case len(of) == 0 && s.posted:
			t.Errorf("%s was accepted and is gone", s.Name)
			continue
		case len(of) == 0:
			continue // still in the inbox, or never heard of
		case s.deleted:
			t.Errorf("%s was deleted and is back", s.Name)
			continue
		}
		d := of[0]
		if s.id != "" && s.id != d.ID {
			t.Errorf("%s was %s and is %s", s.Name, s.id, d.ID)
		}
		if d.State == "error" {
			t.Errorf("%s is in error: %+v", s.Name, d.Error)
		}
		s.id, s.posted = d.ID, true
		if d.Name == s.link.ID {
			s.opened = v.cloud.LinkStats(s.link).Initiated
		}
	}
}

// act does one thing that people do.
func (v *victim) act(ctx context.Context, doing *sync.WaitGroup) {
	var known []*sending
	for _, s := range v.sent {
		if s.id != "" && !s.deleting {
			known = append(known, s)
		}
	}
	do := func(method, path, body string, answered func(status int)) {
		doing.Go(func() {
			if status, err := v.ask(ctx, method, path, body, nil); err == nil {
				answered(status)
			}
		})
	}
	if len(known) < 4 && v.rand.IntN(3) > 0 || len(known) == 0 {
		s := v.newLink()
		if v.rand.IntN(2) == 0 {
			s.dropped = true
			v.drop(s.Name+".masvlink", s.link.URL()+"\n")
			return
		}
		do("POST", "/downloads", fmt.Sprintf(`{"url": %q}`, s.link.URL()), func(status int) {
			if status == http.StatusCreated {
				s.posted = true
			}
		})
		return
	}
	s := known[v.rand.IntN(len(known))]
	ignore := func(int) {}
	switch v.rand.IntN(4) {
	case 0:
		do("POST", "/downloads/"+s.id+"/pause", "", ignore)
	case 1, 2:
		do("POST", "/downloads/"+s.id+"/resume", "", ignore)
	default:
		s.deleting = true
		do("DELETE", "/downloads/"+s.id, `{"remove_files": true}`, func(status int) {
			if status == http.StatusNoContent {
				s.deleted = true
			}
		})
	}
}

func (v *victim) newLink() *sending {
	s := &sending{Package: masvtest.Package{Name: fmt.Sprint("Sent ", len(v.sent))}}
	for i := range 1 + v.rand.IntN(6) {
		s.Files = append(s.Files, masvtest.File{Name: fmt.Sprint("file ", i), Path: []string{"", "a", "a/b"}[i%3], Size: v.rand.Int64N(200_000)})
	}
	if v.rand.IntN(3) == 0 {
		s.Files[0].Size = 4<<20 + v.rand.Int64N(4<<20)
	}
	s.link = v.cloud.AddPackage(s.Package)
	for i := range s.Files {
		s.Files[i] = v.cloud.File(s.link, i)
	}
	v.sent = append(v.sent, s)
	return s
}

// finish takes everything to its end and looks at all of it.
func (v *victim) finish() {
	t := v.t
	t.Helper()
	v.call("POST", "/downloads/all/resume", "", nil)
	for _, s := range v.sent {
		if s.deleting && !s.deleted {
			v.call("DELETE", "/downloads/"+s.id, `{"remove_files": true}`, nil)
		}
	}
	wanted := slices.DeleteFunc(slices.Clone(v.sent), func(s *sending) bool {
		return s.deleting || !s.posted && !s.dropped
	})
	var all []linked
	v.until("all complete", func() bool {
		all = nil
		v.call("GET", "/downloads", "", &all)
		for _, d := range all {
			if d.State == "error" {
				t.Fatalf("%s is in error: %+v", d.Name, d.Error)
			}
		}
		complete := slices.DeleteFunc(slices.Clone(all), func(d linked) bool { return d.State != "complete" })
		return len(complete) == len(all) && len(all) >= len(wanted)
	})
	want := map[string]masvtest.File{}
	for _, s := range v.sent {
		of := slices.DeleteFunc(slices.Clone(all), func(d linked) bool { return !strings.Contains(d.URL, s.link.ID) })
		if len(of) > 1 || len(of) == 0 && slices.Contains(wanted, s) {
			t.Errorf("%s is there %d times", s.Name, len(of))
		}
		if calls := v.cloud.LinkStats(s.link).Initiated; calls > s.opened+1 {
			t.Errorf("the link of %s was opened %d times, %d of them before its package was known", s.Name, calls, s.opened)
		}
		if len(of) == 0 {
			continue
		}
		for _, f := range s.Files {
			want[filepath.Join(s.Name, f.Path, f.Name)] = f
		}
	}
	err := filepath.WalkDir(v.downloads, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(v.downloads, path)
		if f, ok := want[rel]; ok {
			sameContent(t, path, f)
			delete(want, rel)
		} else if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("stray: %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for path := range want {
		t.Errorf("missing: %s", path)
	}
	if left, _ := filepath.Glob(filepath.Join(v.inbox, "*.masvlink")); len(left) > 0 {
		t.Errorf("left in the inbox: %v", left)
	}
	deleted := len(v.sent) - len(all)
	t.Logf("%d links, %d downloads complete, %d deleted or never accepted", len(v.sent), len(all), deleted)
}
