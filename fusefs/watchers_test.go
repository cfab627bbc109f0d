package fusefs

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

func TestAProcessThatWatchesIsFound(t *testing.T) {
	if namespace, err := os.Readlink("/proc/self/ns/pid"); err != nil || namespace != initialPIDs {
		t.Skipf("in the PID namespace %s not all processes are to be seen, so somebody may always watch", namespace)
	}
	var st unix.Stat_t
	folder := t.TempDir()
	if err := unix.Stat(folder, &st); err != nil {
		t.Fatal(err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	if err := watcher.Add(folder); err != nil {
		t.Fatal(err)
	}
	there := watchers{proc: "/proc", device: deviceField(unix.Major(st.Dev), unix.Minor(st.Dev))}
	elsewhere := watchers{proc: "/proc", device: deviceField(0, 0xfffff)}
	self := fmt.Sprintf("/proc/%d", os.Getpid())
	var found watching
	if err := there.of(self, &found); err != nil || len(found.sets) != 1 || !found.sets[0][inode(st.Ino)] {
		t.Errorf("of the process that watches is found %v, %v", found, err)
	}
	found = watching{}
	if err := elsewhere.of(self, &found); err != nil || found.somebody() {
		t.Errorf("of a device that nobody watches is found %v, %v", found, err)
	}
	if found, took := there.look(); !found.somebody() {
		t.Errorf("nobody is found to watch, in %v", took)
	}
}

func TestAnythingMayBeWatchedByWhoWatchesAWholeMount(t *testing.T) {
	w := watchers{device: "sdev:2d"}
	for list, want := range map[string]watching{
		"pos:\t0\ninotify wd:2 ino:1f sdev:2d mask:fc6 ignored_mask:0\ninotify wd:1 ino:2 sdev:2d mask:fc6 ignored_mask:0\n": {sets: []map[inode]bool{{31: true, 2: true}}},
		"pos:\t0\ninotify wd:1 ino:1 sdev:2d0 mask:fc6 ignored_mask:0\n":                                                     {},
		"fanotify flags:10 event-flags:0\nfanotify mnt_id:12 mflags:0 mask:38\n":                                             {doubt: true},
		"fanotify flags:10 event-flags:0\nfanotify sdev:2d mflags:0 mask:38\n":                                               {doubt: true},
		"fanotify flags:10 event-flags:0\nfanotify sdev:2e mflags:0 mask:38\n":                                               {},
		"fanotify flags:10 event-flags:0\nfanotify ino:4 sdev:2e mflags:0 mask:8\n":                                          {},
		"pos:\t0\n": {},
	} {
		var got watching
		if w.read([]byte(list), &got); !reflect.DeepEqual(got, want) {
			t.Errorf("%v for %q", got, list)
		}
	}
}

func TestWhoWatchesAFolderAndNotWhatIsNewInIt(t *testing.T) {
	set := func(all ...inode) map[inode]bool {
		m := make(map[inode]bool)
		for _, i := range all {
			m[i] = true
		}
		return m
	}
	fresh := []birth{{1, 10}, {10, 11}}
	for _, c := range []struct {
		sets       []map[inode]bool
		some, many bool
	}{
		{nil, false, false},
		{[]map[inode]bool{set(7)}, false, false},
		{[]map[inode]bool{set(1)}, true, false},
		{[]map[inode]bool{set(1, 7)}, true, true},
		{[]map[inode]bool{set(1, 10)}, true, true},
		{[]map[inode]bool{set(1, 10, 11), set(11)}, false, false},
		{[]map[inode]bool{set(1, 10, 11), set(1)}, true, false},
	} {
		if some, many := (watching{sets: c.sets}).missing(fresh); some != c.some || many != c.many {
			t.Errorf("%v, %v for %v", some, many, c.sets)
		}
	}
}

// A process is what the kernel tells of one in /proc.
type process struct {
	descriptors map[string]string // links; "": not to be read
	lists       map[string]string
	threads     int
}

func TestWhereNotAllIsToBeSeenSomebodyMayWatch(t *testing.T) {
	const list = "pos:\t0\ninotify wd:1 ino:2 sdev:2d mask:fc6 ignored_mask:0\n"
	plain := process{descriptors: map[string]string{"0": "/dev/null", "1": "anon_inode:[eventfd]"}, threads: 1}
	for name, c := range map[string]struct {
		processes map[string]process
		namespace string
		want      watching
	}{
		"nobody": {processes: map[string]process{"1": plain, "2": {threads: 1}}},
		"one": {
			processes: map[string]process{"1": plain, "7": {descriptors: map[string]string{"5": "anon_inode:inotify"}, lists: map[string]string{"5": list}, threads: 1}},
			want:      watching{sets: []map[inode]bool{{2: true}}},
		},
		"a descriptor is not to be read": {processes: map[string]process{"1": plain, "7": {descriptors: map[string]string{"5": ""}, threads: 1}}, want: watching{doubt: true}},
		"the first thread has ended":     {processes: map[string]process{"1": plain, "7": {threads: 2}}, want: watching{doubt: true}},
		"a container":                    {processes: map[string]process{"1": plain}, namespace: "pid:[4026532000]", want: watching{doubt: true}},
		"others are hidden":              {processes: map[string]process{"7": plain}, want: watching{doubt: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := watchers{proc: t.TempDir(), device: "sdev:2d", shared: true}
			put := func(link, path, text string) {
				path = filepath.Join(w.proc, path)
				err := os.MkdirAll(filepath.Dir(path), 0o755)
				if err == nil && link != "" {
					err = os.Symlink(link, path)
				} else if err == nil {
					err = os.WriteFile(path, []byte(text), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			put(cmp.Or(c.namespace, initialPIDs), "self/ns/pid", "")
			for pid, p := range c.processes {
				if err := os.MkdirAll(filepath.Join(w.proc, pid, "fd"), 0o755); err != nil {
					t.Fatal(err)
				}
				for fd, link := range p.descriptors {
					put(link, pid+"/fd/"+fd, "")
				}
				for fd, list := range p.lists {
					put("", pid+"/fdinfo/"+fd, list)
				}
				for i := range p.threads {
					put("", fmt.Sprintf("%s/task/%d", pid, i), "")
				}
			}
			if got, _ := w.look(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, not %v", got, c.want)
			}
		})
	}
}
