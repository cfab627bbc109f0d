package fusefs

import (
	"fmt"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// ownThread is a thread with a table of descriptors of its own, which does not
// hold /dev/fuse.
//
// A process that is killed while one of its threads waits in a mount that it
// serves itself dies only if the descriptor of /dev/fuse is closed with its
// other threads: else the thread waits for an answer that nobody is left to
// give, and keeps open what would tell the kernel so.
//
// No descriptor of the process works on it, and none of its works elsewhere:
// what it runs makes system calls of package unix, and nothing else.
type ownThread struct{ calls chan func() }

// newOwnThread starts a thread, which ends with close.
func newOwnThread() (*ownThread, error) {
	t := &ownThread{calls: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with the goroutine
		err := leaveDescriptors()
		started <- err
		if err != nil {
			return
		}
		for call := range t.calls {
			call()
		}
	}()
	return t, <-started
}

// do runs f on the thread, and returns what it does.
func (t *ownThread) do(f func() error) error {
	done := make(chan error)
	t.calls <- func() { done <- f() }
	return <-done
}

func (t *ownThread) close() { close(t.calls) }

// leaveDescriptors gives this thread a table of descriptors of its own, and
// closes in it all but the standard ones and those of Go's scheduler, which
// writes to its event descriptor from any thread.
func leaveDescriptors() error {
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fmt.Errorf("give a thread a table of descriptors of its own: %w", err)
	}
	const table = "/proc/thread-self/fd"
	fd, err := unix.Open(table, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("read a thread's table of descriptors: %w", err)
	}
	var names []string
	for buf := make([]byte, 4096); ; {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("read a thread's table of descriptors: %w", err)
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	unix.Close(fd)
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil || n <= 2 || n == fd {
			continue
		}
		var buf [64]byte
		size, err := unix.Readlink(table+"/"+name, buf[:])
		if target := string(buf[:max(0, size)]); err == nil && (target == "anon_inode:[eventfd]" || target == "anon_inode:[eventpoll]") {
			continue
		}
		unix.Close(n)
	}
	return nil
}
