package masvtest_test

import (
	"fmt"
	"math"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

func TestFlakyIsReplayable(t *testing.T) {
	mixed, other := masvtest.Flaky(1, 0.3), masvtest.Flaky(2, 0.3)
	again := masvtest.Flaky(1, 0.3)
	same, faults := 0, 0
	const calls = 3000
	requests := make([]masvtest.Request, calls)
	first := make([]string, calls)
	for i := range requests {
		requests[i] = masvtest.Request{Call: masvtest.Call(i % 4), Index: i / 8, N: i%8 + 1, Length: 1 << 20}
		first[i] = show(mixed(requests[i]))
		if first[i] != "none" {
			faults++
		}
		if first[i] == show(other(requests[i])) && first[i] != "none" {
			same++
		}
	}
	for i := range requests { // in another order
		i = calls - 1 - i
		if got := show(again(requests[i])); got != first[i] {
			t.Fatalf("request %d met %s, then %s", i, first[i], got)
		}
	}
	if math.Abs(float64(faults)/calls-0.3) > 0.05 {
		t.Errorf("%d of %d calls are faulty, want 30 %%", faults, calls)
	}
	if same > faults/4 {
		t.Errorf("another seed gives %d of %d faults the same", same, faults)
	}
}

func show(f *masvtest.Fault) string {
	if f == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *f)
}

func TestFlakyDownloadEndsWithTheRightContent(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{Files: []masvtest.File{{Name: "a", Size: size, Seed: seed}}})
	u := c.object(l, 0)
	c.Fault(masvtest.Flaky(9, 0.7))
	const part = size / 16
	for from := int64(0); from < size; from += part {
		want := fmt.Sprintf("bytes %d-%d/%d", from, from+part-1, size)
		for attempt := 0; ; attempt++ {
			if attempt == 100 {
				t.Fatalf("range at %d: no good answer", from)
			}
			r := c.get(u, fmt.Sprintf("Range: bytes=%d-%d", from, from+part-1))
			if r.err != nil || r.status != 206 || r.header.Get("Content-Range") != want || r.header.Get("Content-Encoding") != "" || len(r.body) != part {
				continue // each of the faults can be noticed
			}
			if string(r.body) != content(seed, from, part) {
				t.Fatalf("range at %d: wrong content in silence", from)
			}
			break
		}
	}
	if got := c.Stats().Storage; got.Calls == 16 || got.Status[206] == got.Calls {
		t.Errorf("nothing was flaky: %+v", got)
	}
}
