package watcher

import (
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	var p patience
	p.defaults()
	tests := []struct {
		name                    string
		state                   writer
		toTake, toReject        time.Duration
		quiet                   time.Duration // for so long already
		lookAgainAfter, needing time.Duration
	}{
		{"closed: at once, but rejected only after 2 s", closed, 100 * time.Millisecond, 2 * time.Second, 0, 2 * time.Second, 2 * time.Second},
		{"not known: after 2 s, and rejected after 10 s", unknown, 2 * time.Second, 10 * time.Second, time.Second, 9 * time.Second, 10 * time.Second},
		{"open: the same, but it may be closed any moment", open, 2 * time.Second, 10 * time.Second, 0, 100 * time.Millisecond, 2 * time.Second},
		{"open for long: looked at less often", open, 2 * time.Second, 10 * time.Second, 8 * time.Second, 500 * time.Millisecond, 10 * time.Second},
		{"open, and nearly settled", open, 2 * time.Second, 10 * time.Second, 1950 * time.Millisecond, 50 * time.Millisecond, 2 * time.Second},
	}
	since := time.Unix(1_000_000_000, 0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := p.toTake(tt.state); got != tt.toTake {
				t.Errorf("to take: %v, want %v", got, tt.toTake)
			}
			if got := p.toReject(tt.state); got != tt.toReject {
				t.Errorf("to reject: %v, want %v", got, tt.toReject)
			}
			now := since.Add(tt.quiet)
			if got := p.next(now, since, tt.state, tt.needing).Sub(now); got != tt.lookAgainAfter {
				t.Errorf("next look after %v, want %v", got, tt.lookAgainAfter)
			}
		})
	}
}

func TestPausesGrowUpToAMinute(t *testing.T) {
	var p patience
	p.defaults()
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := p.pause(failures); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
	}
}

func TestAnOriginIsOfOneNameContentAndTime(t *testing.T) {
	base := sight{inode: 1, size: 3, modified: 5}
	origin := originOf("a.masvlink", base, []byte("abc"))
	later := base
	later.modified++
	for what, other := range map[string]string{
		"name":    originOf("b.masvlink", base, []byte("abc")),
		"content": originOf("a.masvlink", base, []byte("abd")),
		"time":    originOf("a.masvlink", later, []byte("abc")),
	} {
		if other == origin {
			t.Errorf("another %s gives the same origin", what)
		}
	}
	remounted := base
	remounted.inode++
	if originOf("a.masvlink", remounted, []byte("abc")) != origin {
		t.Error("another inode number gives another origin")
	}
	if hash, ok := nameOfOrigin(origin); !ok || hash != nameHash("a.masvlink") {
		t.Errorf("the name in %q is %q, %v", origin, hash, ok)
	}
}
