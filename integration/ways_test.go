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
	s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "MASVFS_READS=") })
	if w == ordinary {
		s.env = append(s.env, "MASVFS_READS=ordinary")
	} else {
		s.env = append(s.env, "MASVFS_READS=")
	}
	s.start()
	s.guard()
	if _, err := unix.Getxattr(s.mount, "user.masv.reads", nil); err == unix.ENODATA { // XXX until it is there
		if w == passthrough {
			s.t.Skip("not yet")
		}
		return
	}
	got := xattr(s.t, s.mount, "user.masv.reads")
	if w == passthrough && strings.HasPrefix(got, string(ordinary)) {
		skip(s.t, "reads cannot be passed through here: "+got)
	}
	if !strings.HasPrefix(got, string(w)) {
		s.t.Fatalf("reads are %q", got)
	}
}

// guard bounds how long the test may wait in the mount: whoever still does
// then is let go, since the mount ends with its process.
func (s *site) guard() {
	process, mount := s.process.Process, s.mount
	timer := time.AfterFunc(10*patience, func() {
		s.t.Error("the mount kept the test waiting")
		process.Kill()
		unix.Unmount(mount, unix.MNT_FORCE|unix.MNT_DETACH)
	})
	s.t.Cleanup(func() { timer.Stop() })
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

// tool runs a program of the machine and returns what it prints.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	needTool(t, name)
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
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

// packages say where tools come from, where that is not their name.
var packages = map[string]string{"ffprobe": "ffmpeg", "prlimit": "util-linux", "fusermount3": "fuse3"}

func needTool(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		from := packages[name]
		if from == "" {
			from = name
		}
		skip(t, fmt.Sprintf("needs %s (apt install %s)", name, from))
	}
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

// descriptors tells what the agent's process has open, sorted.
func (s *site) descriptors() []string {
	s.t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", s.process.Process.Pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		s.t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		// One that is closed meanwhile is none.
		if to, err := os.Readlink(filepath.Join(folder, e.Name())); err == nil {
			open = append(open, to)
		}
	}
	slices.Sort(open)
	return open
}
