package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// output runs a tool and returns what it prints.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestStatusFilesAreWholeHoweverTheyAreRead(t *testing.T) {
	s := newSite(t, true)
	link := s.cloud.AddPackage(rushes())
	s.start()
	s.waitFor(s.add(link, ""), "complete")
	folder := filepath.Join(s.mount, "Rushes")
	progress := filepath.Join(folder, "progress")
	copied := filepath.Join(t.TempDir(), "copy")
	output(t, "cp", progress, copied)
	viaCopy, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{
		"cat":  output(t, "cat", progress),
		"tail": output(t, "tail", "-n", "5", progress),
		"head": output(t, "head", "-c", "10000", progress),
		"dd":   output(t, "dd", "if="+progress, "bs=7", "status=none"),
		"tar":  output(t, "tar", "-C", folder, "-cO", "progress")[512:1024],
		"cp":   string(viaCopy),
	} {
		var p struct {
			State   string  `json:"state"`
			Percent float64 `json:"percent"`
			Files   int     `json:"files_done"`
		}
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.State != "complete" || p.Percent != 100 || p.Files != 4 {
			t.Errorf("through %s: %v: %q", how, err, text)
		}
	}
	if text := output(t, "cat", filepath.Join(folder, "state")); text != "complete\n" {
		t.Errorf("state holds %q", text)
	}
	if _, err := os.Stat(filepath.Join(folder, "error")); !os.IsNotExist(err) {
		t.Errorf("there is an error file: %v", err)
	}
}

func TestTheErrorFileIsThereWhileThereIsAnError(t *testing.T) {
	s := newSite(t, true)
	pkg := rushes()
	pkg.Password = "right"
	link := s.cloud.AddPackage(pkg)
	s.start()
	id := s.add(link, `, "name": "Called so"`)
	d := s.waitFor(id, "error")
	text, err := os.ReadFile(filepath.Join(s.mount, "Called so", "error"))
	if err != nil || strings.TrimSpace(string(text)) != d.Error.Message {
		t.Errorf("error holds %q, %v", text, err)
	}
	s.call("POST", "/downloads/"+id+"/resume", `{"password": "right"}`, nil)
	s.waitFor(id, "complete")
	if _, err := os.Stat(filepath.Join(s.mount, "Called so")); !os.IsNotExist(err) {
		t.Errorf("the former name is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.mount, "Rushes", "error")); !os.IsNotExist(err) {
		t.Errorf("the error file is still there: %v", err)
	}
}

func TestNothingInTheMountCanBeChanged(t *testing.T) {
	s := newSite(t, true)
	link := s.cloud.AddPackage(rushes())
	s.start()
	s.waitFor(s.add(link, ""), "complete")
	d := filepath.Join(s.mount, "Rushes")
	f := filepath.Join(d, "files", "Day 1", "notes.txt")
	create := func(path string) error {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			file.Close()
		}
		return err
	}
	for what, err := range map[string]error{
		"create at the root":    create(filepath.Join(s.mount, "x")),
		"create in files":       create(filepath.Join(d, "files", "x")),
		"write a finished file": create(f),
		"write progress":        create(filepath.Join(d, "progress")),
		"mkdir":                 os.Mkdir(filepath.Join(d, "x"), 0o755),
		"remove a file":         os.Remove(f),
		"remove a folder":       syscall.Rmdir(filepath.Join(d, "files", "Day 1", "Stills")),
		"rename":                os.Rename(f, f+"2"),
		"rename a download":     os.Rename(d, d+"2"),
		"link":                  os.Link(f, filepath.Join(d, "files", "x")),
		"symlink":               os.Symlink("/etc/passwd", filepath.Join(d, "files", "x")),
		"mkfifo":                syscall.Mkfifo(filepath.Join(d, "files", "x"), 0o644),
		"chmod":                 os.Chmod(f, 0o777),
		"truncate":              os.Truncate(f, 0),
		"change times":          os.Chtimes(f, time.Now(), time.Now()),
		"change times of state": os.Chtimes(filepath.Join(d, "state"), time.Now(), time.Now()),
		"set an attribute":      syscall.Setxattr(f, "user.x", []byte("y"), 0),
		"set the state's":       syscall.Setxattr(d, "user.masv.state", []byte("paused"), 0),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := os.WriteFile(filepath.Join(d, "state"), []byte("destroy\n"), 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("an unknown word: %v", err)
	}
	var buf [64]byte
	n, err := syscall.Getxattr(d, "user.masv.state", buf[:])
	if err != nil || string(buf[:n]) != "complete" {
		t.Errorf("the attribute says %q, %v", buf[:max(n, 0)], err)
	}
}

func TestAFinishedFileLooksAsItWasSent(t *testing.T) {
	s := newSite(t, true)
	link := s.cloud.AddPackage(rushes())
	s.start()
	d := s.waitFor(s.add(link, ""), "complete")
	for i, rel := range []string{"Day 1/Cam A/A001.mov", "Day 1/Cam B/B001.mov", "Day 1/notes.txt"} {
		info, err := os.Stat(filepath.Join(d.MountPath, "files", rel))
		if err != nil {
			t.Fatal(err)
		}
		sent := s.cloud.File(link, i)
		st := info.Sys().(*syscall.Stat_t)
		if info.Size() != sent.Size || !info.ModTime().Equal(sent.LastModified) || st.Nlink != 1 || st.Blocks != (sent.Size+511)/512 || info.Mode() != 0o444 {
			t.Errorf("%s: %v %+v", rel, info.Mode(), st)
		}
	}
	var below, mounted syscall.Statfs_t
	if err := errors.Join(syscall.Statfs(s.downloads, &below), syscall.Statfs(s.mount, &mounted)); err != nil || below.Blocks != mounted.Blocks {
		t.Errorf("the mount has %d blocks, the folder below %d, %v", mounted.Blocks, below.Blocks, err)
	}
}

// TestAFolderSaysTheSameInAListingAndByItself: what comes with a listing, the
// kernel believes.
func TestAFolderSaysTheSameInAListingAndByItself(t *testing.T) {
	s := newSite(t, true)
	link := s.cloud.AddPackage(rushes())
	s.start()
	s.waitFor(s.add(link, ""), "complete")
	for _, folder := range []string{s.mount, filepath.Join(s.mount, "Rushes"), filepath.Join(s.mount, "Rushes", "files")} {
		entries, err := os.ReadDir(folder)
		if err != nil || len(entries) == 0 {
			t.Fatalf("%s lists %v, %v", folder, entries, err)
		}
		for _, e := range entries {
			listed, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond) // by now it is asked anew
			alone, err := os.Lstat(filepath.Join(folder, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if !alone.ModTime().Equal(listed.ModTime()) || alone.Mode() != listed.Mode() || !os.SameFile(alone, listed) {
				t.Errorf("%s is %v of %v in the listing, and %v of %v by itself", e.Name(), listed.Mode(), listed.ModTime(), alone.Mode(), alone.ModTime())
			}
		}
	}
}

func TestAFolderOfManyFilesIsListedWhole(t *testing.T) {
	t.Parallel()
	const n = 5000
	s := newSite(t, true)
	link := s.cloud.AddPackage(masvtest.Package{Name: "Many", Count: n, RateInterval: -1, Generate: func(i int) masvtest.File {
		return masvtest.File{Name: fmt.Sprintf("frame %06d.dpx", i), Path: "frames", Size: int64(i % 300)}
	}})
	s.start()
	id := s.add(link, "")
	frames := filepath.Join(s.mount, "Many", "files", "frames")
	s.until("complete", func() bool {
		// Listed while it grows, a folder shows nothing twice.
		seen := map[string]bool{}
		entries, err := os.ReadDir(frames)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if seen[e.Name()] {
				t.Fatalf("%s shows twice", e.Name())
			}
			seen[e.Name()] = true
		}
		return s.get(id).State == "complete"
	})
	entries, err := os.ReadDir(frames)
	if err != nil || len(entries) != n {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		f := s.cloud.File(link, i)
		sameContent(t, filepath.Join(frames, f.Name), f)
	}
}

func TestItUnmountsCleanlyWhileSomethingIsOpen(t *testing.T) {
	s := newSite(t, true)
	link := s.cloud.AddPackage(rushes())
	s.start()
	d := s.waitFor(s.add(link, ""), "complete")
	f, err := os.Open(filepath.Join(d.MountPath, "files", "Day 1", "notes.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.signal(syscall.SIGTERM)
	if data, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(data, []byte(s.mount)) {
		t.Errorf("still mounted: %v", err)
	}
	if !strings.Contains(s.log.String(), fmt.Sprint(os.Getpid())) {
		t.Error("the log does not say who holds the mount")
	}
	s.start()
	s.signal(syscall.SIGTERM)
}

func TestAFileTakenAwayBehindItsBackIsAnErrorAndNoHang(t *testing.T) {
	s := newSite(t, true)
	link := s.cloud.AddPackage(rushes())
	s.start()
	d := s.waitFor(s.add(link, ""), "complete")
	if err := os.Remove(filepath.Join(d.Path, "Day 1", "notes.txt")); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(filepath.Join(d.MountPath, "files", "Day 1", "notes.txt")); err == nil {
		f.Close()
		t.Error("a file that is gone opens")
	}
	f, err := os.Open(filepath.Join(d.MountPath, "files", "Day 1", "Cam A", "A001.mov"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if status := s.call("DELETE", "/downloads/"+d.ID, `{"remove_files": true}`, nil); status != 204 {
		t.Errorf("DELETE answers %d", status)
	}
	if n, err := io.Copy(io.Discard, f); err != nil || n != s.cloud.File(link, 0).Size {
		t.Errorf("an open file gave %d bytes, %v", n, err)
	}
}
