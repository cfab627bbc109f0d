// Package integration uses the built program as people do: through its inbox,
// its mount, its REST API and its command line, against an embedded cloud. It
// knows nothing of the inside.
package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
	"masvfs/integration/cutfs"
)

// patience is how long a test waits for what should come; reaching it is a failure.
const patience = 2 * time.Minute

// deathTime is how long a killed process may take to be gone.
const deathTime = 20 * time.Second

var program string // the built binary

func TestMain(m *testing.M) {
	if how := os.Getenv(readerVariable); how != "" {
		os.Exit(reader(how, os.Args[1:]))
	}
	if folder := os.Getenv(cutfsVariable); folder != "" {
		if err := cutfs.Serve(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "masvfs-integration-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "masvfs")
	build := exec.Command("go", "build", "-o", program, "masvfs/cmd/masvfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, out)
		os.Exit(1)
	}
	// Parallel tests wait, mostly: for disks, lines and clocks that fail.
	flag.Parse()
	if !given("test.parallel") {
		flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// given reports whether a flag stands on the command line.
func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// skip leaves a test out, unless this machine has promised to run them all.
func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("MASVFS_TEST_NO_SKIP") != "" {
		t.Fatalf("may not be skipped here: %s", why)
	}
	t.Skip(why)
}

func needFUSE(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		skip(t, "this machine has no FUSE: "+err.Error())
	}
	f.Close()
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			skip(t, "mounting as an ordinary user needs fusermount3 (apt install fuse3)")
		}
	}
}

// site is one agent's folders and address, which outlive its processes.
type site struct {
	t                              testing.TB
	inbox, mount, downloads, state string
	address                        string
	cloud                          *masvtest.Server
	extra                          []string
	under                          []string // the command, if any, that starts the program: prlimit(1), say
	env                            []string // beside what environment gives
	process                        *exec.Cmd
	exited                         chan struct{}
	log                            *syncBuffer
	last                           []func() // run by clear when nobody can wait in the mount any more
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newSite(t testing.TB, withMount bool, extra ...string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{
		t:         t,
		inbox:     filepath.Join(dir, "inbox"),
		downloads: filepath.Join(dir, "downloads"),
		state:     filepath.Join(dir, "state"),
		address:   "http://127.0.0.1:" + freePort(t),
		cloud:     masvtest.NewServer(),
		extra:     extra,
	}
	t.Cleanup(s.cloud.Close)
	if withMount {
		needFUSE(t)
		s.mount = filepath.Join(dir, "live")
	}
	t.Cleanup(s.clear)
	return s
}

// clear ends what a failed test has left running or mounted. The mount is
// aborted, so that even an agent that waits in its own mount goes, and whoever
// waits for an answer gets an error.
func (s *site) clear() {
	if s.process != nil {
		s.process.Process.Kill()
		select {
		case <-s.exited:
		case <-time.After(deathTime):
			s.t.Errorf("the agent is not dead %v after SIGKILL", deathTime)
		}
	}
	if s.mount != "" {
		syscall.Unmount(s.mount, syscall.MNT_FORCE|syscall.MNT_DETACH)
	}
	if s.process != nil {
		<-s.exited
	}
	for _, f := range slices.Backward(s.last) {
		f()
	}
	if s.t.Failed() && s.log != nil {
		s.t.Logf("the agent's log:\n%s", s.log)
	}
}

// nextPort is where freePort looks on. It begins at another place in each
// process, so that two runs at once seldom meet.
var nextPort atomic.Int64

func init() { nextPort.Store(int64(os.Getpid()) % 10000) }

// freePort returns a port that stays the caller's, also while its agent is not
// running: it lies below those that the kernel gives to connections and to
// listeners that ask for any, and no port is returned twice soon.
func freePort(t testing.TB) string {
	for range 100 {
		port := strconv.FormatInt(20000+nextPort.Add(1)%10000, 10)
		if l, err := net.Listen("tcp", ":"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port between 20000 and 30000")
	return ""
}

func (s *site) args() []string {
	return append([]string{"run", "--inbox", s.inbox, "--mount=" + s.mount, "--dst-folder", s.downloads,
		"--state-dir", s.state, "--listen", s.address, "--api-url", s.cloud.URL}, s.extra...)
}

// environment is that of a user who has configured nothing.
func environment(t testing.TB) []string {
	return append(os.Environ(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "HTTP_PROXY=", "http_proxy=", "NO_COLOR=1")
}

func (s *site) start() {
	s.t.Helper()
	s.launch()
	s.until("REST answers", s.answers)
}

// launch starts the agent without waiting for it.
func (s *site) launch() {
	s.t.Helper()
	s.log = new(syncBuffer)
	command := append(append(slices.Clone(s.under), program), s.args()...)
	s.process = exec.Command(command[0], command[1:]...)
	s.process.Env = append(environment(s.t), s.env...)
	s.process.Stderr = s.log
	s.process.Stdout = s.log
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	process, exited := s.process, make(chan struct{})
	s.exited = exited
	go func() { process.Wait(); close(exited) }()
}

// answers reports whether REST answers. An agent that has ended is a failure.
func (s *site) answers() bool {
	s.t.Helper()
	select {
	case <-s.exited:
		s.t.Fatalf("the agent has ended:\n%s", s.log)
	default:
	}
	r, err := http.Get(s.address + "/api/v1/downloads")
	if err != nil {
		return false
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// signal sends the agent a signal and waits until it is gone.
func (s *site) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Fatalf("the agent does not end upon %v", sig)
	}
	s.process = nil
}

func (s *site) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("still not: %s", what)
		}
	}
}

// download is a download as REST tells it.
type download struct {
	ID        string `json:"download_id"`
	Name      string `json:"name"`
	State     string `json:"state"`
	Path      string `json:"path"`
	MountPath string `json:"mount_path"`
	BytesDone int64  `json:"bytes_done"`
	FilesDone int64  `json:"files_done"`
	Files     []struct {
		Path  string `json:"path"`
		State string `json:"state"`
	} `json:"files"`
	Error *struct {
		Code        string `json:"code"`
		Message     string `json:"message"`
		Recoverable bool   `json:"recoverable"`
	} `json:"error"`
}

// call makes a REST call with a JSON body, if any, and decodes the answer into v, if any.
func (s *site) call(method, path, body string, v any) int {
	s.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.address+"/api/v1"+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(data, v); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, data)
		}
	}
	return resp.StatusCode
}

func (s *site) add(link masvtest.Link, more string) string {
	s.t.Helper()
	var added download
	body := fmt.Sprintf(`{"url": %q%s}`, link.URL(), more)
	if status := s.call("POST", "/downloads", body, &added); status != http.StatusCreated {
		s.t.Fatalf("POST answers %d", status)
	}
	return added.ID
}

func (s *site) get(id string) download {
	s.t.Helper()
	var d download
	s.call("GET", "/downloads/"+id, "", &d)
	return d
}

func (s *site) list() []download {
	s.t.Helper()
	var all []download
	s.call("GET", "/downloads", "", &all)
	return all
}

func (s *site) waitFor(id, state string) download {
	s.t.Helper()
	var d download
	s.until("state "+state, func() bool {
		d = s.get(id)
		if d.State == "error" && state != "error" {
			s.t.Fatalf("error: %+v", d.Error)
		}
		return d.State == state
	})
	return d
}

// drop puts a file into the inbox as a program does that renames into place.
func (s *site) drop(name, content string) {
	s.t.Helper()
	tmp := filepath.Join(s.inbox, "."+name)
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(s.inbox, name)); err != nil {
		s.t.Fatal(err)
	}
}

// masvfs runs a command of the command line.
func (s *site) masvfs(args ...string) (stdout string, err error) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(environment(s.t), "MASVFS_LISTEN="+s.address)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("masvfs %s: %w: %s", strings.Join(args, " "), err, &errOut)
	}
	return string(out), err
}

// sameContent compares a finished file with what the cloud serves of it.
func sameContent(t testing.TB, path string, f masvtest.File) {
	t.Helper()
	got, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer got.Close()
	if info, err := got.Stat(); err != nil || info.Size() != f.Size {
		t.Errorf("%s: size %d, want %d (%v)", path, info.Size(), f.Size, err)
		return
	}
	want := masvtest.Reader(f.Seed, f.Size)
	a, b := make([]byte, min(f.Size, 1<<20)), make([]byte, min(f.Size, 1<<20))
	for off := int64(0); off < f.Size; {
		n, _ := io.ReadFull(got, a)
		io.ReadFull(want, b[:n])
		if n == 0 || !bytes.Equal(a[:n], b[:n]) {
			t.Errorf("%s: wrong bytes from %d on", path, off)
			return
		}
		off += int64(n)
	}
}

// hidden returns all that is in a folder under hidden names.
func hidden(t testing.TB, folder string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if path != folder && strings.HasPrefix(filepath.Base(path), ".") {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
