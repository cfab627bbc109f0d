package masvtest_test

import (
	"fmt"
	"strings"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

func TestFaultsGoByTheRequest(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{Files: []masvtest.File{{Name: "a", Size: 1}, {Path: "p/q", Name: "b", Size: 100}}})
	var got []masvtest.Request
	c.Fault(func(r masvtest.Request) *masvtest.Fault {
		got = append(got, r)
		return nil
	})
	c.get(c.listingURL(l), c.token(l)).want(t, 200)
	u := c.object(l, 1)
	c.get(u).want(t, 200)
	c.get(u, "Range: bytes=-30").want(t, 206)
	base := masvtest.Request{Method: "GET", LinkID: l.ID, PackageID: l.PackageID, Index: -1}
	file := base
	file.FileID, file.Index, file.Path = c.File(l, 1).ID, 1, "p/q/b"
	want := []masvtest.Request{base, base, base, file, file, file}
	for i, call := range []masvtest.Call{masvtest.CallLink, masvtest.CallListing, masvtest.CallLink, masvtest.CallFileURL, masvtest.CallStorage, masvtest.CallStorage} {
		want[i].Call, want[i].N = call, 1
	}
	want[2].N, want[5].N = 2, 2
	want[4].Length = 100
	want[5].Ranged, want[5].Offset, want[5].Length = true, 70, 30
	if text, expected := describe(got), describe(want); text != expected {
		t.Errorf("requests\n%s\nwant\n%s", text, expected)
	}
}

func describe(rs []masvtest.Request) string {
	var b strings.Builder
	for _, r := range rs {
		fmt.Fprintln(&b, r.Call, r.Method, r.LinkID, r.PackageID, r.FileID, r.Index, r.Path, r.Ranged, r.Offset, r.Length, r.N)
	}
	return b.String()
}

func TestFirstFaultWins(t *testing.T) {
	c, u := faulty(t, nil)
	c.Fault(masvtest.First(
		masvtest.Times(1, masvtest.On(masvtest.CallStorage, masvtest.Status(500))),
		masvtest.Times(2, masvtest.On(masvtest.CallStorage, masvtest.Status(503))),
	))
	for _, status := range []int{500, 503, 503, 200} {
		c.get(u).want(t, status)
	}
}
