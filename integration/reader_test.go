package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A reader is this test program, run as a process of its own that reads. A
// page fault that is not answered stops every thread of a Go program, its
// timers among them, so nothing of a mount is mapped in the test itself.
const readerVariable = "MASVFS_TEST_READER"

// readers are the ways in which a reader reads. Each prints lines.
var readers = map[string]func(args []string) error{
	"mapped":       func(args []string) error { return printSum(args[0], mapped(unix.MAP_PRIVATE)) },
	"mapped again": func(args []string) error { return printSum(args[0], mapped(unix.MAP_SHARED)) },
	"sent":         func(args []string) error { return printSum(args[0], sent) },
	"held":         keepOpen,
	"all open":     allOpen,
	"sequential":   sequential,
	"at random":    atRandom,
	"crowd":        crowd,
	"latency":      latency,
	"sink":         sink,
	"origin":       served(serveOrigin),
	"cloud":        served(serveCloud),
	"relay":        served(serveRelay),
	"neighbour":    neighbour,
}

func reader(how string, args []string) (status int) {
	read, ok := readers[how]
	if !ok {
		fmt.Fprintf(os.Stderr, "no reader reads %q\n", how)
		return 2
	}
	if err := read(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// printSum prints the SHA-256 of a file, as read brings it.
func printSum(path string, read func(f *os.File, size int, w io.Writer) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	sum := sha256.New()
	if err := read(f, int(info.Size()), sum); err != nil {
		return err
	}
	fmt.Printf("%x\n", sum.Sum(nil))
	return nil
}

// mapped reads through a mapping.
func mapped(flags int) func(f *os.File, size int, w io.Writer) error {
	return func(f *os.File, size int, w io.Writer) error {
		m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, flags)
		if err != nil {
			return fmt.Errorf("mmap: %w", err)
		}
		defer unix.Munmap(m)
		_, err = w.Write(m)
		return err
	}
}

// sent reads as a web server sends: by sendfile into a socket.
func sent(f *os.File, size int, w io.Writer) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	far := os.NewFile(uintptr(pair[1]), "socket")
	defer far.Close()
	failed := make(chan error, 1)
	go func() {
		defer unix.Close(pair[0])
		for left := size; left > 0; {
			n, err := unix.Sendfile(pair[0], int(f.Fd()), nil, left)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n == 0 {
				failed <- fmt.Errorf("sendfile gave %d of %d bytes: %v", size-left, size, err)
				return
			}
			left -= n
		}
		failed <- nil
	}()
	_, err = io.Copy(w, far)
	return errors.Join(err, <-failed)
}

// keepOpen opens and maps a file, says so, and once it is told to go on prints the
// sum of what it reads and the sum of what is mapped.
func keepOpen(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	fmt.Println("open")
	proceed()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	fmt.Printf("%x %x\n", sum.Sum(nil), sha256.Sum256(m))
	return nil
}

// proceed waits for a line from the test, or for its end.
func proceed() { bufio.NewReader(os.Stdin).ReadString('\n') }

// allOpen opens the files of a folder that a list names, one a line; prints how
// many are open, and how many were refused with EMFILE and ENFILE; holds them
// until it is told to go on, and closes them.
func allOpen(args []string) error {
	list, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	paths := strings.Split(strings.TrimSpace(string(list)), "\n")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if uint64(len(paths))+50 > limit.Cur {
		return fmt.Errorf("%d files are more than this process may open: %d", len(paths), limit.Cur)
	}
	open := make([]int, 0, len(paths))
	refused := map[syscall.Errno]int{}
	for _, path := range paths {
		path = filepath.Join(args[0], path)
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		for errors.Is(err, unix.EINTR) {
			fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		var errno syscall.Errno
		switch {
		case err == nil:
			open = append(open, fd)
		case errors.As(err, &errno):
			refused[errno]++
		default:
			return err
		}
	}
	fmt.Printf("%d %d %d\n", len(open), refused[unix.EMFILE], refused[unix.ENFILE])
	proceed()
	// What is open is a file like any other.
	var b [1]byte
	for _, fd := range open {
		_, err := unix.Pread(fd, b[:], 0)
		for errors.Is(err, unix.EINTR) {
			_, err = unix.Pread(fd, b[:], 0)
		}
		if err != nil {
			return fmt.Errorf("read of an open file: %w", err)
		}
	}
	for _, fd := range open {
		unix.Close(fd)
	}
	fmt.Println("closed")
	proceed()
	return nil
}

// readerCommand makes the command of a reader. It is killed when ctx ends.
func readerCommand(ctx context.Context, how string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), readerVariable+"="+how)
	cmd.WaitDelay = patience
	return cmd
}

// read runs a reader and returns what it prints.
func read(t testing.TB, how string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest(t))
	defer cancel()
	cmd := readerCommand(ctx, how, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("reader %q of %s: %v: %s", how, args, err, &errs)
	}
	return strings.TrimSpace(out.String())
}

// waiting is a reader that waits for the test between its lines.
type waiting struct {
	t    testing.TB
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs syncBuffer
}

// startReader starts a reader that waits. It ends with the test at the latest.
func startReader(t testing.TB, how string, args ...string) *waiting {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest(t))
	w := &waiting{t: t, cmd: readerCommand(ctx, how, args...)}
	w.cmd.Stderr = &w.errs
	in, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.in, w.out = in, bufio.NewReader(out)
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		w.cmd.Wait()
	})
	return w
}

// line returns the next line that the reader prints.
func (w *waiting) line() string {
	w.t.Helper()
	line, err := w.out.ReadString('\n')
	if err != nil {
		w.t.Fatalf("the reader has ended: %v: %s", err, &w.errs)
	}
	return strings.TrimSpace(line)
}

// proceed lets the reader go on.
func (w *waiting) proceed() {
	w.t.Helper()
	if _, err := io.WriteString(w.in, "\n"); err != nil {
		w.t.Fatalf("the reader has ended: %v: %s", err, &w.errs)
	}
}
