package cutfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait for the process.
const patience = 30 * time.Second

// Remote is a file system in a process of its own. Its methods are for one
// goroutine; what fails ends the test.
type Remote struct {
	t          testing.TB
	mountpoint string
	in         io.WriteCloser
	answers    chan answer
	ended      chan struct{}

	mu      sync.Mutex // guards what follows
	mounts  int64
	stopped chan struct{} // of this mount; closed when it has stopped
}

// Start starts the process, which is cmd and calls Serve with the mountpoint,
// and mounts an empty file system. It ends with the test.
func Start(t testing.TB, cmd *exec.Cmd, mountpoint string) *Remote {
	t.Helper()
	r := &Remote{
		t:          t,
		mountpoint: mountpoint,
		answers:    make(chan answer, 1),
		ended:      make(chan struct{}),
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.in = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go r.listen(out, cmd)
	t.Cleanup(func() {
		in.Close()
		select {
		case <-r.ended:
		case <-time.After(patience):
			t.Errorf("the process of the file system does not end")
			cmd.Process.Kill()
		}
		Unmount(mountpoint)
	})
	r.Mount()
	return r
}

func (r *Remote) listen(out io.Reader, cmd *exec.Cmd) {
	defer close(r.ended)
	defer cmd.Wait()
	for d := json.NewDecoder(out); ; {
		var a answer
		if d.Decode(&a) != nil {
			return
		}
		if a.Stopped == 0 {
			r.answers <- a
			continue
		}
		r.mu.Lock()
		if a.Stopped == r.mounts {
			close(r.stopped)
		}
		r.mu.Unlock()
	}
}

func (r *Remote) order(o order) {
	r.t.Helper()
	if err := r.try(o); err != nil {
		r.t.Fatalf("the file system of the test: %v", err)
	}
}

func (r *Remote) try(o order) error {
	if err := json.NewEncoder(r.in).Encode(o); err != nil {
		return err
	}
	select {
	case a := <-r.answers:
		if a.Error != "" {
			return errors.New(a.Error)
		}
		return nil
	case <-r.ended:
		return errors.New("its process has ended")
	case <-time.After(patience):
		return fmt.Errorf("it does not answer to %q", o.Do)
	}
}

// Mount mounts what is stored.
func (r *Remote) Mount() {
	r.t.Helper()
	r.mu.Lock()
	r.mounts++
	r.stopped = make(chan struct{})
	r.mu.Unlock()
	r.order(order{Do: "mount"})
}

// StopAt has the file system stop at a moment: whatever would change
// something from then on waits for the cut.
func (r *Remote) StopAt(m Moment) { r.t.Helper(); r.order(order{Do: "stop", Moment: &m}) }

// Stop has it stop now.
func (r *Remote) Stop() { r.t.Helper(); r.order(order{Do: "stop"}) }

// Stopped is closed when it has stopped since it was mounted.
func (r *Remote) Stopped() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

// Cut cuts the power off. What waits then is answered with EIO, so whoever may
// not see that must have been killed. Mount brings the power back.
func (r *Remote) Cut(c Cut) { r.t.Helper(); r.order(order{Do: "cut", Cut: c}) }

// Fail has operations fail from now on, these alone.
func (r *Remote) Fail(faults ...*Fault) { r.t.Helper(); r.order(order{Do: "fail", Faults: faults}) }

// Lie leaves flushes out from now on, these alone, and over cuts too.
func (r *Remote) Lie(lies ...Lie) { r.t.Helper(); r.order(order{Do: "lie", Lies: lies}) }

// Hang has the file system answer nothing any more, as a network's does whose
// server is away: whoever asks it waits, and can be killed.
func (r *Remote) Hang() { r.t.Helper(); r.order(order{Do: "hang"}) }

// Wake ends that. What was asked meanwhile is answered.
func (r *Remote) Wake() { r.t.Helper(); r.order(order{Do: "wake"}) }

// Room gives the file system so many bytes.
func (r *Remote) Room(bytes int64) { r.t.Helper(); r.order(order{Do: "room", Room: bytes}) }
