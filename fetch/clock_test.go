package fetch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
	"masvfs/fetch/store"
)

// apart gives the world a cloud whose clock is so far ahead of this machine's.
func (w *world) apart(ahead func() time.Duration) {
	w.end()
	w.cloud.Close()
	w.cloud = masvtest.NewServer(masvtest.WithClock(func() time.Time { return time.Now().Add(ahead()) }))
	w.Cleanup(w.cloud.Close)
	w.start()
}

func TestAClockThatIsADayWrongOpensNoLinkTwice(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"the cloud's is ahead": 25 * time.Hour, "the cloud's is behind": -25 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.apart(func() time.Duration { return ahead })
			link := w.cloud.AddPackage(masvtest.Package{Name: "Apart", Files: small("a", "b", "c")})
			// A refusal that is not the token's fault.
			w.cloud.Fault(masvtest.Times(1, masvtest.On(masvtest.CallFileURL, masvtest.Status(403))))
			d := w.add(w.request(link))
			w.until("an end", func() bool { d, _ = w.agent.Get(d.ID); return d.State == Failed || d.State == Complete })
			if d.State == Failed {
				if _, err := w.agent.Resume(t.Context(), d.ID, ""); err != nil {
					t.Fatal(err)
				}
			}
			w.check(filepath.Join(w.reach(d.ID, Complete).Path, "a"), w.cloud.File(link, 0))
			if n := w.cloud.LinkStats(link).Calls; n != 1 {
				t.Errorf("the link was called %d times", n)
			}
		})
	}
}

func TestATokenThatDiesWhileTheClockJumpsIsRenewedOnce(t *testing.T) {
	w := newWorld(t)
	ahead := make(chan time.Duration, 1)
	ahead <- 0
	w.apart(func() time.Duration { d := <-ahead; ahead <- d; return d })
	link := w.cloud.AddPackage(masvtest.Package{Name: "Jumps", Files: []masvtest.File{{Name: "a", Size: 8 << 20}, {Name: "b", Size: 8 << 20}}})
	w.cloud.SetRate(1 << 20)
	id := w.add(w.request(link)).ID
	w.until("bytes", func() bool { d, _ := w.agent.Get(id); return d.BytesDone > 0 })
	<-ahead
	ahead <- 25 * time.Hour // tokens and URLs are expired now
	w.cloud.SetRate(0)
	w.check(filepath.Join(w.reach(id, Complete).Path, "b"), w.cloud.File(link, 1))
	if n := w.cloud.LinkStats(link).Calls; n > 2 {
		t.Errorf("the link was called %d times", n)
	}
}

func TestARetryThatAWrongClockHasPutOffForDaysComesSoon(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Late", Files: small("a")})
	r := w.request(link)
	r.DstFolder = filepath.Join(w.downloads(), "x")
	if err := os.WriteFile(r.DstFolder, nil, 0o600); err != nil { // in the way
		t.Fatal(err)
	}
	id := w.add(r).ID
	w.reach(id, Failed)
	d, err := w.agent.find(id)
	if err != nil {
		t.Fatal(err)
	}
	err = w.agent.change(d, func(row *store.Download) error {
		row.RetryAt = time.Now().AddDate(0, 0, 3)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.end()
	w.start()
	got, err := w.agent.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	if wait := time.Until(got.Problem.RetryAt); wait > maxRetry {
		t.Errorf("it is tried again in %v", wait)
	}
}
