package integration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"masvfs/fetch/masv/masvtest"
)

// watchedSite is a running agent with a mount. Should everything come to wait
// in the mount, it is aborted in the end, so that the test fails in place of
// hanging.
func watchedSite(t testing.TB, extra ...string) *site {
	t.Helper()
	s := newSite(t, true, extra...)
	limit := time.AfterFunc(5*patience, func() { syscall.Unmount(s.mount, syscall.MNT_FORCE|syscall.MNT_DETACH) })
	t.Cleanup(func() { limit.Stop() })
	s.start()
	return s
}

// hold lets the storage answer so many requests, and keeps the others waiting
// until release is called. A small file takes one.
func (s *site) hold(requests int64) (release func()) {
	var asked atomic.Int64
	open := make(chan struct{})
	wait := &masvtest.Fault{Ending: masvtest.EndStall, After: masvtest.BeforeHeader, Release: open}
	s.cloud.Fault(func(r masvtest.Request) *masvtest.Fault {
		if r.Call != masvtest.CallStorage || asked.Add(1) <= requests {
			return nil
		}
		return wait
	})
	return func() {
		s.cloud.Fault(nil)
		close(open)
	}
}

// small makes small files, spread over folders.
func small(n int, folders ...string) []masvtest.File {
	files := make([]masvtest.File, n)
	for i := range files {
		files[i] = masvtest.File{Name: fmt.Sprintf("frame %04d.dpx", i), Path: folders[i%len(folders)], Size: int64(500 + i)}
	}
	return files
}

// addPackage puts a package into the cloud, and returns its files by the path that
// they will have in the mount below the folder of the download.
func (s *site) addPackage(p masvtest.Package) (masvtest.Link, map[string]masvtest.File) {
	link := s.cloud.AddPackage(p)
	files := map[string]masvtest.File{}
	for i, f := range p.Files {
		if (f.Kind == "" || f.Kind == "file") && !f.VirusDetected {
			files[path.Join("files", f.Path, f.Name)] = s.cloud.File(link, i)
		}
	}
	return link, files
}

func keys[V any](m map[string]V) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestAFinishedFileIsAnnouncedOnceAndIsWholeByThen(t *testing.T) {
	t.Parallel()
	s := watchedSite(t)
	pkg := rushes()
	pkg.Files = append(pkg.Files, small(60, "Day 1/frames", "Day 2/a/b/c")...)
	link, files := s.addPackage(pkg)
	w := s.watch(func(e event) {
		if e.kind == "CLOSE_WRITE" && strings.HasPrefix(e.path, "Rushes/files/") {
			sameContent(t, filepath.Join(s.mount, e.path), files[strings.TrimPrefix(e.path, "Rushes/")])
		}
	})
	s.waitFor(s.add(link, ""), "complete")
	folders := []string{
		"files/Day 1", "files/Day 1/Cam A", "files/Day 1/Cam B", "files/Day 1/Stills", "files/Day 1/frames",
		"files/Day 2", "files/Day 2/a", "files/Day 2/a/b", "files/Day 2/a/b/c",
	}
	w.until(1, "MODIFY", "Rushes/state")
	w.sofar()
	s.signal(syscall.SIGTERM) // after that nothing more can come

	all := w.sofar()
	checkTold(t, all, "Rushes/files", trimmed(keys(files)), trimmed(folders))
	tops := byPath(all)["Rushes"]
	if len(tops) != 1 || tops[0] != "CREATE|ISDIR" && tops[0] != "MOVED_TO|ISDIR" {
		t.Errorf("of the download's folder was told %q", tops)
	}
	if n := len(byPath(all)["Rushes/files"]); n > 1 {
		t.Errorf("of the folder files was told %d times", n)
	}
	if n := w.times("MODIFY", "Rushes/state"); n != 1 {
		t.Errorf("of the state was told %d times", n)
	}
	complete := slices.Index(all, event{"MODIFY", "Rushes/state"})
	for i, e := range all {
		if i > complete && strings.HasPrefix(e.path, "Rushes/files/") {
			t.Errorf("%s of %s comes after the state", e.kind, e.path)
		}
	}
}

func TestCompleteIsSaidAfterTheLastFileWasAnnounced(t *testing.T) {
	t.Parallel()
	says := map[string]func(s *site, id string) string{
		"REST": func(s *site, id string) string { return s.get(id).State },
		"the state file": func(s *site, _ string) string {
			text, _ := os.ReadFile(filepath.Join(s.mount, "Said", "state"))
			return strings.TrimSpace(string(text))
		},
	}
	for who, says := range says {
		t.Run(who, func(t *testing.T) {
			s := watchedSite(t)
			link, files := s.addPackage(masvtest.Package{Name: "Said", Files: small(120, "", "a", "a/b/c", "d")})
			w := s.watch(nil)
			id := s.add(link, "")
			s.until("complete", func() bool { return says(s, id) == "complete" })
			checkTold(t, w.sofar(), "Said/files", trimmed(keys(files)), []string{"a", "a/b", "a/b/c", "d"})
		})
	}
}

// trimmed takes "files/" off paths.
func trimmed(paths []string) []string {
	short := make([]string, len(paths))
	for i, p := range paths {
		short[i] = strings.TrimPrefix(p, "files/")
	}
	return short
}

func TestAWatcherThatStartsInTheMiddleIsToldOfAllThatComes(t *testing.T) {
	t.Parallel()
	const n, before = 240, 100
	s := watchedSite(t)
	release := s.hold(before)
	link, files := s.addPackage(masvtest.Package{Name: "Middle", Files: small(n, "", "reel 1", "reel 1/a", "reel 2")})
	first := s.watch(nil)
	id := s.add(link, "")
	s.until("the first files", func() bool { return first.count("CLOSE_WRITE", "Middle/files") == before })
	second := s.watch(nil)
	var there []string
	for name := range files {
		if _, err := os.Stat(filepath.Join(s.mount, "Middle", name)); err == nil {
			there = append(there, name)
		}
	}
	if len(there) != before {
		t.Errorf("%d files are there", len(there))
	}
	release()
	s.waitFor(id, "complete")
	second.until(1, "MODIFY", "Middle/state")
	s.signal(syscall.SIGTERM)
	var come []string
	for _, name := range keys(files) {
		if !slices.Contains(there, name) {
			come = append(come, name)
		}
	}
	noFolders := func(events []event) []event {
		return slices.DeleteFunc(slices.Clone(events), func(e event) bool { return strings.HasSuffix(e.kind, "|ISDIR") })
	}
	checkTold(t, noFolders(second.sofar()), "Middle/files", trimmed(come), nil)
	checkTold(t, first.sofar(), "Middle/files", trimmed(keys(files)), []string{"reel 1", "reel 1/a", "reel 2"})
}

func TestEachChangeOfStateIsToldOnceAndProgressOnceASecond(t *testing.T) {
	t.Parallel()
	s := watchedSite(t)
	s.cloud.SetRate(128 << 10)
	link, _ := s.addPackage(masvtest.Package{Name: "Slow", Files: []masvtest.File{{Name: "a.bin", Size: 96 << 20}}})
	var mu sync.Mutex
	var states []string
	w := s.watch(func(e event) {
		if e == (event{"MODIFY", "Slow/state"}) {
			text, err := os.ReadFile(filepath.Join(s.mount, e.path))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			states = append(states, strings.TrimSpace(string(text)))
			mu.Unlock()
		}
	})
	reached := func(want ...string) {
		t.Helper()
		s.until(fmt.Sprintf("state %q", want), func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Equal(states, want)
		})
	}
	began := time.Now()
	id := s.add(link, "")
	s.until("bytes", func() bool { return s.get(id).BytesDone > 0 })
	s.call("POST", "/downloads/"+id+"/pause", "", nil)
	reached("paused")
	s.call("POST", "/downloads/"+id+"/pause", "", nil) // it is paused
	s.call("POST", "/downloads/"+id+"/resume", "", nil)
	reached("paused", "transferring")
	w.until(3, "MODIFY", "Slow/progress")
	s.cloud.SetRate(0)
	s.waitFor(id, "complete")
	reached("paused", "transferring", "complete")
	s.signal(syscall.SIGTERM)
	w.sofar()
	reached("paused", "transferring", "complete")
	if n, took := w.times("MODIFY", "Slow/progress"), time.Since(began); n > int(took/time.Second)+1 {
		t.Errorf("of progress was told %d times in %v", n, took)
	}
}

func TestTheErrorFileComesAndGoesForWatchersToo(t *testing.T) {
	t.Parallel()
	s := watchedSite(t)
	pkg := rushes()
	pkg.Files[1].Gone = true
	link, files := s.addPackage(pkg)
	var sentence atomic.Value
	w := s.watch(func(e event) {
		if e == (event{"CREATE", "Rushes/error"}) {
			text, err := os.ReadFile(filepath.Join(s.mount, e.path))
			if err != nil {
				t.Errorf("the error file at its CREATE: %v", err)
			}
			sentence.Store(string(text))
		}
	})
	id := s.add(link, "")
	s.waitFor(id, "error")
	w.until(1, "CREATE", "Rushes/error")
	w.until(1, "MODIFY", "Rushes/state")
	w.sofar()
	if text, _ := sentence.Load().(string); !strings.Contains(text, "B001.mov") {
		t.Errorf("the error file said %q", text)
	}
	s.cloud.Update(link, func(p *masvtest.Package) { p.Files[1].Gone = false })
	s.call("POST", "/downloads/"+id+"/resume", "", nil)
	w.until(1, "DELETE", "Rushes/error")
	s.waitFor(id, "complete")
	w.until(3, "MODIFY", "Rushes/state")
	s.signal(syscall.SIGTERM)
	all := w.sofar()
	var told []string
	for _, kind := range byPath(all)["Rushes/error"] {
		if kind != "CLOSE_WRITE" {
			told = append(told, kind)
		}
	}
	if !slices.Equal(told, []string{"CREATE", "DELETE"}) {
		t.Errorf("of the error file was told %q", told)
	}
	if n := w.times("MODIFY", "Rushes/state"); n != 3 {
		t.Errorf("of error, transferring and complete was told %d times", n)
	}
	checkTold(t, all, "Rushes/files", trimmed(keys(files)), []string{"Day 1", "Day 1/Cam A", "Day 1/Cam B", "Day 1/Stills"})
}

func TestARemovedDownloadIsToldFromTheInsideOut(t *testing.T) {
	t.Parallel()
	s := watchedSite(t)
	kept, _ := s.addPackage(masvtest.Package{Name: "Kept", Files: small(3, "", "reel")})
	s.waitFor(s.add(kept, ""), "complete")
	for _, remove := range []bool{false, true} {
		t.Run(fmt.Sprintf("remove_files %v", remove), func(t *testing.T) {
			pkg := rushes()
			pkg.Files = append(pkg.Files, small(40, "Day 1/frames")...)
			link, _ := s.addPackage(pkg)
			w := s.watch(nil)
			defer w.stop()
			d := s.waitFor(s.add(link, ""), "complete")
			w.until(1, "MODIFY", filepath.Base(d.MountPath)+"/state")
			inside := map[string]bool{} // and whether it is a folder
			if err := filepath.WalkDir(d.MountPath, func(p string, e fs.DirEntry, err error) error {
				inside[strings.TrimPrefix(p, s.mount+"/")] = err == nil && e.IsDir()
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if len(inside) != 1+3+5+4+40 {
				t.Errorf("inside are %q", keys(inside))
			}
			if status := s.call("DELETE", "/downloads/"+d.ID, fmt.Sprintf(`{"remove_files": %v}`, remove), nil); status != 204 {
				t.Errorf("DELETE answers %d", status)
			}
			deleted := map[string]int{} // in which order
			for i, e := range w.sofar() {
				kind, folder := strings.CutSuffix(e.kind, "|ISDIR")
				if kind != "DELETE" {
					continue
				}
				if isFolder, known := inside[e.path]; !known || folder != isFolder || deleted[e.path] != 0 {
					t.Errorf("%s of %s", e.kind, e.path)
				}
				deleted[e.path] = i
			}
			for p := range inside {
				switch parent := path.Dir(p); {
				case deleted[p] == 0:
					t.Errorf("of the end of %s was nothing told", p)
				case parent != "." && deleted[p] > deleted[parent]:
					t.Errorf("%s is told after its folder", p)
				}
			}
			if _, err := os.Stat(d.MountPath); !os.IsNotExist(err) {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}

func TestWhatIsRemovedInTheMiddleIsNotAnnouncedAfterItsEnd(t *testing.T) {
	t.Parallel()
	s := watchedSite(t)
	w := s.watch(nil)
	for round := range 8 {
		name := fmt.Sprint("Short ", round)
		link, _ := s.addPackage(masvtest.Package{Name: name, Files: small(400, "", "a", "a/b", "c")})
		id := s.add(link, "")
		s.until("files are announced", func() bool { return w.count("CLOSE_WRITE", name+"/files") >= 20*round })
		if status := s.call("DELETE", "/downloads/"+id, `{"remove_files": true}`, nil); status != 204 {
			t.Errorf("DELETE answers %d", status)
		}
		for p, told := range byPath(w.sofar()) {
			if p != name && !strings.HasPrefix(p, name+"/") {
				continue
			}
			// Whatever it was, its end is told once and last, and its beginning once at most.
			last := len(told) - 1
			begun, ended := 0, 0
			for _, kind := range told {
				switch strings.TrimSuffix(kind, "|ISDIR") {
				case "CREATE":
					begun++
				case "DELETE", "MOVED_FROM":
					ended++
				}
			}
			if begun > 1 || begun == 1 && ended != 1 || ended > 0 && strings.HasPrefix(told[last], "CREATE") {
				t.Errorf("after %d announcements: of %s was told %q", w.count("CLOSE_WRITE", name+"/files"), p, told)
			}
		}
	}
}

// A trespass is something that nobody may do in the mount, and what it may
// fail with beside EROFS.
type trespass struct {
	name string
	try  func(name, other string) error
	may  []error
}

// trespasses are tried on a name that may appear at any moment. Programs that
// insist on a new name learn that there is one, others that there is none.
func trespasses() []trespass {
	there, missing := []error{unix.EEXIST}, []error{unix.ENOENT}
	open := func(flags int) func(name, _ string) error {
		return func(name, _ string) error {
			fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o644)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}
	}
	now := []unix.Timespec{{Sec: 1}, {Sec: 2}}
	return []trespass{
		{"create", open(unix.O_CREAT | unix.O_WRONLY), nil},
		{"create and truncate", open(unix.O_CREAT | unix.O_RDWR | unix.O_TRUNC), nil},
		{"create anew", open(unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY), there},
		{"write", open(unix.O_WRONLY), missing},
		{"mknod", func(name, _ string) error { return unix.Mknod(name, unix.S_IFREG|0o644, 0) }, there},
		{"mkfifo", func(name, _ string) error { return unix.Mkfifo(name, 0o644) }, there},
		{"mkdir", func(name, _ string) error { return unix.Mkdir(name, 0o755) }, there},
		{"link", func(name, other string) error { return unix.Link(other, name) }, there},
		{"symlink", func(name, _ string) error { return unix.Symlink("/etc/passwd", name) }, there},
		{"rename to it", func(name, other string) error { return unix.Rename(other, name) }, nil},
		{"rename to it anew", func(name, other string) error {
			return unix.Renameat2(unix.AT_FDCWD, other, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
		}, there},
		{"rename it", func(name, _ string) error { return unix.Rename(name, name+" 2") }, missing},
		{"unlink", func(name, _ string) error { return unix.Unlink(name) }, missing},
		{"rmdir", func(name, _ string) error { return unix.Rmdir(name) }, []error{unix.ENOENT, unix.ENOTDIR}},
		{"chmod", func(name, _ string) error { return unix.Chmod(name, 0o777) }, missing},
		{"chown", func(name, _ string) error { return unix.Lchown(name, 1, 1) }, missing},
		{"truncate", func(name, _ string) error { return unix.Truncate(name, 0) }, missing},
		{"utimes", func(name, _ string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, name, now, 0) }, missing},
		{"touch its mtime", func(name, _ string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: 2}}, 0)
		}, missing},
		{"set an attribute", func(name, _ string) error { return unix.Setxattr(name, "user.x", []byte("y"), 0) }, missing},
	}
}

// check returns what is wrong with the outcome of an attempt.
func (a trespass) check(name, other string) error {
	err := retried(func() error { return a.try(name, other) })
	if errors.Is(err, unix.EROFS) || slices.ContainsFunc(a.may, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return fmt.Errorf("%s of %s: %w", a.name, filepath.Base(name), err)
}

func TestUsersCannotTakeTheNamesThatAreAboutToAppear(t *testing.T) {
	t.Parallel()
	const n = 1000
	s := watchedSite(t)
	release := s.hold(0)
	list := small(n, "")
	link, files := s.addPackage(masvtest.Package{Name: "Wanted", Files: append(list, small(20, "reel")...)})
	w := s.watch(nil)
	id := s.add(link, "")
	folder := filepath.Join(s.mount, "Wanted")
	s.until("the folder of its files", func() bool { _, err := os.Stat(filepath.Join(folder, "files")); return err == nil })

	ctx, stop := context.WithCancel(context.Background())
	var users sync.WaitGroup
	var attempts atomic.Int64
	wrong := make(chan error, 10)
	end := func() { stop(); users.Wait() }
	s.last = append(s.last, end)
	for user := range 4 {
		users.Go(func() {
			all := trespasses()
			for i := user; ctx.Err() == nil; i++ {
				// The names that come next, and the folder.
				next := min(w.count("CREATE", "Wanted/files")+i%32, n-1)
				name := filepath.Join(folder, "files", list[next].Name)
				if i%16 == 0 {
					name = filepath.Join(folder, "files", "reel")
				}
				err := all[i%len(all)].check(name, filepath.Join(folder, "progress"))
				if errors.Is(err, unix.EISDIR) && strings.HasSuffix(name, "reel") {
					err = nil // the folder stands, and is none to write to
				}
				if err != nil {
					select {
					case wrong <- err:
					default:
					}
				}
				attempts.Add(1)
			}
		})
	}
	s.until("users try", func() bool { return attempts.Load() > 500 })
	release()
	d := s.waitFor(id, "complete")
	end()
	close(wrong)
	for err := range wrong {
		t.Error(err)
	}
	for name, f := range files {
		sameContent(t, filepath.Join(d.MountPath, name), f)
	}
	w.until(1, "MODIFY", "Wanted/state")
	s.signal(syscall.SIGTERM)
	checkTold(t, w.sofar(), "Wanted/files", trimmed(keys(files)), []string{"reel"})
	t.Logf("%d attempts", attempts.Load())
}

func TestTheListingIsNeverStale(t *testing.T) {
	t.Parallel()
	const n = 300
	s := watchedSite(t)
	release := s.hold(0)
	link, files := s.addPackage(masvtest.Package{Name: "Fresh", Files: small(n, "")})
	folder := filepath.Join(s.mount, "Fresh", "files")
	var seen sync.Map // names that were announced
	w := s.watch(func(e event) {
		file, ours := files[strings.TrimPrefix(e.path, "Fresh/")]
		if !ours {
			return
		}
		info, err := os.Stat(filepath.Join(s.mount, e.path))
		if err != nil || info.Size() != file.Size {
			t.Errorf("stat at its %s: %v", e.kind, err)
		}
		if e.kind != "CLOSE_WRITE" {
			return
		}
		entries, err := os.ReadDir(folder)
		if err != nil || !slices.ContainsFunc(entries, func(d fs.DirEntry) bool { return d.Name() == file.Name }) {
			t.Errorf("%s is announced and not listed: %v", e.path, err)
		}
		seen.Store(file.Name, true)
	})
	id := s.add(link, "")
	s.until("the folder of its files", func() bool { _, err := os.Stat(folder); return err == nil })

	// Meanwhile the kernel hears again and again that the names are not there,
	// and processes of their own list what is.
	ctx, stop := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	var missed atomic.Int64
	s.last = append(s.last, func() { stop(); asking.Wait() })
	for range 2 {
		asking.Go(func() {
			for ctx.Err() == nil {
				for _, f := range files {
					if _, told := seen.Load(f.Name); told {
						continue
					}
					if _, err := os.Stat(filepath.Join(folder, f.Name)); os.IsNotExist(err) {
						missed.Add(1)
					}
				}
			}
		})
	}
	readers := s.tool(nil, nil, "sh", "-c", `while :; do find "$1" -type f -exec cat {} + >/dev/null; echo round; done`, "sh", folder)
	readers.until("a round", func() bool { return len(readers.lines()) > 0 })
	s.until("names are asked for", func() bool { return missed.Load() > n })
	release()
	s.waitFor(id, "complete")
	rounds := len(readers.lines())
	readers.until("another round", func() bool { return len(readers.lines()) > rounds+1 })
	readers.end()
	if text := readers.err.String(); text != "" {
		t.Errorf("what was listed could not be read: %s", tail(text))
	}
	stop()
	asking.Wait()
	w.until(1, "MODIFY", "Fresh/state")
	checkTold(t, w.sofar(), "Fresh/files", trimmed(keys(files)), nil)
}

func TestManySmallFilesReachEveryWatcherWhileOthersRead(t *testing.T) {
	t.Parallel()
	need(t, "inotifywait", "gio")
	const n = 2000
	s := watchedSite(t)
	release := s.hold(0)
	link, files := s.addPackage(masvtest.Package{Name: "Many", Files: small(n, "", "reel 1", "", "reel 2/a")})
	recursive := s.tool(nil, nil, "inotifywait", "-m", "-r", "-e", "create,close_write", "--format", "%e %w%f", s.mount)
	recursive.until("watches", func() bool { return strings.Contains(recursive.err.String(), "Watches established") })
	id := s.add(link, "")
	folder := filepath.Join(s.mount, "Many", "files")
	s.until("the folder of its files", func() bool { _, err := os.Stat(folder); return err == nil })
	desktop := s.tool(nil, nil, "gio", "monitor", "-d", folder)
	desktop.untilWatches(folder)
	var pollers []*tool
	for range 4 {
		pollers = append(pollers, s.tool(nil, nil, "sh", "-c", `while :; do find "$1" -type f -exec cat {} + >/dev/null; done`, "sh", s.mount))
	}
	release()
	s.waitFor(id, "complete")
	for _, p := range pollers {
		p.end()
		if text := p.err.String(); text != "" {
			t.Errorf("what was listed could not be read: %s", tail(text))
		}
	}
	var want, wantDesktop []string
	for name, f := range files {
		whole := filepath.Join(s.mount, "Many", name)
		want = append(want, "CREATE "+whole, "CLOSE_WRITE,CLOSE "+whole)
		if f.Path == "" {
			wantDesktop = append(wantDesktop, folder+": "+whole+": created", folder+": "+whole+": changes done")
		}
	}
	for _, reel := range []string{"reel 1", "reel 2", "reel 2/a"} {
		want = append(want, "CREATE,ISDIR "+filepath.Join(folder, reel))
	}
	recursive.untilPrinted(want...)
	desktop.untilPrinted(wantDesktop...)
	for _, p := range []*tool{recursive, desktop} {
		times := map[string]int{}
		for _, line := range p.lines() {
			if strings.Contains(line, "frame ") && (strings.Contains(line, "CREATE") || strings.Contains(line, ": created")) {
				if times[line]++; times[line] == 2 {
					t.Errorf("%s printed twice %q", p.cmd.Args[0], line)
				}
			}
		}
	}
}
