package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// hold makes sure that no other agent uses a folder, for as long as this
// process lives or until release is called. The lock is on the folder itself,
// so nothing is written and nothing is left behind.
func hold(folder string) (release func(), err error) {
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := lockHolder(f)
		f.Close()
		return nil, fmt.Errorf("another agent uses %s: %s; stop it, or choose other folders", folder, holder)
	}
	// A network file system may have no locks for folders; the database has one of its own.
	return func() { f.Close() }, nil
}

// lockHolder says which process holds the lock on f, as /proc/locks tells.
func lockHolder(f *os.File) string {
	var st syscall.Stat_t
	if syscall.Fstat(int(f.Fd()), &st) != nil {
		return "an unknown process"
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return "an unknown process"
	}
	defer locks.Close()
	device := uint64(st.Dev)
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(device), unix.Minor(device), st.Ino)
	for s := bufio.NewScanner(locks); s.Scan(); {
		// "1: FLOCK  ADVISORY  WRITE 4242 fe:00:131 0 EOF"
		fields := strings.Fields(s.Text())
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue
		}
		name, err := os.ReadFile("/proc/" + fields[4] + "/comm")
		if err != nil {
			return "process " + fields[4]
		}
		return fmt.Sprintf("process %s (%s)", fields[4], strings.TrimSpace(string(name)))
	}
	return "an unknown process"
}
