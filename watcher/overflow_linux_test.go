package watcher_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestAFileWhoseEventOverflowedIsTaken(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if limit > 100_000 {
		t.Skipf("a queue of %d events takes too long to fill", limit)
	}
	in := newInbox(t)
	reached, release := make(chan struct{}), make(chan struct{})
	in.agent.onTaken = func() {
		in.agent.set(func(a *agent) { a.onTaken = nil })
		close(reached)
		<-release
	}
	in.watch(nil)
	in.drop("first.masvlink", linkA)
	<-reached
	// Two events a rename, and fsnotify holds some itself.
	in.must(os.WriteFile(in.path("0.part"), nil, 0o600))
	for range limit/2 + 5_000 {
		in.must(os.Rename(in.path("0.part"), in.path("1.part")))
		in.must(os.Rename(in.path("1.part"), in.path("0.part")))
	}
	in.drop("second.masvlink", linkB)
	close(release)
	in.eventually("both are accepted", func() bool { return in.has("accepted/second.masvlink") })
	in.wantsAccepted(idA, idB)
}
