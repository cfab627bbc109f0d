package integration

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"masvfs/fetch/masv/masvtest"
)

// nobody is an ordinary user, and stranger another.
const nobody, stranger = 65534, 12345

// asNobody has the agent run as an ordinary user to whom its folders belong.
func (s *site) asNobody() {
	s.t.Helper()
	needRoot(s.t, "running the agent as another user")
	need(s.t, "setpriv")
	s.under = []string{"setpriv", fmt.Sprint("--reuid=", nobody), fmt.Sprint("--regid=", nobody), "--clear-groups", "--inh-caps=-all"}
	for _, folder := range []string{filepath.Dir(program), filepath.Dir(filepath.Dir(s.inbox)), filepath.Dir(s.inbox)} {
		if err := os.Chmod(folder, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	folders := []string{s.inbox, s.downloads, s.state}
	if s.mount != "" {
		folders = append(folders, s.mount)
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Chown(folder, nobody, nobody); err != nil {
			s.t.Fatal(err)
		}
	}
}

// dead mounts a file system that answers nothing but where it is, until the
// test ends, and returns a path of a file in it.
func dead(t testing.TB) string {
	t.Helper()
	needFUSE(t)
	needRoot(t, "mounting a file system that hangs")
	mount := filepath.Join(t.TempDir(), "hung")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	server, err := fuse.NewServer(&hanging{fuse.NewDefaultRawFileSystem(), release}, mount, &fuse.MountOptions{DirectMount: true, AllowOther: true})
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(release)
		if err := unix.Unmount(mount, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		server.Wait()
	})
	return filepath.Join(mount, "file")
}

// hanging answers no lookup.
type hanging struct {
	fuse.RawFileSystem
	release chan struct{}
}

func (h *hanging) Lookup(<-chan struct{}, *fuse.InHeader, string, *fuse.EntryOut) fuse.Status {
	<-h.release
	return fuse.EIO
}

// nowhere makes sure that a text is in nothing that people or programs read of
// the agent: below its folders, in its log, or at REST.
func (s *site) nowhere(text string) {
	s.t.Helper()
	for _, folder := range []string{s.inbox, s.state, s.downloads} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			if info, err := d.Info(); err != nil || info.Size() > 64<<20 {
				return err
			}
			if data, err := os.ReadFile(path); err != nil || bytes.Contains(data, []byte(text)) {
				s.t.Errorf("%s holds what nobody was to read: %v", path, err)
			}
			return nil
		})
		if err != nil {
			s.t.Error(err)
		}
	}
	if strings.Contains(s.log.String(), text) || strings.Contains(fmt.Sprintf("%+v", s.list()), text) {
		s.t.Error("the log or REST holds what nobody was to read")
	}
}

// TestHostileThingsInTheInbox drops what is no link file under the names of
// link files. The agent takes the good links beside them, says what was wrong
// where people look, blocks nowhere, and changes nothing that is not its own.
func TestHostileThingsInTheInbox(t *testing.T) {
	t.Parallel()
	const shadow = "root:$6$canarycanary$0123456789abcdef:19000:0:99999:7:::"
	for who, ordinary := range map[string]bool{"root": false, "an ordinary user": true} {
		t.Run("the agent is run by "+who, func(t *testing.T) {
			needRoot(t, "making devices and other users' files")
			s := newSite(t, false)
			if ordinary {
				s.asNobody()
			} else if err := os.Mkdir(s.inbox, 0o777); err != nil {
				t.Fatal(err)
			}
			in := func(name string) string { return filepath.Join(s.inbox, name) }
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			outside := filepath.Join(filepath.Dir(s.inbox), "outside")
			must(os.Mkdir(outside, 0o755))
			theirs := func(name, text string, mode os.FileMode) string {
				path := filepath.Join(outside, name)
				must(os.WriteFile(path, []byte(text), mode))
				must(os.Chown(path, stranger, stranger))
				return path
			}
			link := func(name string) string {
				return s.cloud.AddPackage(masvtest.Package{Name: name, Files: []masvtest.File{{Name: "a", Size: 100}}}).URL()
			}
			own := func(name, text string, mode os.FileMode) {
				must(os.WriteFile(in(name), []byte(text), mode))
				if ordinary {
					must(os.Chown(in(name), nobody, nobody))
				}
				must(os.Chmod(in(name), mode))
			}

			must(syscall.Mkfifo(in("fifo.masvlink"), 0o666))
			socket, err := net.Listen("unix", in("socket.masvlink"))
			must(err)
			defer socket.Close()
			must(unix.Mknod(in("device.masvlink"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))) // /dev/zero
			must(os.Mkdir(in("folder.masvlink"), 0o755))
			must(os.WriteFile(in("folder.masvlink/inner.masvlink"), []byte(link("inner")), 0o644))
			must(os.Symlink("/etc/shadow", in("shadow.masvlink")))
			must(os.Symlink(theirs("shadow", shadow, 0o644), in("readable.masvlink")))
			must(os.Symlink(dead(t), in("hung.masvlink")))
			must(os.Symlink("loop.masvlink", in("loop.masvlink")))
			must(os.Link(theirs("bad", shadow, 0o644), in("hard.masvlink")))
			must(os.Link(theirs("good", link("hard"), 0o644), in("hardgood.masvlink")))
			own("huge.masvlink", "", 0o644)
			must(os.Truncate(in("huge.masvlink"), 10<<30))
			own("closed.masvlink", link("closed"), 0)
			own("elsewhere.masvlink", link("elsewhere")+"\ndst_folder = /etc\n", 0o644)
			own("above.masvlink", link("above")+"\ndst_folder = "+s.downloads+"/../outside\n", 0o644)
			own("escape.masvlink", link("escape")+"\ndst_folder = /\x1b[31m\u202e\u009b\n", 0o644)
			own("caf\xe9.masvlink", link("latin"), 0o644)
			own("caf\xe8.masvlink", "no link", 0o644)
			own("line\nbreak \x1b[31m.masvlink", "no link either", 0o644)
			own(strings.Repeat("n", 255-len(".masvlink"))+".masvlink", "no link at all", 0o644)
			own("zero.masvlink", strings.Repeat("\x00", 1<<20), 0o644)
			before := func(name string) string {
				info, err := os.Lstat(filepath.Join(outside, name))
				must(err)
				text, err := os.ReadFile(filepath.Join(outside, name))
				must(err)
				st := info.Sys().(*syscall.Stat_t)
				return fmt.Sprint(info.Mode(), st.Uid, st.Gid, info.ModTime(), string(text))
			}
			was := map[string]string{"shadow": before("shadow"), "bad": before("bad"), "good": before("good")}

			s.start()
			// One that is written again and again, and in the end is a link.
			ctx, cancel := context.WithCancel(t.Context())
			changing := make(chan error, 1)
			go func() {
				for n := 0; ; n++ {
					text, last := fmt.Sprintf("half a li%0*d", n%2000, n), ctx.Err() != nil
					if last {
						text = link("changing")
					}
					err := os.WriteFile(in("changing.masvlink"), []byte(text), 0o644)
					if err != nil || last {
						changing <- err
						return
					}
					time.Sleep(time.Millisecond) // of real writers, hardly faster
				}
			}()
			done := func(name string) func() bool {
				return func() bool {
					for _, d := range s.list() {
						if d.Name == name {
							return d.State == "complete"
						}
					}
					return false
				}
			}
			own("zz good.masvlink", link("good"), 0o644)
			for _, name := range []string{"good", "latin", "hard"} {
				s.until("the link of "+name+" is complete", done(name))
			}
			for name, says := range map[string]string{
				"hard": "neither a link", "huge": "1 MiB", "elsewhere": "--allow-dst /etc", "above": "--allow-dst", "escape": "--allow-dst /", "caf\xe8": "neither a link", "line\nbreak \x1b[31m": "neither a link", "zero": "not plain text",
			} {
				s.explained(name+".masvlink", says)
			}
			s.until("the long name is rejected", func() bool {
				all, _ := filepath.Glob(in("rejected/nnnn*.error.txt"))
				return len(all) == 1
			})
			if _, err := os.Lstat(in("changing.masvlink")); err != nil {
				t.Errorf("it was moved while it was written: %v", err)
			}
			cancel()
			must(<-changing)
			s.until("the one that changed is complete", done("changing"))
			own("last.masvlink", link("last"), 0o644)
			s.until("the last good one is complete", done("last"))

			left := []string{"fifo", "socket", "device", "folder", "shadow", "readable", "hung", "loop"}
			if ordinary {
				left = append(left, "closed")
			} else {
				s.until("root reads what nobody else may", done("closed"))
			}
			for _, name := range left {
				if _, err := os.Lstat(in(name + ".masvlink")); err != nil {
					t.Errorf("it did not stay: %v", err)
				}
				if n := strings.Count(s.log.String(), "file="+name+".masvlink"); n != 1 {
					t.Errorf("%s.masvlink is spoken of %d times in the log", name, n)
				}
			}
			for name, text := range was {
				if now := before(name); now != text {
					t.Errorf("%s, which is somebody else's, was %s and is %s", name, text, now)
				}
			}
			for _, d := range s.list() {
				if d.Name == "inner" || d.Name == "elsewhere" || d.Name == "above" {
					t.Errorf("queued: %+v", d)
				}
			}
			// What was moved is the file itself, of which nothing else was copied.
			must(os.Remove(in("rejected/hard.masvlink")))
			s.nowhere("canarycanary")
			if real, err := os.ReadFile("/etc/shadow"); err == nil && len(real) > 20 {
				s.nowhere(string(real[:20]))
			}
			s.signal(syscall.SIGTERM)
		})
	}
}

// explained waits until a file is rejected, and checks the explanation.
func (s *site) explained(name, says string) {
	s.t.Helper()
	report := filepath.Join(s.inbox, "rejected", name+".error.txt")
	s.until(fmt.Sprintf("%q is rejected", name), func() bool { _, err := os.Stat(report); return err == nil })
	text, err := os.ReadFile(report)
	if err != nil || !strings.Contains(string(text), says) || strings.ContainsAny(string(text), "\x1b\x00\u202e\u009b") {
		s.t.Errorf("the explanation of %q is %q, %v", name, text, err)
	}
}

// TestALinkAmongAHundredThousandFiles has an inbox that others have filled:
// with what is no link file, with links that are not ours, and with bad ones,
// more than are waited for at one time. A good link among them, and one that
// comes later, are taken before all that is dealt with; memory stays bounded.
func TestALinkAmongAHundredThousandFiles(t *testing.T) {
	t.Parallel()
	n := 100_000
	if thorough() {
		n = 1_000_000
	}
	s := newSite(t, false)
	if err := os.Mkdir(s.inbox, 0o700); err != nil {
		t.Fatal(err)
	}
	bad := 0
	for i := range n {
		name, text := fmt.Sprintf("%07d.txt", i), ""
		switch {
		case i%5 == 1:
			name, text = fmt.Sprintf("%07d.masvlink", i), "no link"
			bad++
		case i%5 == 2:
			name, text = fmt.Sprintf("%07d.url", i), "[InternetShortcut]\nURL=https://example.com/\n"
		case i == n/2:
			name, text = "middle.masvlink", s.cloud.AddPackage(masvtest.Package{Name: "Middle", Files: []masvtest.File{{Name: "a", Size: 100}}}).URL()
		}
		if err := os.WriteFile(filepath.Join(s.inbox, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	rejected := func() int {
		entries, _ := os.ReadDir(filepath.Join(s.inbox, "rejected"))
		return len(entries) / 2
	}
	complete := func(name string) func() bool {
		return func() bool {
			for _, d := range s.list() {
				if d.Name == name {
					return d.State == "complete"
				}
			}
			return false
		}
	}
	s.until("the link among them is complete", complete("Middle"))
	if got := rejected(); got > bad/2 {
		t.Errorf("%d of %d bad ones were dealt with before it", got, bad)
	}
	s.drop("late.masvlink", s.cloud.AddPackage(masvtest.Package{Name: "Late", Files: []masvtest.File{{Name: "a", Size: 100}}}).URL())
	before := rejected()
	s.until("the late one is complete", complete("Late"))
	if got := rejected(); got > before+bad/10 {
		t.Errorf("%d bad ones were dealt with before it", got-before)
	}
	peak := peakMemory(s.process.Process.Pid)
	if most := int64(96 << 20); peak > most+int64(n)*40 {
		t.Errorf("%.0f MiB for %d files", mib(peak), n)
	}
	t.Logf("%d files, %d of them bad links; %d rejected when the late one was complete; %.0f MiB at the most", n, bad, rejected(), mib(peak))
	s.signal(syscall.SIGTERM)
}
