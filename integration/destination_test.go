package integration

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

// TestADestinationThatChangesWhileItRuns takes the folders away from under a
// download: the download says so, never calls complete what is not where it
// says, writes nothing elsewhere, and is mended by putting them back and
// resuming it, where that is possible.
func TestADestinationThatChangesWhileItRuns(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(t *testing.T, s *site, other string)
		restore func(t *testing.T, s *site) // nil: all begins anew
	}{
		"the package folder is renamed": {
			change:  func(t *testing.T, s *site, _ string) { rename(t, s.downloads+"/Moving", s.downloads+"/Moved") },
			restore: func(t *testing.T, s *site) { rename(t, s.downloads+"/Moved", s.downloads+"/Moving") },
		},
		"the package folder becomes a symlink": {
			change: func(t *testing.T, s *site, other string) {
				rename(t, s.downloads+"/Moving", s.downloads+"/Moved")
				symlink(t, other, s.downloads+"/Moving")
			},
			restore: func(t *testing.T, s *site) {
				remove(t, s.downloads+"/Moving")
				rename(t, s.downloads+"/Moved", s.downloads+"/Moving")
			},
		},
		"the destination is renamed": {
			change:  func(t *testing.T, s *site, _ string) { rename(t, s.downloads, s.downloads+"-away") },
			restore: func(t *testing.T, s *site) { rename(t, s.downloads+"-away", s.downloads) },
		},
		"the destination becomes a symlink": {
			change: func(t *testing.T, s *site, other string) {
				rename(t, s.downloads, s.downloads+"-away")
				symlink(t, other, s.downloads)
			},
			restore: func(t *testing.T, s *site) {
				remove(t, s.downloads)
				rename(t, s.downloads+"-away", s.downloads)
			},
		},
		"a folder in the package becomes a symlink": {
			change: func(t *testing.T, s *site, other string) {
				rename(t, s.downloads+"/Moving/folder", s.downloads+"/Moving/aside")
				symlink(t, other, s.downloads+"/Moving/folder")
			},
			restore: func(t *testing.T, s *site) {
				remove(t, s.downloads+"/Moving/folder")
				rename(t, s.downloads+"/Moving/aside", s.downloads+"/Moving/folder")
			},
		},
		"the package folder is deleted": {
			change: func(t *testing.T, s *site, _ string) { removeAll(t, s.downloads+"/Moving") },
		},
		"the destination is deleted": {
			change: func(t *testing.T, s *site, _ string) { removeAll(t, s.downloads) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, false, "--reserve-free", "0")
			files := []masvtest.File{{Name: "first", Path: "folder", Size: 1000}, {Name: "big", Path: "folder", Size: 24 << 20}, {Name: "last", Path: "folder", Size: 1000}}
			link := s.cloud.AddPackage(masvtest.Package{Name: "Moving", Files: files})
			s.cloud.SetRate(256 << 10)
			other := t.TempDir()
			s.start()
			id := s.add(link, "")
			s.until("it is under way", func() bool { d := s.get(id); return d.FilesDone > 0 && d.BytesDone > 1<<20 })
			c.change(t, s, other)
			s.cloud.SetRate(0)
			var d download
			s.until("it says what is wrong", func() bool {
				d = s.get(id)
				if d.State == "complete" {
					t.Fatal("it is called complete, and is not where it is said to be")
				}
				return d.State == "error"
			})
			if d.Error.Message == "" || !d.Error.Recoverable || !strings.Contains(d.Error.Message, s.downloads) && d.Error.Code != "files_failed" {
				t.Errorf("error: %+v", d.Error)
			}
			t.Logf("it says: %s", d.Error.Message)
			if got, err := os.ReadDir(other); err != nil || len(got) > 0 {
				t.Errorf("written elsewhere: %v, %v", got, err)
			}
			if c.restore != nil {
				c.restore(t, s)
				s.call("POST", "/downloads/"+id+"/resume", "", nil)
			} else {
				// What is gone is gone: the way on that the message names.
				if err := os.MkdirAll(s.downloads, 0o755); err != nil {
					t.Fatal(err)
				}
				if status := s.call("DELETE", "/downloads/"+id, "", nil); status != 204 {
					t.Errorf("DELETE answers %d", status)
				}
				id = s.add(link, "")
			}
			tree := s.waitFor(id, "complete").Path
			for i := range files {
				f := s.cloud.File(link, i)
				sameContent(t, filepath.Join(tree, f.Path, f.Name), f)
			}
			if left := hidden(t, s.downloads); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			s.signal(syscall.SIGTERM)
		})
	}
}

func rename(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

// removeAll removes a folder that somebody may be making files in.
func removeAll(t testing.TB, name string) {
	t.Helper()
	var err error
	for range 100 {
		if err = os.RemoveAll(name); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// TestADestinationThatIsUnmountedAndMountedAgain takes the disk away and gives
// it back: the download goes on by itself, and nothing is written to the folder
// that the disk is mounted on.
func TestADestinationThatIsUnmountedAndMountedAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		skip(t, "mounting a tmpfs needs root")
	}
	t.Parallel()
	s := newSite(t, false, "--reserve-free", "0")
	disk := filepath.Join(filepath.Dir(s.downloads), "disk")
	aside := filepath.Join(filepath.Dir(s.downloads), "aside")
	for _, folder := range []string{disk, aside} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=128m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	// Mounted a second time, it outlives being unmounted.
	if err := syscall.Mount(disk, aside, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(aside, syscall.MNT_DETACH) })
	s.downloads = filepath.Join(disk, "in")
	files := []masvtest.File{{Name: "first", Size: 1000}, {Name: "big", Size: 24 << 20}}
	link := s.cloud.AddPackage(masvtest.Package{Name: "Away", Files: files})
	s.cloud.SetRate(256 << 10)
	s.start()
	id := s.add(link, "")
	s.until("it is under way", func() bool { d := s.get(id); return d.FilesDone > 0 && d.BytesDone > 1<<20 })
	s.signal(syscall.SIGKILL) // nobody can unmount what is in use
	if err := syscall.Unmount(disk, 0); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.until("it says that the folder is gone", func() bool {
		d := s.get(id)
		return d.State == "error" && d.Error.Code == "destination" && strings.Contains(d.Error.Message, s.downloads)
	})
	s.signal(syscall.SIGTERM)
	if left := run(t, "find", disk, "-type", "f"); left != "" {
		t.Errorf("written where the disk was: %s", left)
	}
	if err := syscall.Mount(aside, disk, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	s.cloud.SetRate(0)
	s.start()
	s.call("POST", "/downloads/all/resume", "", nil)
	tree := s.again(id)
	for i := range files {
		f := s.cloud.File(link, i)
		sameContent(t, filepath.Join(tree, f.Name), f)
	}
	if n := s.cloud.LinkStats(link).Initiated; n != 1 {
		t.Errorf("the link was opened %d times", n)
	}
	s.signal(syscall.SIGTERM)
}
