package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A way is how the bytes of a finished file get to who reads it in the mount.
type way string

const (
	passthrough way = "passthrough" // the kernel reads the file below by itself
	ordinary    way = "ordinary"    // the program answers each read
)

var ways = []way{passthrough, ordinary}

// inEachWay runs a test in both ways.
func inEachWay(t *testing.T, test func(t *testing.T, w way)) {
	for _, w := range ways {
		t.Run(string(w), func(t *testing.T) { test(t, w) })
	}
}

// startReading starts the agent with reads in that way, and leaves the test
// out where the machine has it not.
func (s *site) startReading(w way) {
	s.t.Helper()
	if why := s.startIn(w); why != "" {
		skip(s.t, "reads cannot be passed through here: "+why)
	}
}

// startIn starts the agent with reads in that way, or says why it cannot be.
func (s *site) startIn(w way) (why string) {
	s.t.Helper()
	reads := "auto"
	if w == ordinary {
		reads = "ordinary"
	}
	s.env = append(s.env, "MASVFS_READS="+reads) // the last one counts
	s.start()
	s.guard()
	got := xattr(s.t, s.mount, "user.masv.reads")
	if w == passthrough && strings.HasPrefix(got, string(ordinary)) {
		return got
	}
	if !strings.HasPrefix(got, string(w)) {
		s.t.Fatalf("reads are %q", got)
	}
	return ""
}

// guard bounds how long the test may wait in the mount: whoever still does
// then is let go, since the mount ends with its process.
func (s *site) guard() {
	process, mount := s.process.Process, s.mount
	timer := time.AfterFunc(2*longest(s.t), func() {
		s.t.Error("the mount kept the test waiting")
		process.Kill()
		unix.Unmount(mount, unix.MNT_FORCE|unix.MNT_DETACH)
	})
	s.t.Cleanup(func() { timer.Stop() })
}

// longest is how long the longest of a test's single steps may take.
func longest(t testing.TB) time.Duration {
	if _, benchmark := t.(*testing.B); benchmark || thorough() {
		return 30 * patience
	}
	return 5 * patience
}

// stop ends the agent as an operator does; the mount has to be gone.
func (s *site) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	if data, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(data), s.mount) {
		s.t.Errorf("still mounted: %v", err)
	}
}

func xattr(t testing.TB, path, name string) string {
	t.Helper()
	var value [1024]byte
	n, err := unix.Getxattr(path, name, value[:])
	if err != nil {
		t.Fatalf("attribute %s of %s: %v", name, path, err)
	}
	return string(value[:n])
}

// run runs a program of the machine and returns what it prints.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	need(t, name)
	ctx, cancel := context.WithTimeout(context.Background(), longest(t))
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = patience
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, &errs)
	}
	return out.String()
}

// needRoot leaves a test out that only root can do.
func needRoot(t testing.TB, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, what+" needs root")
	}
}

// tree returns the regular files below a folder, by relative path, sorted.
func tree(t testing.TB, folder string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(folder, path)
		files = append(files, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// sameTree reports every difference between a tree and what it should be:
// names, sizes, times and bytes.
func sameTree(t testing.TB, got, want string) {
	t.Helper()
	files := tree(t, want)
	if found := tree(t, got); !slices.Equal(found, files) {
		t.Errorf("the files are %q, want %q", found, files)
		return
	}
	for _, rel := range files {
		sameFile(t, filepath.Join(got, rel), filepath.Join(want, rel))
	}
}

func sameFile(t testing.TB, got, want string) {
	t.Helper()
	a, errA := os.Stat(got)
	b, errB := os.Stat(want)
	if err := errors.Join(errA, errB); err != nil {
		t.Error(err)
		return
	}
	if a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()) {
		t.Errorf("%s: %d bytes of %v, want %d of %v", got, a.Size(), a.ModTime(), b.Size(), b.ModTime())
	}
	sameBytes(t, got, want)
}

func sameBytes(t testing.TB, got, want string) {
	t.Helper()
	a, errA := os.Open(got)
	b, errB := os.Open(want)
	if err := errors.Join(errA, errB); err != nil {
		t.Error(err)
		return
	}
	defer a.Close()
	defer b.Close()
	if err := compare(a, b); err != nil {
		t.Errorf("%s: %v", got, err)
	}
}

// compare reads both to the end.
func compare(got, want io.Reader) error {
	a, b := make([]byte, 256<<10), make([]byte, 256<<10)
	for off := 0; ; {
		n, errA := io.ReadFull(got, a)
		m, errB := io.ReadFull(want, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("other bytes from %d on, where %d and %d were read (%v, %v)", off, n, m, errA, errB)
		}
		off += n
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return err
			}
		}
		if n < len(a) {
			return nil
		}
	}
}

// descriptors counts what the agent's process has open, by name; without
// connections to clients, clouds and its database and what it answers reads
// through (pipes, /dev/null), of which it keeps some for later.
func (s *site) descriptors() map[string]int {
	s.t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", s.process.Process.Pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		s.t.Fatal(err)
	}
	open := map[string]int{}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(folder, e.Name()))
		if err != nil || strings.HasPrefix(to, "socket:") || strings.HasPrefix(to, "pipe:") || to == os.DevNull || strings.HasPrefix(to, s.state+"/") {
			continue // one that is closed meanwhile is none
		}
		open[to]++
	}
	return open
}

// untilAsBefore waits until the agent holds no more descriptors than before.
func (s *site) untilAsBefore(before map[string]int) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		more := map[string]int{}
		for to, n := range s.descriptors() {
			if n > before[to] {
				more[to] = n - before[to]
			}
		}
		if len(more) == 0 {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("it still holds, more than before: %v", more)
		}
	}
}
