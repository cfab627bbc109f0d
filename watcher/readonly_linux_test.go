package watcher_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/watcher"
)

// seal makes the inbox one that cannot be written to, and returns how to undo
// that. Root is stopped by no mode, so for it that is a read-only mount.
func (in *inbox) seal() (unseal func()) {
	in.Helper()
	if os.Geteuid() != 0 {
		in.must(os.Chmod(in.folder, 0o500))
		unseal = func() { in.must(os.Chmod(in.folder, 0o700)) }
		in.Cleanup(unseal)
		return unseal
	}
	if err := syscall.Mount(in.folder, in.folder, "", syscall.MS_BIND, ""); err != nil {
		in.Skipf("root without the right to mount cannot make a folder read-only: %v", err)
	}
	in.Cleanup(func() {
		if err := syscall.Unmount(in.folder, syscall.MNT_DETACH); err != nil {
			in.Error(err)
		}
	})
	in.must(syscall.Mount("", in.folder, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	return func() { in.must(syscall.Mount("", in.folder, "", syscall.MS_BIND|syscall.MS_REMOUNT, "")) }
}

func TestAnInboxThatCannotBeWrittenToIsRemembered(t *testing.T) {
	in := newInbox(t)
	in.drop("good.masvlink", linkA)
	in.drop("bad.masvlink", "nonsense")
	unseal := in.seal()
	quick := func(c *watcher.Config) { c.Settle, c.Rescan = 20*time.Millisecond, 10*time.Millisecond }

	stop := in.watch(quick)
	rejectedOnce := func() bool { return strings.Contains(in.logged(), "link file rejected") }
	in.eventually("the bad one is reported", rejectedOnce)
	in.eventually("the good one is accepted", func() bool { return in.agent.recorded() == 1 })
	asked := in.reads()
	in.letRescansPass()
	if got := in.reads(); got != asked {
		t.Errorf("unchanged files were read again: %d reads, then %d", asked, got)
	}
	if n := strings.Count(in.logged(), "rejected"); n != 1 {
		t.Errorf("the bad one was reported %d times", n)
	}
	stop()

	stop = in.watch(quick)
	in.eventually("both are read after a restart", func() bool { return in.reads() >= asked+2 })
	in.letRescansPass()
	in.wants("bad.masvlink", "good.masvlink")
	in.wantsAccepted(idA)

	unseal()
	in.forgotten()
	in.eventually("the bad one is in rejected", func() bool { return in.has("rejected/bad.masvlink") })
	in.wants("accepted", "accepted/good.masvlink", "rejected", "rejected/bad.masvlink", "rejected/bad.masvlink.error.txt")
	in.wantsAccepted(idA)
	stop()
}

func TestTheMemoryOfAReadOnlyInboxEndsWithItsFiles(t *testing.T) {
	in := newInbox(t)
	in.drop("x.masvlink", linkA)
	in.drop("y.masvlink", linkB)
	unseal := in.seal()
	quick := func(c *watcher.Config) { c.Settle, c.Rescan = 20*time.Millisecond, 10*time.Millisecond }
	stop := in.watch(quick)
	in.eventually("both are accepted", func() bool { return in.agent.recorded() == 2 })
	stop()
	unseal()
	in.must(os.Remove(in.path("x.masvlink")))
	y, err := os.Stat(in.path("y.masvlink"))
	in.must(err)
	in.must(os.Remove(in.path("y.masvlink")))

	// Nothing at all is what a share that is not mounted looks like.
	stop = in.watch(quick)
	in.letRescansPass()
	if got := in.agent.recorded(); got != 2 {
		t.Errorf("%d origins left for an empty inbox, want both", got)
	}
	// While it is away nobody looks: beside anything else, even a file that is
	// about to become y, y would be known to be gone, and rightly forgotten.
	stop()
	in.must(os.WriteFile(in.path("y.masvlink"), []byte(linkB), 0o600))
	in.must(os.Chtimes(in.path("y.masvlink"), y.ModTime(), y.ModTime()))
	stop = in.watch(quick)
	in.forgotten()
	in.wants("accepted", "accepted/y.masvlink")
	in.wantsAccepted(idA, idB)
	stop()
}

// reads is how often a file was read and the agent asked about it.
func (in *inbox) reads() int {
	in.agent.mu.Lock()
	defer in.agent.mu.Unlock()
	return in.agent.asked
}

// letRescansPass waits until a second inbox, served at the same pace, has been
// rescanned a few times: a read-only one gives no sign of that.
func (in *inbox) letRescansPass() {
	in.Helper()
	pace := newInbox(in)
	defer pace.watch(func(c *watcher.Config) { c.NoEvents, c.Rescan = true, 10*time.Millisecond })()
	for range 5 {
		pace.passBy()
	}
}
