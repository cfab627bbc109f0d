package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// packages say where programs come from, where that is not their name.
var packages = map[string]string{
	"ffprobe": "ffmpeg", "fusermount3": "fuse3", "gio": "libglib2.0-bin", "import": "imagemagick", "inotifywait": "inotify-tools",
	"prlimit": "util-linux", "setpriv": "util-linux", "unshare": "util-linux", "smbd": "samba", "Xvfb": "xvfb",
}

// need leaves a test out for which a program is missing.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			from := packages[p]
			if from == "" {
				from = p
			}
			skip(t, fmt.Sprintf("needs %s (apt install %s)", p, from))
		}
	}
}

// A tool is another program that runs beside the test, in a process group of
// its own, and ends with the test at the latest.
type tool struct {
	site        *site
	cmd         *exec.Cmd
	stdout, err *syncBuffer
	exited      chan struct{}
}

// tool starts a program. files are its descriptors from 3 on.
func (s *site) tool(env []string, files []*os.File, name string, args ...string) *tool {
	s.t.Helper()
	p := &tool{site: s, cmd: exec.Command(name, args...), stdout: new(syncBuffer), err: new(syncBuffer), exited: make(chan struct{})}
	p.cmd.Env = append(environment(s.t), "LC_ALL=C.UTF-8", "GIO_USE_VFS=local", "GIO_USE_VOLUME_MONITOR=unix", "NO_AT_BRIDGE=1", "DBUS_SESSION_BUS_ADDRESS=disabled:")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.ExtraFiles = files
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.err
	p.cmd.WaitDelay = deathTime // for what has left the group with its output open
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.cmd.Wait(); close(p.exited) }()
	s.last = append(s.last, func() {
		p.end()
		if s.t.Failed() {
			s.t.Logf("%s printed:\n%s\n%s", name, tail(p.stdout.String()), tail(p.err.String()))
		}
	})
	return p
}

// end kills the program and all that it has started; it may be called again.
func (p *tool) end() {
	select {
	case <-p.exited:
		return
	default:
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.exited
}

// until waits for what the program itself is to bring about.
func (p *tool) until(what string, ok func() bool) {
	p.site.t.Helper()
	p.site.until(what, func() bool {
		if ok() {
			return true
		}
		select {
		case <-p.exited:
			if !ok() { // what it printed last is there by now
				p.site.t.Fatalf("%s has ended: %v, and still not: %s", p.cmd.Args[0], p.cmd.ProcessState, what)
			}
			return true
		default:
			return false
		}
	})
}

// lines returns what the program has printed, less a line that is not finished.
func (p *tool) lines() []string {
	lines := strings.Split(p.stdout.String(), "\n")
	return lines[:len(lines)-1]
}

// untilPrinted waits until all of these lines have been printed, and names
// those that never were.
func (p *tool) untilPrinted(want ...string) {
	p.site.t.Helper()
	var missing []string
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		printed := map[string]bool{}
		for _, l := range p.lines() {
			printed[l] = true
		}
		missing = slices.DeleteFunc(slices.Clone(want), func(l string) bool { return printed[l] })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(end) {
			p.site.t.Fatalf("%s has not printed %d of %d lines: %q", p.cmd.Args[0], len(missing), len(want), missing[:min(len(missing), 10)])
		}
	}
}

// untilWatches waits until the program, or one that it started, has an inotify
// watch on a folder. Most programs do not say when they have.
func (p *tool) untilWatches(folder string) {
	p.site.t.Helper()
	info, err := os.Stat(folder)
	if err != nil {
		p.site.t.Fatal(err)
	}
	watch := fmt.Sprintf(" ino:%x ", info.Sys().(*syscall.Stat_t).Ino) // proc(5), /proc/pid/fdinfo
	p.until("it watches "+folder, func() bool {
		tables, _ := filepath.Glob("/proc/[0-9]*/fdinfo")
		for _, table := range tables {
			var pid int
			fmt.Sscanf(table, "/proc/%d/", &pid)
			if group, err := syscall.Getpgid(pid); err != nil || group != p.cmd.Process.Pid {
				continue
			}
			descriptors, _ := filepath.Glob(table + "/*")
			for _, d := range descriptors {
				if text, err := os.ReadFile(d); err == nil && strings.Contains(string(text), "inotify wd:") && strings.Contains(string(text), watch) {
					return true
				}
			}
		}
		return false
	})
}

// tail is the end of a long text.
func tail(s string) string { return s[max(0, len(s)-4000):] }
