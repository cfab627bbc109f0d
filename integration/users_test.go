package integration

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

// asNobody runs a command as another user than the agent's, with the groups
// that are given, and returns what it prints.
func asNobody(t testing.TB, groups []uint32, command ...string) (string, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "becoming another user needs root")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: groups}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// open makes the folders that lead to a site passable to everybody: what keeps
// others out is to be the agent's own doing.
func (s *site) open() (base string) {
	s.t.Helper()
	base = filepath.Dir(s.state)
	for dir := base; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	return base
}

func TestOtherUsersSeeNothingButWhatIsComplete(t *testing.T) {
	for _, umask := range []string{"0000", "0022"} {
		for _, publish := range []string{"file", "package"} {
			t.Run("umask "+umask+" publish "+publish, func(t *testing.T) {
				s := newSite(t, true, "--publish", publish)
				s.under = []string{"sh", "-c", "umask " + umask + `; exec "$@"`, "sh"}
				base := s.open()
				link := s.cloud.AddPackage(masvtest.Package{Name: "Seen", Password: "hunter2", Files: []masvtest.File{
					{Name: "small", Path: "in", Size: 1000}, {Name: "large", Path: "in", Size: 64 << 20},
				}})
				s.cloud.SetRate(2 << 20)
				s.start()
				s.drop("one.masvlink", link.URL()+"\npassword = hunter2\n")
				s.until("it has begun", func() bool {
					all := s.list()
					return len(all) == 1 && all[0].BytesDone > 4<<20
				})
				id := s.list()[0].ID
				partial := 0
				for looks := 0; s.get(id).State != "complete" || looks == 0; looks++ {
					if looks == 10 {
						s.cloud.SetRate(0)
					}
					// What he may read or write is printed. Of a folder that he may
					// not enter he is told nothing.
					out, _ := asNobody(t, nil, "find", base, "-readable", "-o", "-writable")
					for path := range strings.Lines(out) {
						rel, err := filepath.Rel(base, strings.TrimSpace(path))
						if err != nil || strings.HasPrefix(path, "find:") {
							continue
						}
						first, _, _ := strings.Cut(rel, "/")
						if first == "state" || first == "live" || first == "inbox" || strings.Contains(rel, ".part") || strings.Contains(rel, ".new") ||
							strings.HasSuffix(rel, "large") && s.get(id).BytesDone < 64<<20 {
							t.Errorf("another user gets at %s", rel)
						}
					}
					partial += len(hidden(t, s.downloads))
				}
				if partial == 0 {
					t.Error("there never was partial data to be looked at")
				}
				if out, err := asNobody(t, nil, "sh", "-c", "ls "+s.mount+" || cat "+s.mount+"/Seen/state"); err == nil {
					t.Errorf("another user reads the mount: %s", out)
				}
				filepath.WalkDir(s.state, func(path string, d fs.DirEntry, err error) error {
					if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
						t.Errorf("%s has mode %v", path, info.Mode())
					}
					return nil
				})
				// What is complete is everybody's, as the umask says.
				if out, err := asNobody(t, nil, "cat", filepath.Join(s.get(id).Path, "in", "small")); err != nil || len(out) != 1000 {
					t.Errorf("what is complete cannot be read: %v", err)
				}
				s.signal(syscall.SIGTERM)
			})
		}
	}
}

func TestASocketLetsInWhomItsModeNames(t *testing.T) {
	const group = 31337
	for mode, want := range map[string][2]bool{"": {false, false}, "?mode=0600": {false, false}, "?mode=0660": {true, false}, "?mode=0666": {true, true}} {
		s := newSite(t, false)
		socket := filepath.Join(s.open(), "masvfs.sock")
		s.address = "unix://" + socket + mode
		s.under = []string{"setpriv", "--regid=" + fmt.Sprint(group), "--clear-groups", "sh", "-c", `umask 0; exec "$@"`, "sh"}
		if os.Geteuid() != 0 {
			skip(t, "becoming another user needs root")
		}
		s.launch()
		s.until("the socket is there", func() bool { _, err := os.Stat(socket); return err == nil })
		for i, groups := range [][]uint32{{group}, nil} {
			out, err := asNobody(t, groups, "curl", "-sS", "--fail", "--unix-socket", socket, "http://localhost/api/v1/downloads")
			if got := err == nil; got != want[i] {
				t.Errorf("mode %q: a member of the group: %t: gets in: %t: %s", mode, i == 0, got, out)
			}
		}
		if _, err := s.masvfs("ls"); err != nil {
			t.Errorf("mode %q: the owner: %v", mode, err)
		}
		s.signal(syscall.SIGTERM)
	}
}

func TestATokenIsKeptInAFileOfOnesOwn(t *testing.T) {
	s := newSite(t, false)
	dir := s.open()
	file := func(name string, mode os.FileMode, owner int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("0123456789abcdef0123\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(path, owner, -1); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	bad := map[string]string{
		file("world", 0o604, 0):   "others can read",
		file("group", 0o640, 0):   "others can read",
		file("write", 0o602, 0):   "others can read",
		filepath.Join(dir, "no"):  "no such file",
		file("theirs", 0o600, 42): "another user",
	}
	if os.Geteuid() != 0 {
		delete(bad, filepath.Join(dir, "theirs"))
	}
	for path, says := range bad {
		for _, args := range [][]string{s.args(), {"ls", "--listen", s.address}} {
			out, err := exec.Command(program, append(slices.Clone(args), "--token-file", path)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), says) {
				t.Errorf("%s with a token in %s: %v: %s", args[0], filepath.Base(path), err, out)
			}
		}
	}
	token := file("mine", 0o600, 0)
	s.extra = []string{"--token-file", token}
	s.launch()
	status := func(path, bearer string) int {
		r, err := http.NewRequest("GET", s.address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	s.until("it answers", func() bool { return status("/healthz", "") == http.StatusOK })
	for bearer, want := range map[string]int{"": 401, "0123456789abcdef0124": 401, "0123456789abcdef0123": 200} {
		if got := status("/api/v1/downloads", bearer); got != want {
			t.Errorf("with the token %q: %d", bearer, got)
		}
	}
	if _, err := s.masvfs("ls", "--token-file", token); err != nil {
		t.Error(err)
	}
}

func TestALinkAndItsPasswordComeByStandardInput(t *testing.T) {
	s := newSite(t, false)
	s.start()
	run := func(input string, args ...string) (string, error) {
		cmd := exec.Command(program, append(args, "--listen", s.address)...)
		cmd.Env = environment(t)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	one := s.cloud.AddPackage(masvtest.Package{Name: "One", Password: "hunter2", Files: rushes().Files})
	two := s.cloud.AddPackage(masvtest.Package{Name: "Two", Password: "hunter3", Files: rushes().Files})
	if out, err := run(one.URL()+"\npassword = hunter2\n", "add", "-"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run("hunter3\n", "add", "--password-file", "-", two.URL()); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	s.until("both are complete", func() bool {
		all := s.list()
		return len(all) == 2 && all[0].State == "complete" && all[1].State == "complete"
	})
	if out, err := run("x", "add", "--password-file", "-", "-"); err == nil || !strings.Contains(out, "cannot both") {
		t.Errorf("%v: %s", err, out)
	}
	// A password that all can read is taken, with a word about that.
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("hunter2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	again := s.cloud.AddPackage(masvtest.Package{Name: "Three", Password: "hunter2", Files: rushes().Files})
	if out, err := run("", "add", "--password-file", path, again.URL()); err != nil || !strings.Contains(out, "others can read") {
		t.Errorf("%v: %s", err, out)
	}
}
