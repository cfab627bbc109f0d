package fusefs

import (
	"fmt"
	"os"
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
	there := watchers{device: deviceField(unix.Major(st.Dev), unix.Minor(st.Dev))}
	elsewhere := watchers{device: deviceField(0, 0xfffff)}
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
