package integration

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An event is what inotify(7) told of one name.
type event struct {
	kind string // "CREATE", "CREATE|ISDIR", …
	path string // below the watched tree
}

// kinds are the events that are asked for. Those that reading gives are not
// among them.
var kinds = []struct {
	mask uint32
	name string
}{
	{unix.IN_CREATE, "CREATE"},
	{unix.IN_CLOSE_WRITE, "CLOSE_WRITE"},
	{unix.IN_MODIFY, "MODIFY"},
	{unix.IN_ATTRIB, "ATTRIB"},
	{unix.IN_DELETE, "DELETE"},
	{unix.IN_MOVED_FROM, "MOVED_FROM"},
	{unix.IN_MOVED_TO, "MOVED_TO"},
}

// marks is the name under which the events of a watcher's own folder appear.
const marks = ".marks"

// A watcher watches a tree as recursive watchers do: with a watch on each
// folder, set when the folder is told of. What stands in a folder by then is
// told of by nobody.
type watcher struct {
	site  *site
	root  string
	marks string // a folder outside the mount, watched by the same queue
	fd    int
	file  *os.File // owns fd
	done  sync.WaitGroup

	handles bool // there is a handler
	marked  int

	mu      sync.Mutex       // guards what follows
	more    sync.Cond        // events has grown, or stopped is set
	folders map[int32]string // by watch descriptor, below the root
	moving  map[uint32]string
	events  []event
	handled int // how many of them handle has been called with
	stopped bool
}

// watch starts a watcher of the mount. handle, if any, is called with every
// event, one after the other, while the next ones are read already: it is the
// script at the other end of the pipe.
func (s *site) watch(handle func(event)) *watcher {
	s.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		s.t.Fatal(err)
	}
	w := &watcher{
		site: s, root: s.mount, marks: s.t.TempDir(), fd: fd, file: os.NewFile(uintptr(fd), "inotify"),
		handles: handle != nil, folders: map[int32]string{}, moving: map[uint32]string{},
	}
	w.more.L = &w.mu
	s.last = append(s.last, w.stop)
	w.add(w.marks, marks)
	w.addTree("")
	w.done.Go(w.read)
	if w.handles {
		w.done.Go(func() { w.follow(handle) })
	}
	return w
}

// stop ends the watcher; it may be called again.
func (w *watcher) stop() {
	w.file.SetReadDeadline(time.Now())
	w.mu.Lock()
	again := w.stopped
	w.stopped = true
	w.mu.Unlock()
	w.more.Broadcast()
	w.done.Wait()
	if w.site.t.Failed() && !again {
		for _, e := range w.events[max(0, len(w.events)-100):] {
			w.site.t.Logf("told: %s %s", e.kind, e.path)
		}
	}
}

func (w *watcher) read() {
	defer w.file.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buffer)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				w.site.t.Errorf("read events: %v", err)
			}
			return
		}
		for b := buffer[:n]; len(b) > 0; {
			length := binary.NativeEndian.Uint32(b[12:])
			name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+length]), "\x00")
			w.take(int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[8:]), name)
			b = b[unix.SizeofInotifyEvent+length:]
		}
	}
}

// take takes in one event.
func (w *watcher) take(wd int32, mask, cookie uint32, name string) {
	w.mu.Lock()
	folder, known := w.folders[wd]
	switch {
	case mask&unix.IN_Q_OVERFLOW != 0:
		w.site.t.Error("the kernel's queue of events is full")
	case mask&unix.IN_IGNORED != 0:
		delete(w.folders, wd)
	case known && name != "": // the events of a folder itself are told by its parent as well
		e := event{path: path.Join(folder, name)}
		for _, k := range kinds {
			if mask&k.mask != 0 {
				e.kind = k.name
			}
		}
		if mask&unix.IN_ISDIR != 0 {
			e.kind += "|ISDIR"
		}
		added := e.kind == "CREATE|ISDIR"
		switch e.kind {
		case "MOVED_FROM|ISDIR":
			w.moving[cookie] = e.path
		case "MOVED_TO|ISDIR":
			from, inside := w.moving[cookie]
			added = !inside
			for wd, p := range w.folders {
				if inside && (p == from || strings.HasPrefix(p, from+"/")) {
					w.folders[wd] = e.path + p[len(from):]
				}
			}
		}
		if added {
			w.mu.Unlock()
			w.addTree(e.path)
			w.mu.Lock()
		}
		w.events = append(w.events, e)
		w.more.Broadcast()
	}
	w.mu.Unlock()
}

// addTree watches a folder and those that stand in it.
func (w *watcher) addTree(folder string) {
	native := filepath.Join(w.root, folder)
	if !w.add(native, folder) {
		return
	}
	entries, err := os.ReadDir(native)
	if err != nil && !gone(err) {
		w.site.t.Errorf("list what is watched: %v", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			w.addTree(path.Join(folder, e.Name()))
		}
	}
}

func (w *watcher) add(native, folder string) bool {
	mask := uint32(unix.IN_ONLYDIR)
	for _, k := range kinds {
		mask |= k.mask
	}
	var wd int
	err := retried(func() (err error) { wd, err = unix.InotifyAddWatch(w.fd, native, mask); return err })
	if err != nil {
		if !gone(err) {
			w.site.t.Errorf("watch %s: %v", native, err)
		}
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.folders[int32(wd)] = folder
	return true
}

// gone reports whether the error is that something, or the whole mount, is not
// there any more.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// retried repeats a system call that a signal has interrupted.
func retried(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func (w *watcher) follow(handle func(event)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for w.handled == len(w.events) && !w.stopped {
			w.more.Wait()
		}
		if w.stopped {
			return
		}
		e := w.events[w.handled]
		w.mu.Unlock()
		handle(e)
		w.mu.Lock()
		w.handled++
		w.more.Broadcast()
	}
}

// told returns the events so far.
func (w *watcher) told() []event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clip(w.events)
}

// count returns how many events of a kind there were so far below a folder.
func (w *watcher) count(kind, folder string) (n int) {
	for _, e := range w.told() {
		if e.kind == kind && strings.HasPrefix(e.path, folder+"/") {
			n++
		}
	}
	return n
}

// until waits until an event was told so many times.
func (w *watcher) until(times int, kind, path string) {
	w.site.t.Helper()
	w.site.until(fmt.Sprintf("%s of %s, %d times", kind, path, times), func() bool { return w.times(kind, path) >= times })
}

// times returns how often an event was told.
func (w *watcher) times(kind, path string) (n int) {
	for _, e := range w.told() {
		if e == (event{kind, path}) {
			n++
		}
	}
	return n
}

// sofar returns everything that was told before this call. The kernel's queue
// is in order, so what is told of a file made now comes after all of it. If
// there is a handler, it has handled them.
func (w *watcher) sofar() []event {
	t := w.site.t
	t.Helper()
	w.marked++
	mark := event{"CREATE", path.Join(marks, strconv.Itoa(w.marked))}
	if err := os.WriteFile(filepath.Join(w.marks, path.Base(mark.path)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	at := -1
	w.site.until("the watcher has taken in all events", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		at = slices.Index(w.events, mark)
		return at >= 0 && (!w.handles || w.handled > at)
	})
	return w.told()[:at]
}

// byPath returns what was told of each path, in order.
func byPath(events []event) map[string][]string {
	told := map[string][]string{}
	for _, e := range events {
		told[e.path] = append(told[e.path], e.kind)
	}
	return told
}

// checkTold fails the test unless each of the files below a folder was
// announced with CREATE and CLOSE_WRITE, each of the folders with CREATE, all
// of them once, and nothing else was told of there.
func checkTold(t testing.TB, events []event, tree string, files, folders []string) {
	t.Helper()
	told := byPath(events)
	want := map[string]string{}
	for _, f := range files {
		want[path.Join(tree, f)] = "CREATE CLOSE_WRITE"
	}
	for _, f := range folders {
		want[path.Join(tree, f)] = "CREATE|ISDIR"
	}
	for p := range told {
		if _, known := want[p]; !known && strings.HasPrefix(p, tree+"/") {
			want[p] = ""
		}
	}
	wrong := 0
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if got := strings.Join(told[p], " "); got != want[p] {
			if wrong++; wrong <= 20 {
				t.Errorf("of %s was told %q, want %q", p, got, want[p])
			}
		}
	}
	if wrong > 20 {
		t.Errorf("and so on, %d in all", wrong)
	}
}
