package fusefs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fsType is the mount's type in the kernel's tables.
const fsType = "fuse.masvfs"

// answerTime is how long the process that serves a mount has to answer.
const answerTime = 3 * time.Second

// Mounted reports whether a masvfs is mounted at path, dead or alive, by the
// kernel's own table (proc_pid_mountinfo(5)): the mount itself is not asked.
func Mounted(path string) (bool, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false, fmt.Errorf("read the table of mounts: %w", err)
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(parent, filepath.Base(path))
	}
	for line := range strings.Lines(string(data)) {
		// "36 35 0:31 / /mnt rw,… shared:1 - fuse.masvfs masvfs rw,…"
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || unescape(fields[4]) != path {
			continue
		}
		if strings.HasPrefix(after, fsType+" ") {
			return true, nil
		}
	}
	return false, nil
}

// unescape undoes the octal escapes of the kernel's table.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Stale reports whether the masvfs at path is dead: its process is gone.
func Stale(path string) bool {
	if mounted, err := Mounted(path); err != nil || !mounted {
		return false
	}
	err := ask(func() error {
		// What the kernel remembers of the mount outlives its process.
		var st unix.Statx_t
		return unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &st)
	})
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// servedBy returns the process that serves the masvfs at path, as it says itself.
func servedBy(path string) string {
	pid := "unknown"
	ask(func() error {
		var buf [32]byte
		n, err := unix.Getxattr(path, pidXattr, buf[:])
		if err == nil {
			pid = string(buf[:n])
		}
		return err
	})
	return pid
}

// ReadsOf returns how the agent that serves the mount at path has files read,
// as FS.Reads does.
func ReadsOf(path string) (how string, err error) {
	if mounted, err := Mounted(path); err != nil || !mounted {
		return "", errors.Join(err, os.ErrNotExist)
	}
	err = ask(func() error {
		var buf [512]byte
		n, err := unix.Getxattr(path, readsXattr, buf[:])
		if err == nil {
			how = string(buf[:n])
		}
		return err
	})
	return how, err
}

// ask calls into another process's mount, and gives up where that hangs.
func ask(f func() error) error {
	answer := make(chan error, 1)
	go func() { answer <- f() }()
	select {
	case err := <-answer:
		return err
	case <-time.After(answerTime):
		return os.ErrDeadlineExceeded
	}
}

// users names the processes that have something open in, or stand in, the
// mount at path. The links in /proc are read, not followed.
func users(path string) []string {
	var found []string
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		links, _ := filepath.Glob(p + "/fd/*")
		for _, l := range append(links, p+"/cwd", p+"/root") {
			target, err := os.Readlink(l)
			if err != nil || target != path && !strings.HasPrefix(target, path+"/") {
				continue
			}
			name, _ := os.ReadFile(p + "/comm")
			found = append(found, fmt.Sprintf("%s (%s)", filepath.Base(p), strings.TrimSpace(string(name))))
			break
		}
	}
	slices.Sort(found)
	return found
}
