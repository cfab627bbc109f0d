package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// killsPerSite is how often one agent is killed, so that its list stays short.
const killsPerSite = 50

// TestKilledAtAnyMoment kills the agent while links are dropped and posted,
// while it starts, lists, transfers and finishes, and while downloads are
// paused, resumed and deleted. No link is lost or doubled, no byte is wrong,
// each link is opened once, and nothing else is left.
func TestKilledAtAnyMoment(t *testing.T) {
	for _, seed := range seeds(t, 100/killsPerSite, 2000/killsPerSite) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			newVictim(t, seed).run(killsPerSite)
		})
	}
}

// victim is a site whose agent is killed.
type victim struct {
	*site
	rand *rand.Rand
	sent []*sending
	life atomic.Pointer[uptime]
	seen map[string]bool // files that had their names, and were right
	met  map[string]int  // how often a start has found a download like this
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
	deleting bool   // it was asked for, and how that went is not known
	keeps    bool   // and was to keep the files that are complete
	deleted  bool   // it is done
	calls    int    // how often the link had been opened when the agent started last
	known    bool   // what the link leads to had been recorded then
	complete bool   // as it was then
}

func newVictim(t testing.TB, seed uint64) *victim {
	t.Helper()
	v := &victim{
		site: newSite(t, true, "--reserve-free", "0"),
		rand: rand.New(rand.NewPCG(seed, 5)),
		seen: make(map[string]bool),
		met:  make(map[string]int),
	}
	v.cloud.SetRate(2 << 20)
	// What an agent has recorded is looked up before it can open a link.
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
		if v.rand.IntN(5) == 0 { // it has hardly started
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
			v.pause(40)
		}
		v.pause(150)
		v.kill(u)
		cancel()
		doing.Wait()
		v.lookAtDisk()
		if t.Failed() {
			t.Fatalf("kill %d", n+1)
		}
	}
	v.cloud.SetRate(0)
	u := v.rise()
	v.until("REST answers", v.answers)
	v.look(u)
	v.finish()
	v.signal(syscall.SIGTERM)
	close(u.over)
	t.Logf("%d links; downloads that were found after kills: %v", len(v.sent), v.met)
}

// pause waits for so many milliseconds at most: the moment of a kill may be any.
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
	v.until("the cloud knows that it is dead", func() bool { return v.cloud.Stats().API.Open == 0 })
}

// act does one thing that people do.
func (v *victim) act(ctx context.Context, doing *sync.WaitGroup) {
	do := func(method, path, body string, answered func(status int)) {
		doing.Go(func() {
			if status, err := v.ask(ctx, method, path, body, nil); err == nil {
				answered(status)
			}
		})
	}
	ignore := func(int) {}
	var there, busy []*sending
	for _, s := range v.sent {
		if s.id == "" || s.deleting || s.deleted {
			continue
		}
		if there = append(there, s); !s.complete {
			busy = append(busy, s)
		}
	}
	if len(there) == 0 || len(busy) < 5 && v.rand.IntN(2) == 0 {
		s := v.newLink()
		if v.rand.IntN(2) == 0 {
			s.dropped = true
			v.drop(s.Name+".masvlink", s.link.URL()+"\n")
			return
		}
		do("POST", "/downloads", fmt.Sprintf(`{"url": %q}`, s.link.URL()), func(status int) {
			s.posted = s.posted || status == http.StatusCreated
		})
		return
	}
	s := there[v.rand.IntN(len(there))]
	if len(busy) > 0 && v.rand.IntN(3) > 0 {
		s = busy[v.rand.IntN(len(busy))]
	}
	switch v.rand.IntN(6) {
	case 0, 1:
		do("POST", "/downloads/"+s.id+"/pause", "", ignore)
	case 2:
		do("POST", "/downloads/"+s.id+"/resume", "", ignore)
	case 3:
		do("POST", "/downloads/all/resume", "", ignore)
	default:
		s.deleting, s.keeps = true, v.rand.IntN(3) == 0
		do("DELETE", "/downloads/"+s.id, fmt.Sprintf(`{"remove_files": %t}`, !s.keeps), func(status int) {
			s.deleted = s.deleted || status == http.StatusNoContent
		})
	}
}

func (v *victim) newLink() *sending {
	s := &sending{Package: masvtest.Package{Name: fmt.Sprint("Sent ", len(v.sent))}}
	for i := range 1 + v.rand.IntN(14) {
		s.Files = append(s.Files, masvtest.File{Name: fmt.Sprint("file ", i), Path: []string{"", "a", "a/b"}[i%3], Size: v.rand.Int64N(200_000)})
	}
	if v.rand.IntN(2) == 0 {
		s.Files[0].Size = 4<<20 + v.rand.Int64N(8<<20)
	}
	s.link = v.cloud.AddPackage(s.Package)
	for i := range s.Files {
		s.Files[i] = v.cloud.File(s.link, i)
	}
	v.sent = append(v.sent, s)
	return s
}
