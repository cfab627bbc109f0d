package integration

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"masvfs/fetch/masv/masvtest"
)

// A neighbour is another local user, in a process of its own, who may rename
// what is in a destination: args are that folder, a folder outside to which
// all its symlinks lead, and a seed. Until it is told to end it puts something
// else in the place of whatever it finds, for a moment each, and prints how
// often it did that, and in which ways.
func neighbour(args []string) error {
	folder, bait := args[0], args[1]
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	for _, drop := range []error{syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody)} {
		if drop != nil {
			return fmt.Errorf("become another user: %w", drop)
		}
	}
	n := &swapper{folder: folder, bait: bait, rand: rand.New(rand.NewPCG(seed, 7))}
	var over atomic.Bool
	go func() {
		proceed()
		over.Store(true)
	}()
	fmt.Println("ready")
	for !over.Load() {
		n.swap()
	}
	fmt.Println("swaps:", n.count)
	return nil
}

type swapper struct {
	folder, bait string
	rand         *rand.Rand
	serial       int
	count        [5]int
}

// means are the ways to have something else ready beside a folder, which is to
// take its place; the last one takes what is another user's.
const (
	bySymlink = iota
	byGap     // nothing for a moment, then a symlink
	byFolder  // a folder full of symlinks
	byPipe
	byTheirs
)

// swap takes one folder, or file, for a moment.
func (s *swapper) swap() {
	how, longest := s.rand.IntN(6), 3*time.Millisecond
	var target, rel string
	ok := false
	if how >= byTheirs {
		// Another's folder can only be renamed where it is. What is removed at
		// the end of a download is what it is swapped for above all. (As a
		// folder that is no package's, it would be one that was there before,
		// to be used.)
		how, longest = byTheirs, 30*time.Millisecond
		names := []string{".masvfs-*", ".masvfs-*", "Package*", ".Package*"}
		if all, _ := filepath.Glob(filepath.Join(s.folder, names[s.rand.IntN(len(names))])); len(all) > 0 {
			target, ok = all[s.rand.IntN(len(all))], true
			rel = filepath.Base(target)
		}
	} else {
		target, rel, ok = s.pick(s.folder, "", 0)
	}
	if !ok {
		return
	}
	s.serial++
	aside := filepath.Join(filepath.Dir(target), fmt.Sprintf(".swap-%d", s.serial))
	out := filepath.Join(s.bait, rel)
	if i := strings.IndexByte(rel, '/'); i >= 0 && s.rand.IntN(2) == 0 {
		out = filepath.Join(s.bait, rel[i+1:]) // the same below the package's folder
	} else if i < 0 {
		out = s.bait
	}
	var err error
	switch how {
	case bySymlink:
		err = os.Symlink(out, aside)
	case byGap:
		if os.Rename(target, aside) != nil {
			return
		}
		placed := os.Symlink(out, target) == nil
		s.hold(longest)
		if placed {
			os.Remove(target)
		}
		if os.Rename(aside, target) == nil {
			s.count[how]++
		}
		return
	case byFolder:
		if err = os.Mkdir(aside, 0o777); err == nil {
			entries, _ := os.ReadDir(s.bait)
			for _, e := range entries {
				os.Symlink(filepath.Join(s.bait, e.Name()), filepath.Join(aside, e.Name()))
			}
		}
	case byPipe:
		err = syscall.Mkfifo(aside, 0o666)
	case byTheirs:
		aside = filepath.Join(s.folder, "theirs")
	}
	if err == nil && exchange(aside, target) == nil {
		s.hold(longest)
		if exchange(aside, target) != nil {
			os.Rename(aside, target) // it was taken away meanwhile
		}
		s.count[how]++
	}
	if how != byTheirs {
		os.Remove(aside)
		if how == byFolder {
			os.RemoveAll(aside)
		}
	}
}

// pick chooses among what is there, a folder above all.
func (s *swapper) pick(in, rel string, depth int) (path, below string, ok bool) {
	dir, err := os.Open(in)
	if err != nil {
		return "", "", false
	}
	defer dir.Close()
	entries, _ := dir.ReadDir(200)
	for range 5 {
		if len(entries) == 0 {
			return "", "", false
		}
		e := entries[s.rand.IntN(len(entries))]
		if strings.HasPrefix(e.Name(), ".swap-") || e.Name() == "theirs" || !e.IsDir() && s.rand.IntN(4) > 0 {
			continue
		}
		path, below = filepath.Join(in, e.Name()), filepath.Join(rel, e.Name())
		if e.IsDir() && depth < 3 && s.rand.IntN(2) == 0 {
			if p, b, ok := s.pick(path, below, depth+1); ok {
				return p, b, true
			}
		}
		return path, below, true
	}
	return "", "", false
}

// hold leaves things as they are for a moment.
func (s *swapper) hold(longest time.Duration) {
	if s.rand.IntN(3) > 0 {
		time.Sleep(time.Duration(s.rand.Int64N(int64(longest))))
	}
}

func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

// TestANeighbourSwapsFolders has another user swap what is in the destination,
// which everybody may write to, for symlinks, pipes and other people's folders
// while packages are downloaded into it, read, and removed. No byte is written,
// removed or read elsewhere, and the agent goes on.
func TestANeighbourSwapsFolders(t *testing.T) {
	needRoot(t, "another user")
	for _, seed := range seeds(t, 2, 20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 8))
			s := newSite(t, true, "--reserve-free", "0", "--max-active", "3")
			s.under = []string{"/bin/sh", "-c", `umask 0; exec "$@"`, "sh"}
			for _, folder := range []string{filepath.Dir(filepath.Dir(s.downloads)), filepath.Dir(s.downloads)} {
				if err := os.Chmod(folder, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			// What is elsewhere is called as what is downloaded, so that whoever
			// comes there by mistake finds something to overwrite and to remove.
			bait, theirs := filepath.Join(t.TempDir(), "bait"), filepath.Join(s.downloads, "theirs")
			for folder, text := range map[string]string{bait: "bait", theirs: "them"} {
				lay := func(t testing.TB, path string, i int) { lay(t, path, text, i) }
				for i := range swapped {
					lay(t, filepath.Join(folder, swappedFile(i).Path, swappedFile(i).Name), i)
				}
				lay(t, filepath.Join(folder, "1.part"), 1)
				lay(t, filepath.Join(folder, "1.new"), 1)
				lay(t, filepath.Join(folder, "tree", "1"), 1)
				own(t, folder)
			}
			if err := os.Chmod(s.downloads, 0o777); err != nil {
				t.Fatal(err)
			}
			outside, inside := laid(t, bait), laid(t, theirs)
			s.cloud.SetRate(16 << 20)
			s.start()
			s.guard()

			n := startReader(t, "neighbour", s.downloads, bait, fmt.Sprint(seed))
			n.line()
			rounds := 8
			if thorough() {
				rounds = 100
			}
			ended, read, wrong := map[string]int{}, 0, 0
			for round := range rounds {
				files := make([]masvtest.File, swapped)
				for i := range files {
					files[i] = swappedFile(i)
				}
				link := s.cloud.AddPackage(masvtest.Package{Name: fmt.Sprint("Package ", round), Files: files})
				more := []string{"", `, "publish": "package"`, `, "create_package_folder": false`}[r.IntN(3)]
				id := s.add(link, more)
				most := 6 * time.Second
				if r.IntN(2) == 0 { // it is removed in the middle
					most = time.Duration(r.IntN(1500)) * time.Millisecond
				}
				for end := time.Now().Add(most); time.Now().Before(end); {
					d := s.get(id)
					some, other := s.readSwapped(d)
					read, wrong = read+some, wrong+other
					if d.State == "complete" {
						break
					}
					if d.State == "error" && r.IntN(3) == 0 {
						break
					}
					if d.State == "error" {
						s.call("POST", "/downloads/"+id+"/resume", "", nil)
					}
				}
				ended[s.get(id).State]++
				if r.IntN(4) > 0 {
					s.call("DELETE", "/downloads/"+id, `{"remove_files": true}`, nil) // it may fail, and is tried again
				}
				if r.IntN(4) == 0 {
					s.signal(syscall.SIGKILL)
					s.start()
					s.guard()
				}
			}
			n.proceed()
			did := n.line()
			if now := laid(t, bait); !reflect.DeepEqual(now, outside) {
				t.Errorf("elsewhere there is now %v, and there was %v", now, outside)
			}
			if now := laid(t, s.ofStranger()); !reflect.DeepEqual(now, inside) {
				t.Errorf("of another's folder there is now %v, and there was %v", now, inside)
			}
			if wrong > 0 {
				t.Errorf("%d of %d files that were read through the mount were from elsewhere", wrong, read)
			}
			// Nobody swaps any more, and it works as ever.
			link := s.cloud.AddPackage(rushes())
			s.cloud.SetRate(0)
			checkRushes(t, s, link, s.waitFor(s.add(link, ""), "complete").Path)
			for _, d := range s.list() {
				if status := s.call("DELETE", "/downloads/"+d.ID, `{"remove_files": true}`, nil); status != 204 && status != 404 {
					t.Errorf("DELETE of %s answers %d", d.Name, status)
				}
			}
			if now := laid(t, bait); !reflect.DeepEqual(now, outside) {
				t.Errorf("elsewhere there is now %v, and there was %v", now, outside)
			}
			if strings.Contains(s.log.String(), "panic") {
				t.Error("something panicked")
			}
			t.Logf("%d rounds, which ended %v, %d files read; %s", rounds, ended, read, did)
			s.signal(syscall.SIGTERM)
		})
	}
}

// swapped is how many files a package has that a neighbour swaps.
const swapped = 40

func swappedFile(i int) masvtest.File {
	f := masvtest.File{Name: fmt.Sprintf("%02d.bin", i), Path: []string{"", "a", "a/b", "c", "a/b/d"}[i%5], Size: int64(1000 + 100*i)}
	if i%20 == 7 {
		f.Size = 1 << 20
	}
	return f
}

// lay puts a file of the size of the i-th one to a place where nothing is to
// be read, written or removed.
func lay(t testing.TB, path, text string, i int) {
	t.Helper()
	text = strings.Repeat(text, int(swappedFile(i).Size)/4)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// own gives a folder and all in it to a user who is neither the agent nor the
// neighbour.
func own(t testing.TB, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, stranger, stranger))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// laid is all that is in a folder, with what could be changed about it.
func laid(t testing.TB, folder string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		says := fmt.Sprint(info.Mode(), " ", st.Uid, " ", st.Gid)
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			says += fmt.Sprint(" ", info.ModTime().UnixNano(), " ", len(text), " ", crc32.ChecksumIEEE(text))
		}
		rel, err := filepath.Rel(folder, path)
		all[rel] = says
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// ofStranger finds the folder in the destination that is another's, whatever
// it is called by now: its name is anybody's to change there.
func (s *site) ofStranger() string {
	s.t.Helper()
	entries, err := os.ReadDir(s.downloads)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Sys().(*syscall.Stat_t).Uid == stranger {
			return filepath.Join(s.downloads, e.Name())
		}
	}
	s.t.Fatalf("another's folder is gone: there are %v", entries)
	return ""
}

// readSwapped reads what the mount has of a download, and returns how many
// files were read, and how many of them came from elsewhere. (What a neighbour
// may put into the destination may be any file.)
func (s *site) readSwapped(d download) (read, wrong int) {
	for i := range swapped {
		f := swappedFile(i)
		text, err := os.ReadFile(filepath.Join(d.MountPath, "files", f.Path, f.Name))
		if err != nil {
			continue
		}
		read++
		if bytes.Contains(text, []byte("bait")) {
			wrong++
		}
	}
	return read, wrong
}
