package integration

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// shoot is a package of some 60 files and 40 MiB, of all sizes that matter to
// whoever reads in pages.
func shoot() masvtest.Package {
	day := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	files := []masvtest.File{
		{Name: "A001.mov", Path: "Day 1/Cam A", Size: 24<<20 + 17},
		{Name: "B001.mov", Path: "Day 1/Cam B", Size: 8 << 20},
		{Name: "Notizen für Zoë & Co, 100%.txt", Path: "Day 1", Size: 321},
	}
	for i, size := range []int64{0, 1, 4095, 4096, 4097, 128<<10 - 1, 128 << 10, 1<<20 + 1} {
		files = append(files, masvtest.File{Name: fmt.Sprintf("%d.bin", i), Path: "sizes", Size: size})
	}
	for i := range 48 {
		files = append(files, masvtest.File{Name: fmt.Sprintf("frame %04d.dpx", i), Path: "Day 1/frames", Size: int64(i * i * 61)})
	}
	for i := range files {
		files[i].LastModified = day.Add(time.Duration(i) * 1001 * time.Millisecond)
	}
	return masvtest.Package{Name: "Shoot", Files: files}
}

// addLocal adds a file of this machine to a package.
func addLocal(t testing.TB, p *masvtest.Package, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	p.Files = append(p.Files, masvtest.File{
		Name: filepath.Base(path), Path: "made", Size: info.Size(), LastModified: info.ModTime().Truncate(time.Millisecond),
		Open: func() (io.ReaderAt, io.Closer, error) {
			f, err := os.Open(path)
			return f, f, err
		},
	})
}

func TestToolsReadInTheMountWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	// Each is given the folder on disk, the one in the mount and one of its own.
	tools := map[string]func(t *testing.T, disk, mount, own string){
		"cp -a": func(t *testing.T, disk, mount, own string) {
			run(t, "cp", "-a", mount, own+"/copy")
			sameTree(t, own+"/copy", disk)
		},
		"rsync -a": func(t *testing.T, disk, mount, own string) {
			run(t, "rsync", "-a", mount+"/", own+"/copy")
			sameTree(t, own+"/copy", disk)
			// By rsync's own check there is nothing left to do.
			if left := run(t, "rsync", "-rtn", "--checksum", "--omit-dir-times", "--itemize-changes", mount+"/", disk); left != "" {
				t.Errorf("rsync finds differences: %s", left)
			}
		},
		"tar": func(t *testing.T, disk, mount, own string) {
			run(t, "tar", "-C", mount, "--format=posix", "-cf", own+"/all.tar", ".")
			if err := os.Mkdir(own+"/copy", 0o755); err != nil {
				t.Fatal(err)
			}
			run(t, "tar", "-C", own+"/copy", "-xf", own+"/all.tar")
			sameTree(t, own+"/copy", disk)
		},
		"sha256sum":       sameOutput("sh", "-c", `cd "$0" && find . -type f -print0 | sort -z | xargs -0 sha256sum`),
		"git hash-object": sameOutput("sh", "-c", `cd "$0" && find . -type f | sort | git hash-object --no-filters --stdin-paths`),
		"dd iflag=direct": func(t *testing.T, disk, mount, own string) {
			for _, rel := range tree(t, disk) {
				run(t, "dd", "iflag=direct", "bs=64K", "status=none", "if="+filepath.Join(mount, rel), "of="+own+"/copy")
				sameBytes(t, own+"/copy", filepath.Join(disk, rel))
			}
		},
		"ls -l":            sameOutput("sh", "-c", `cd "$0" && find . -type f | sort | xargs -d '\n' stat -c '%n %s %y'`),
		"ffprobe":          sameOutput("ffprobe", "-v", "error", "-show_entries", "format=duration,size,bit_rate,nb_streams:stream", "-i", "made/movie.mov"),
		"ffmpeg":           sameOutput("ffmpeg", "-v", "error", "-nostdin", "-i", "made/movie.mov", "-f", "framemd5", "-"),
		"ffmpeg, seeking":  sameOutput("ffmpeg", "-v", "error", "-nostdin", "-ss", "1.5", "-i", "made/movie.mov", "-f", "framemd5", "-"),
		"mmap, private":    sameSum("mapped"),
		"mmap, shared":     sameSum("mapped again"),
		"sendfile":         sameSum("sent"),
		"io_uring":         verified("--direct=0"),
		"io_uring, direct": verified("--direct=1"),
		"16 at once":       sixteen,
		"16 that open and close the same files": func(t *testing.T, disk, mount, _ string) {
			openAndClose(t, disk, mount, []string{"Day 1/Cam A/A001.mov", "Day 1/Cam B/B001.mov", "sizes/7.bin"})
		},
	}
	pkg := shoot()
	local := t.TempDir()
	addMovie(t, &pkg, local)
	addChecked(t, &pkg, local)
	inEachWay(t, func(t *testing.T, w way) {
		s := newSite(t, true)
		link := s.cloud.AddPackage(pkg)
		s.startReading(w)
		d := s.waitFor(s.add(link, ""), "complete")
		for name, test := range tools {
			t.Run(name, func(t *testing.T) { test(t, d.Path, filepath.Join(d.MountPath, "files"), t.TempDir()) })
		}
		s.stop()
	})
}

// addMovie adds a movie, with its index at the end, as cameras write it.
func addMovie(t *testing.T, p *masvtest.Package, folder string) {
	movie := filepath.Join(folder, "movie.mov")
	run(t, "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=3", "-c:v", "mpeg4", movie)
	addLocal(t, p, movie)
}

// addChecked adds a file of blocks that carry their own place and sum, which
// fio verifies.
func addChecked(t *testing.T, p *masvtest.Package, folder string) {
	checked := filepath.Join(folder, "checked.bin")
	run(t, "fio", append(fioJob(checked), "--rw=write", "--do_verify=0")...)
	addLocal(t, p, checked)
}

func fioJob(path string) []string {
	return []string{"--name=checked", "--filename=" + path, "--size=4M", "--bs=4k", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0"}
}

// verified has fio read through io_uring, many blocks at a time and in any order.
func verified(more string) func(t *testing.T, disk, mount, own string) {
	return func(t *testing.T, _, mount, _ string) {
		if v, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && strings.TrimSpace(string(v)) == "2" {
			skip(t, "io_uring is switched off here (sysctl kernel.io_uring_disabled)")
		}
		run(t, "fio", append(fioJob(mount+"/made/checked.bin"), "--rw=randread", "--ioengine=io_uring", "--iodepth=32",
			"--readonly", "--allow_file_create=0", more)...)
	}
}

// sameOutput runs a tool in both folders; sh gets the folder as $0, the others
// a path below it.
func sameOutput(name string, args ...string) func(t *testing.T, disk, mount, own string) {
	return func(t *testing.T, disk, mount, _ string) {
		in := func(folder string) string {
			if name == "sh" {
				return run(t, name, append(args, folder)...)
			}
			var all []string
			for _, a := range args {
				if strings.HasPrefix(a, "made/") {
					a = filepath.Join(folder, a)
				}
				all = append(all, a)
			}
			return run(t, name, all...)
		}
		if got, want := in(mount), in(disk); got != want || want == "" {
			t.Errorf("in the mount it prints\n%s\non disk\n%s", got, want)
		}
	}
}

// sameSum has a reader read some files.
func sameSum(how string) func(t *testing.T, disk, mount, own string) {
	return func(t *testing.T, disk, mount, _ string) {
		for _, rel := range []string{"Day 1/Cam A/A001.mov", "sizes/1.bin", "sizes/4.bin", "sizes/7.bin"} {
			data, err := os.ReadFile(filepath.Join(disk, rel))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := read(t, how, filepath.Join(mount, rel)), fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
				t.Errorf("%s: the sum is %s, want %s", rel, got, want)
			}
		}
	}
}

// sixteen read everything at once, each beginning elsewhere.
func sixteen(t *testing.T, disk, mount, _ string) {
	files := tree(t, disk)
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for j := range files {
				rel := files[(j+i*len(files)/16)%len(files)]
				sameBytes(t, filepath.Join(mount, rel), filepath.Join(disk, rel))
			}
		})
	}
	wait.Wait()
}

// openAndClose has sixteen open, read and close the same few files, so that
// one has just been closed by somebody whenever another is at it.
func openAndClose(t *testing.T, disk, mount string, files []string) {
	want := map[string][]byte{}
	for _, rel := range files {
		data, err := os.ReadFile(filepath.Join(disk, rel))
		if err != nil {
			t.Fatal(err)
		}
		want[rel] = data
	}
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			got := make([]byte, 16<<10)
			for range 150 {
				rel := files[random.IntN(len(files))]
				f, err := os.Open(filepath.Join(mount, rel))
				if err != nil {
					t.Error(err)
					return
				}
				for range random.IntN(4) {
					off := random.IntN(len(want[rel]))
					n, err := f.ReadAt(got, int64(off))
					if err != nil && err != io.EOF || string(got[:n]) != string(want[rel][off:min(off+len(got), len(want[rel]))]) {
						t.Errorf("%s from %d on: %d bytes, %v", rel, off, n, err)
					}
				}
				f.Close()
			}
		})
	}
	wait.Wait()
}

func TestWhatIsOpenIsReadByTheKernelAlone(t *testing.T) {
	s := newSite(t, true)
	link := s.cloud.AddPackage(shoot())
	s.startReading(passthrough)
	d := s.waitFor(s.add(link, ""), "complete")
	f, err := os.Open(filepath.Join(d.MountPath, "files", "Day 1", "Cam A", "A001.mov"))
	if err != nil {
		t.Fatal(err)
	}
	process := s.process.Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := func() { process.Signal(syscall.SIGCONT) }
	late := time.AfterFunc(patience, func() {
		t.Error("a read waits for the program")
		goOn()
	})
	sent := s.cloud.File(link, 0)
	err = compare(f, masvtest.Reader(sent.Seed, sent.Size))
	late.Stop()
	goOn()
	if err != nil {
		t.Error(err)
	}
	f.Close() // which the program is told
	s.stop()
}

func TestAnOpenFileIsReadToItsEndWhateverBecomesOfItsDownload(t *testing.T) {
	t.Parallel()
	for _, remove := range []bool{false, true} {
		t.Run(fmt.Sprintf("remove_files %v", remove), func(t *testing.T) {
			inEachWay(t, func(t *testing.T, w way) { readThroughout(t, w, remove) })
		})
	}
}

func readThroughout(t *testing.T, w way, remove bool) {
	s := newSite(t, true)
	const size = 16<<20 + 5
	link := s.cloud.AddPackage(masvtest.Package{Name: "Long", Files: []masvtest.File{
		{Name: "first.mov", Size: size}, {Name: "second.mov", Size: size}, {Name: "third.mov", Size: 512 << 20},
	}})
	var want [2]string
	for i := range want {
		f := s.cloud.File(link, i)
		sum := sha256.New()
		if _, err := io.Copy(sum, masvtest.Reader(f.Seed, f.Size)); err != nil {
			t.Fatal(err)
		}
		want[i] = fmt.Sprintf("%x", sum.Sum(nil))
	}
	s.cloud.SetRate(2 << 20)
	s.startReading(w)
	id := s.add(link, "")
	folder := filepath.Join(s.mount, "Long")
	first, second := filepath.Join(folder, "files", "first.mov"), filepath.Join(folder, "files", "second.mov")
	for _, path := range []string{first, second} {
		s.until(path, func() bool { _, err := os.Stat(path); return err == nil })
	}
	f, err := os.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other := startReader(t, "held", second)
	other.line()

	sum := sha256.New()
	some := func() {
		t.Helper()
		if _, err := io.CopyN(sum, f, size/5); err != nil {
			t.Errorf("read on: %v", err)
		}
	}
	some()
	s.call("POST", "/downloads/"+id+"/pause", "", nil)
	s.waitFor(id, "paused")
	some()
	s.call("POST", "/downloads/"+id+"/resume", "", nil)
	s.waitFor(id, "transferring")
	some()
	d := s.get(id)
	if status := s.call("DELETE", "/downloads/"+id, fmt.Sprintf(`{"remove_files": %v}`, remove), nil); status != 204 {
		t.Errorf("DELETE answers %d", status)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still in the mount: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.Path, "first.mov")); errors.Is(err, os.ErrNotExist) != remove {
		t.Errorf("on disk: %v", err)
	}
	some()
	if _, err := io.Copy(sum, f); err != nil {
		t.Errorf("read to the end: %v", err)
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != want[0] {
		t.Errorf("the sum is %s, want %s", got, want[0])
	}
	other.proceed()
	if got := other.line(); got != want[1]+" "+want[1] {
		t.Errorf("the sums of what was read and mapped are %s, want twice %s", got, want[1])
	}
	f.Close()
	s.stop()
}

func TestAFileThatIsNotWhatWasPlacedIsAnErrorAndNoHang(t *testing.T) {
	faults := []struct {
		what    string
		shorter bool
		spoil   func(path string) error
	}{
		{"removed", false, os.Remove},
		{"truncated", true, func(path string) error { return os.Truncate(path, 1000) }},
		{"emptied", true, func(path string) error { return os.Truncate(path, 0) }},
		{"appended to", false, func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		}},
		{"replaced by another", false, replace(func(path string) error { return os.WriteFile(path, []byte("another"), 0o644) })},
		{"replaced by a folder", false, replace(func(path string) error { return os.Mkdir(path, 0o755) })},
		{"replaced by a pipe", false, replace(func(path string) error { return syscall.Mkfifo(path, 0o644) })},
		{"replaced by a symlink", false, replace(func(path string) error { return os.Symlink("/etc/passwd", path) })},
		{"replaced by a symlink to its like", false, replace(func(path string) error { return os.Symlink(path+".old", path) })},
	}
	inEachWay(t, func(t *testing.T, w way) {
		s := newSite(t, true)
		const size = 2<<20 + 3
		pkg := masvtest.Package{Name: "Spoilt"}
		for i := range faults {
			pkg.Files = append(pkg.Files, masvtest.File{Name: fmt.Sprintf("%d.mov", i), Size: size}, masvtest.File{Name: fmt.Sprintf("open %d.mov", i), Size: size})
		}
		pkg.Files = append(pkg.Files, masvtest.File{Name: "sound.mov", Size: size})
		link := s.cloud.AddPackage(pkg)
		s.startReading(w)
		d := s.waitFor(s.add(link, ""), "complete")
		files := filepath.Join(d.MountPath, "files")
		for i, fault := range faults {
			t.Run(fault.what, func(t *testing.T) {
				name := fmt.Sprintf("%d.mov", i)
				if err := fault.spoil(filepath.Join(d.Path, name)); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if f, err := os.Open(filepath.Join(files, name)); !errors.Is(err, syscall.EIO) {
						t.Errorf("opened: %v", err)
						f.Close()
					}
				}
				// One that is open stays open, and gives what there is of it,
				// and so it may to another reader.
				name = fmt.Sprintf("open %d.mov", i)
				f, err := os.Open(filepath.Join(files, name))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if err := fault.spoil(filepath.Join(d.Path, name)); err != nil {
					t.Fatal(err)
				}
				sent := make([]byte, size)
				masvtest.Content(s.cloud.File(link, 2*i+1).Seed, 0, sent)
				check := func(who string, f *os.File) {
					got, err := io.ReadAll(f)
					switch {
					case fault.shorter && !strings.HasPrefix(string(sent), string(got)):
						t.Errorf("%s reads %d bytes that were not sent (%v)", who, len(got), err)
					case !fault.shorter && (err != nil || len(got) < size || string(got[:size]) != string(sent)):
						t.Errorf("%s reads %d bytes, %v", who, len(got), err)
					}
				}
				switch again, err := os.Open(filepath.Join(files, name)); {
				case err == nil:
					check("a second reader", again)
					again.Close()
				case !errors.Is(err, syscall.EIO):
					t.Errorf("opened by a second: %v", err)
				}
				check("who had it open", f)
				f.Close()
				until := time.Now().Add(patience)
				for err = nil; err == nil; {
					// It is closed a moment later than close returns.
					if f, err = os.Open(filepath.Join(files, name)); err == nil {
						f.Close()
						if time.Now().After(until) {
							t.Fatal("it opens although nobody has it open")
						}
					}
				}
				if !errors.Is(err, syscall.EIO) {
					t.Errorf("opened when nobody has it open: %v", err)
				}
				sameContent(t, filepath.Join(files, "sound.mov"), s.cloud.File(link, len(pkg.Files)-1))
			})
		}
		if state := s.get(d.ID).State; state != "complete" {
			t.Errorf("the state is %s", state)
		}
		s.stop()
	})
}

// replace keeps the former file beside its place, so that its inode is not used again.
func replace(by func(path string) error) func(path string) error {
	return func(path string) error {
		if err := os.Rename(path, path+".old"); err != nil {
			return err
		}
		return by(path)
	}
}

func TestAFileThatIsPutBackOpensAgain(t *testing.T) {
	inEachWay(t, func(t *testing.T, w way) {
		s := newSite(t, true)
		link := s.cloud.AddPackage(shoot())
		s.startReading(w)
		d := s.waitFor(s.add(link, ""), "complete")
		disk, mounted := filepath.Join(d.Path, "Day 1/Cam B/B001.mov"), filepath.Join(d.MountPath, "files", "Day 1/Cam B/B001.mov")
		for range 3 {
			if err := os.Rename(disk, disk+".away"); err != nil {
				t.Fatal(err)
			}
			if f, err := os.Open(mounted); !errors.Is(err, syscall.EIO) {
				t.Errorf("opened: %v", err)
				f.Close()
			}
			if err := os.Rename(disk+".away", disk); err != nil {
				t.Fatal(err)
			}
			sameFile(t, mounted, disk)
		}
		s.stop()
	})
}

func TestAFileThatIsReplacedByItsLikeIsReadAsEitherAndNotAsBoth(t *testing.T) {
	inEachWay(t, func(t *testing.T, w way) {
		s := newSite(t, true)
		const size = 4 << 20
		link := s.cloud.AddPackage(masvtest.Package{Name: "Swapped", Files: []masvtest.File{{Name: "a.mov", Size: size}}})
		s.startReading(w)
		d := s.waitFor(s.add(link, ""), "complete")
		disk, mounted := filepath.Join(d.Path, "a.mov"), filepath.Join(d.MountPath, "files", "a.mov")
		former, err := os.ReadFile(mounted)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(mounted)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		latter := make([]byte, size)
		masvtest.Content(4711, 0, latter)
		if err := replace(func(path string) error { return os.WriteFile(path, latter, 0o644) })(disk); err != nil {
			t.Fatal(err)
		}
		either := func(what string) {
			t.Helper()
			got, err := os.ReadFile(mounted)
			if errors.Is(err, syscall.EIO) {
				return
			}
			if err != nil || string(got) != string(former) && string(got) != string(latter) {
				t.Errorf("%s: %d bytes that are neither, %v", what, len(got), err)
			}
		}
		either("while the former is open")
		if n, err := io.Copy(io.Discard, f); err != nil || n != size {
			t.Errorf("who had it open reads %d bytes, %v", n, err)
		}
		f.Close()
		either("afterwards")
		s.stop()
	})
}

func TestARemovedFileGivesItsRoomBackAfterItsLastReader(t *testing.T) {
	needRoot(t, "mounting a tmpfs")
	inEachWay(t, func(t *testing.T, w way) {
		s := newSite(t, true)
		if err := os.Mkdir(s.downloads, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", s.downloads, "tmpfs", 0, "size=64m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Unmount(s.downloads, 2 /* MNT_DETACH */) })
		free := func() uint64 {
			var st syscall.Statfs_t
			if err := syscall.Statfs(s.downloads, &st); err != nil {
				t.Fatal(err)
			}
			return st.Bfree * uint64(st.Bsize)
		}
		link := s.cloud.AddPackage(masvtest.Package{Name: "Big", Files: []masvtest.File{{Name: "a.mov", Size: 16 << 20}, {Name: "b.mov", Size: 16 << 20}}})
		s.extra = append(s.extra, "--reserve-free", "0")
		s.startReading(w)
		before := free()
		d := s.waitFor(s.add(link, ""), "complete")
		var open []*os.File
		for range 3 {
			for i, name := range []string{"a.mov", "b.mov"} {
				f, err := os.Open(filepath.Join(d.MountPath, "files", name))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				open = append(open, f)
				sameContent(t, f.Name(), s.cloud.File(link, i))
			}
		}
		if status := s.call("DELETE", "/downloads/"+d.ID, `{"remove_files": true}`, nil); status != 204 {
			t.Fatalf("DELETE answers %d", status)
		}
		for _, f := range open {
			if _, err := io.Copy(io.Discard, f); err != nil {
				t.Error(err)
			}
		}
		if now := free(); now > before-(30<<20) {
			t.Errorf("%d bytes were given back while the files are open", now+32<<20-before)
		}
		for _, f := range open {
			f.Close()
		}
		// 1 MiB is left to whatever the folder itself takes.
		s.until("the room is there again", func() bool { return free() > before-(1<<20) })
		s.stop()
	})
}
