package masvtest_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

func TestBytesServedTwiceAreCounted(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{Files: []masvtest.File{{Name: "a", Size: 1000}, {Name: "b", Size: 10}}})
	a, b := c.object(l, 0), c.object(l, 1)
	want := masvtest.FileStats{URLs: 1}
	for _, step := range []struct {
		from, to      int // inclusive
		served, twice int64
	}{
		{100, 199, 100, 0},
		{300, 399, 100, 0},
		{150, 249, 100, 50},
		{200, 349, 150, 100},
		{0, 999, 1000, 300},
		{990, 999, 10, 10},
		{0, 999, 1000, 1000},
	} {
		c.get(a, fmt.Sprintf("Range: bytes=%d-%d", step.from, step.to)).want(t, 206)
		want.Requests++
		want.Served += step.served
		want.Twice += step.twice
		if got := c.FileStats(l, 0); got != want {
			t.Errorf("after bytes %d-%d: %+v, want %+v", step.from, step.to, got, want)
		}
	}
	c.get(b).want(t, 200)
	c.get(b).want(t, 200)
	if got, want := c.FileStats(l, 1), (masvtest.FileStats{URLs: 1, Requests: 2, Served: 20, Twice: 10}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := c.Stats(); got.Served != want.Served+20 || got.Twice != want.Twice+10 {
		t.Errorf("in all %d and %d", got.Served, got.Twice)
	}
}

func TestScatteredBytesServedTwiceAreNotCountedTooOften(t *testing.T) {
	const blocks = 3000 // every other one first: more gaps than are remembered
	c := start(t)
	_, u := c.one(masvtest.File{Name: "a", Size: blocks})
	order := rand.New(rand.NewPCG(1, 2)).Perm(blocks)
	for _, i := range order {
		c.get(u, fmt.Sprintf("Range: bytes=%d-%d", i, i)).want(t, 206)
	}
	if got := c.Stats(); got.Served != blocks || got.Twice != 0 {
		t.Fatalf("%d bytes, %d of them twice", got.Served, got.Twice)
	}
	c.get(u).want(t, 200)
	if got := c.Stats(); got.Twice != blocks {
		t.Errorf("then all again: %d of them twice", got.Twice)
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	const clients = 5
	c := start(t)
	_, u := c.one(masvtest.File{Name: "a", Size: size})
	release := make(chan struct{})
	c.Fault(masvtest.On(masvtest.CallStorage, masvtest.StallAfter(10, release)))
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			resp, err := c.client.Get(u)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
		})
	}
	eventually(t, "all connections to be open", func() bool { return c.Stats().Objects.Open == clients })
	close(release)
	all.Wait()
	c.client.CloseIdleConnections()
	eventually(t, "all connections to be closed", func() bool { return c.Stats().Objects.Open == 0 })
	if got := c.Stats().Objects; got.Peak != clients || got.Accepted != clients {
		t.Errorf("%+v", got)
	}
}

func TestStatsAreASnapshot(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{})
	c.token(l)
	before := c.Stats()
	c.token(l)
	if before.Link.Calls != 1 || before.Link.Status[200] != 1 {
		t.Errorf("%+v", before.Link)
	}
}

func TestEverythingMayHappenAtOnce(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{Files: []masvtest.File{{Name: "a", Size: 1 << 16}, {Name: "b", Size: 1 << 16}}})
	u := c.object(l, 0)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 25 {
				c.get(u)
				c.get(c.listingURL(l))
				switch i {
				case 0:
					c.Fault(masvtest.Flaky(1, 0.2))
				case 1:
					c.Update(l, func(p *masvtest.Package) { p.Files[1].Gone = !p.Files[1].Gone })
					c.RevokeTokens(l)
				case 2:
					c.Replace(l, 0, 5)
					c.Stats()
				case 3:
					c.SetDown(true)
					c.SetDown(false)
				}
			}
		})
	}
	all.Wait()
	c.Fault(nil)
	if r := c.get(u).want(t, 200); string(r.body) != content(5, 0, 1<<16) {
		t.Error("wrong content after it all")
	}
}
