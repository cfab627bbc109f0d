package watcher_test

import (
	"context"
	"os"
	"testing"
	"time"

	"masvfs/fetch"
	"masvfs/watcher"
)

// crash runs a watcher until hook sets it to stop in its tracks: whatever
// follows that point in the code never happens, as after a SIGKILL. It proves
// in passing that an agent that does not answer cannot hold up a shutdown.
func (in *inbox) crash(hook func(a *agent, dead func())) {
	in.Helper()
	reached := make(chan struct{})
	in.agent.set(func(a *agent) {
		hook(a, func() {
			close(reached)
			select {}
		})
	})
	w := watcher.New(watcher.Config{Folder: in.folder, Agent: in.agent, Settle: never, GiveUp: never, Rescan: never})
	w.SetGrace(time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	<-reached
	cancel()
	if err := <-done; err == nil {
		in.Error("Run said nothing of the goroutine that it leaves behind")
	}
	in.agent.set(func(a *agent) { a.onTaken, a.onLeave = nil, nil })
}

func TestACrashBetweenRecordingAndMovingLeavesOnlyTheMove(t *testing.T) {
	in := newInbox(t)
	in.drop("x.masvlink", linkA)
	in.crash(func(a *agent, dead func()) { a.onTaken = dead })
	in.wants("x.masvlink")
	// What was recorded is valid even if it would be refused today.
	in.agent.set(func(a *agent) {
		a.refuse = func([]fetch.Request) error { return &fetch.InvalidError{Message: "no longer allowed"} }
	})
	in.watch(nil)
	in.forgotten()
	in.wants("accepted", "accepted/x.masvlink")
	in.wantsAccepted(idA)
}

func TestACrashBetweenMovingAndForgettingLeavesNothingBehind(t *testing.T) {
	in := newInbox(t)
	in.drop("x.masvlink", linkA)
	in.crash(func(a *agent, dead func()) { a.onLeave = dead })
	in.wants("accepted", "accepted/x.masvlink")
	in.watch(nil)
	in.forgotten()
	in.wants("accepted", "accepted/x.masvlink")
	in.wantsAccepted(idA)
	in.drop("x.masvlink", linkA)
	in.eventually("the same link dropped again is accepted", func() bool { return in.has("accepted/x (2).masvlink") })
	in.wantsAccepted(idA, idA)
}

func TestAPowerCutThatUndoesTheMoveQueuesNothingTwice(t *testing.T) {
	in := newInbox(t)
	in.drop("x.masvlink", linkA)
	in.crash(func(a *agent, dead func()) { a.onLeave = dead })
	in.must(os.Rename(in.path("accepted/x.masvlink"), in.path("x.masvlink")))
	in.watch(nil)
	in.forgotten()
	in.wants("accepted", "accepted/x.masvlink")
	in.wantsAccepted(idA)
}

func TestACrashBetweenLinkingAndUnlinkingLeavesOneFile(t *testing.T) {
	in := newInbox(t)
	in.drop("x.masvlink", linkA)
	in.crash(func(a *agent, dead func()) { a.onTaken = dead })
	// Where a file system cannot rename without replacing, the move is two steps.
	in.must(os.Mkdir(in.path("accepted"), 0o700))
	in.must(os.Link(in.path("x.masvlink"), in.path("accepted/x.masvlink")))
	in.watch(nil)
	in.forgotten()
	in.wants("accepted", "accepted/x.masvlink")
	in.wantsAccepted(idA)
}

func TestACrashBetweenExplainingAndMovingLeavesOneExplanation(t *testing.T) {
	in := newInbox(t)
	stop := in.watch(func(c *watcher.Config) { c.Settle = 20 * time.Millisecond })
	in.drop("x.masvlink", "nonsense")
	in.eventually("it is in rejected", func() bool { return in.has("rejected/x.masvlink") })
	stop()
	in.must(os.Rename(in.path("rejected/x.masvlink"), in.path("x.masvlink")))
	in.must(os.WriteFile(in.path("rejected/.unfinished.error.txt"), []byte("half"), 0o600))
	in.watch(func(c *watcher.Config) { c.Settle = 20 * time.Millisecond })
	in.eventually("it is in rejected again", func() bool { return in.has("rejected/x.masvlink") })
	in.drop("y.masvlink", "nonsense") // clears what is unfinished
	in.eventually("another is, too", func() bool { return in.has("rejected/y.masvlink") })
	in.wants("rejected", "rejected/x.masvlink", "rejected/x.masvlink.error.txt", "rejected/y.masvlink", "rejected/y.masvlink.error.txt")
	in.wantsAccepted()
}
