package fusefs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// watchers finds out what processes watch in the mount. The kernel tells of
// every inotify and fanotify descriptor what it watches, to who may look into
// the process (proc_pid_fdinfo(5)).
type watchers struct {
	proc   string // where the kernel tells of processes: /proc
	device string // of the mount, as fdinfo has it
	shared bool   // users other than this process's own may come in

	mu    sync.Mutex // guards what follows, held while a look is taken
	until time.Time  // so long no look is taken, since one takes too long here
	last  watching
	begun time.Time // when that look began
}

// watching is what is watched in the mount.
type watching struct {
	// doubt says that more may be watched than is known. What is told to nobody
	// costs a little time; what is not told is lost.
	doubt bool
	// sets are what each descriptor watches.
	sets []map[inode]bool
}

func (w watching) somebody() bool { return w.doubt || len(w.sets) > 0 }

// missing reports whether one who watches a folder does not watch new folders
// in it yet, as those do who watch whole trees; and whether one of these
// watches more than that folder.
func (w watching) missing(fresh []birth) (some, many bool) {
	for _, set := range w.sets {
		for _, f := range fresh {
			if set[f.in] && !set[f.folder] {
				some, many = true, many || len(set) > 1
				break
			}
		}
	}
	return some, many
}

// birth is a new folder, and the one that it stands in.
type birth struct{ in, folder inode }

const (
	// longLook is what a look may take. With thousands of processes it is not worth it.
	longLook = 50 * time.Millisecond
	noLook   = time.Minute
)

// initialPIDs is the name of the only PID namespace from which all processes
// are to be seen: its inode number is fixed (include/linux/proc_ns.h).
const initialPIDs = "pid:[4026531836]"

// look returns what is watched, and how long it took to find out. Those who ask
// while a look is taken share the next one.
func (w *watchers) look() (watching, time.Duration) {
	asked := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun.After(asked) {
		return w.last, time.Since(asked)
	}
	w.begun = time.Now()
	if w.begun.Before(w.until) {
		return watching{doubt: true}, 0
	}
	found, err := w.all(w.begun.Add(longLook))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.until = time.Now().Add(noLook)
	}
	found.doubt = found.doubt || err != nil
	w.last = found
	return found, time.Since(w.begun)
}

var errHidden = errors.New("not all processes are to be seen")

func (w *watchers) all(deadline time.Time) (found watching, err error) {
	if namespace, err := os.Readlink(w.proc + "/self/ns/pid"); err != nil || namespace != initialPIDs {
		return found, errors.Join(err, errHidden)
	}
	processes, err := os.ReadDir(w.proc)
	if err != nil {
		return found, err
	}
	everybody := false
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		if time.Now().After(deadline) {
			return found, os.ErrDeadlineExceeded
		}
		everybody = everybody || p.Name() == "1"
		if err := w.of(w.proc+"/"+p.Name(), &found); err != nil {
			return found, err
		}
	}
	if !everybody && (w.shared || os.Geteuid() == 0) {
		return found, errHidden // /proc is mounted with hidepid
	}
	return found, nil
}

// of adds what a process watches. One that has just ended does not, and
// neither does one that may not come in.
func (w *watchers) of(process string, found *watching) error {
	descriptors, err := os.ReadDir(process + "/fd")
	if errors.Is(err, fs.ErrPermission) && !w.shared && foreign(process) || ended(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(descriptors) == 0 {
		// Its first thread may have ended, and others have descriptors still.
		threads, err := os.ReadDir(process + "/task")
		if len(threads) > 1 {
			return errHidden
		}
		return unlessEnded(err)
	}
	for _, d := range descriptors {
		what, err := os.Readlink(process + "/fd/" + d.Name())
		if err == nil && (what == "anon_inode:inotify" || what == "anon_inode:[fanotify]") {
			var list []byte
			list, err = os.ReadFile(process + "/fdinfo/" + d.Name())
			w.read(list, found)
		}
		if err := unlessEnded(err); err != nil {
			return err // it may do what we may not
		}
	}
	return nil
}

// ended reports whether an error says that a process, or its descriptor, is no more.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

func unlessEnded(err error) error {
	if ended(err) {
		return nil
	}
	return err
}

// read adds what is on the list of a descriptor.
func (w *watchers) read(list []byte, found *watching) {
	var set map[inode]bool
	for line := range bytes.Lines(list) {
		fields := strings.Fields(string(line))
		switch {
		case len(fields) > 3 && fields[0] == "inotify" && fields[3] == w.device:
			ino, err := strconv.ParseUint(strings.TrimPrefix(fields[2], "ino:"), 16, 64)
			if err != nil {
				found.doubt = true
				continue
			}
			if set == nil {
				set = make(map[inode]bool)
				found.sets = append(found.sets, set)
			}
			set[inode(ino)] = true
		case len(fields) > 1 && fields[0] == "fanotify" && (slices.Contains(fields, w.device) || strings.HasPrefix(fields[1], "mnt_id:")):
			// It can watch a whole mount, whose number says nothing here.
			found.doubt = true
		}
	}
}

// foreign reports whether a process is another user's. One of our own that
// forbids a look at it (PR_SET_DUMPABLE) is not.
func foreign(process string) bool {
	status, err := os.ReadFile(process + "/status")
	if err != nil {
		return ended(err)
	}
	_, after, found := strings.Cut(string(status), "\nUid:\t")
	user, _, _ := strings.Cut(after, "\t")
	return found && user != strconv.Itoa(os.Geteuid())
}

// deviceField is how fdinfo names a device.
func deviceField(major, minor uint32) string { return fmt.Sprintf("sdev:%x", major<<20|minor) }
