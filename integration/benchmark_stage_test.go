package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"masvfs/fetch/masv/masvtest"
)

// A stage is where the trials take place: a folder, the programs found, and
// what is told to the reader.
type stage struct {
	form                 form
	dir                  string
	ca, certificate, key string // files
	nginx                string // "" if there is none
	mounts               bool   // masvfs has a mount, too
	missing              map[string]bool
	out                  io.Writer
	outcomes             []*outcome
}

// longestRun is how long one program may take for one download.
const longestRun = 15 * time.Minute

func newStage(tb testing.TB, f form, out io.Writer) *stage {
	tb.Helper()
	// The path is short, as a Unix socket's must be.
	dir, err := os.MkdirTemp(os.Getenv("MASVFS_BENCH_DIR"), "masvfs-bench-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	s := &stage{
		form: f, dir: dir, out: out, nginx: findNginx(), missing: map[string]bool{},
		ca: filepath.Join(dir, "ca.pem"), certificate: filepath.Join(dir, "certificate.pem"), key: filepath.Join(dir, "key.pem"),
		mounts: os.Getenv("MASVFS_BENCH_MOUNT") == "yes",
	}
	if err := s.makeCertificate(); err != nil {
		tb.Fatal(err)
	}
	s.introduce()
	return s
}

// scratch is a folder that goes with tb.
func (s *stage) scratch(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp(s.dir, "")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// installed reports whether a program is there; if not, it says so once.
func (s *stage) installed(program string) bool {
	if _, err := exec.LookPath(program); err == nil {
		return true
	}
	if !s.missing[program] {
		s.missing[program] = true
		s.say("%s is left out: it is not installed.", program)
	}
	return false
}

// A cost is what one download has taken.
type cost struct {
	wall float64 // seconds, until durable
	sync float64 // seconds of it that the flush took afterwards
	cpu  float64 // seconds
	peak int64   // bytes in memory
}

// A contender is one that a trial measures.
type contender struct {
	name string
	role role
	run  func(into string) (cost, error)
}

type role int

const (
	ours role = iota
	theirs
	sinking // reads and throws away
	copying // copies on the disk
)

// run measures one trial and prints its table.
func (s *stage) run(tb testing.TB, t trial) *outcome {
	tb.Helper()
	o := &outcome{trial: t, load: load(), costs: map[string][]cost{}}
	need := 3*bytesOf(t.parcels) + giB
	if t.parcels[0].Count != 0 {
		need = int64(t.parcels[0].Count)*8*kiB + giB
	}
	if s.form == tinyForm {
		need = 0
	}
	if free := freeSpace(tb, s.dir); free < need {
		s.leaveOut(tb, t, fmt.Sprintf("it needs %s, and %s are free (MASVFS_BENCH_DIR chooses another folder)", size(need), size(free)))
	}
	var at *line
	if t.line != nil {
		why := lineMissing()
		if why == "" {
			var err error
			if at, err = s.newLine(tb, *t.line); err != nil {
				why = err.Error()
			}
		}
		if why != "" {
			s.leaveOut(tb, t, why)
		}
	}
	source := filepath.Join(s.dir, "source")
	tb.Cleanup(func() { os.RemoveAll(source) })
	makeSource(tb, source, t.parcels)
	var base string
	base, o.server = s.origin(tb, t.origin, source, at)
	o.contenders = s.contenders(tb, t, base, source, at)
	turns := s.form.rounds
	if t.rounds != 0 {
		turns = min(turns, t.rounds)
	}
	for i := range turns {
		for j := range o.contenders {
			c := o.contenders[(i+j)%len(o.contenders)] // nobody always follows the same one
			into := s.scratch(tb)
			settle(tb, s.dir)
			spent, err := c.run(into)
			if err == nil && (c.role == theirs || c.role == ours) && !t.first {
				err = differ(source, into, t.parcels)
			}
			if err != nil {
				o.dropped = append(o.dropped, fmt.Sprintf("%s, round %d: %v", c.name, i+1, err))
				if c.role != theirs {
					tb.Errorf("%s: %v", c.name, err)
				}
			} else {
				o.costs[c.name] = append(o.costs[c.name], spent)
			}
			if err := os.RemoveAll(into); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if t.fewer != 0 {
		s.runFewer(tb, o)
	}
	s.outcomes = append(s.outcomes, o)
	s.print(o)
	return o
}

// runFewer measures how long the first of the files would take, as many as the
// trial says: the limit is what all would take at that rate.
func (s *stage) runFewer(tb testing.TB, o *outcome) {
	tb.Helper()
	p := o.trial.parcels[0]
	few := o.trial
	few.name, few.rounds, few.fewer = few.name+"-fewer", 0, 0
	few.parcels = []parcel{p}
	few.parcels[0].Count = o.trial.fewer
	few.title = fmt.Sprintf("%d of the files", o.trial.fewer)
	few.goal = goal{}
	few.limit = limit{}
	all := s.run(tb, few).median(ours)
	o.trial.limit.seconds = func(_, _ float64) float64 {
		return all.wall * float64(p.count()) / float64(o.trial.fewer)
	}
}

func (s *stage) leaveOut(tb testing.TB, t trial, why string) {
	tb.Helper()
	s.say("\n**%s** is left out: %s.", t.title, why)
	tb.Skip(why)
}

func (s *stage) contenders(tb testing.TB, t trial, base, source string, at *line) (all []contender) {
	tb.Helper()
	var c cloud
	address := "127.0.0.1:0"
	if at != nil {
		address = farAddress + ":0"
	}
	s.serve(tb, "cloud", sharing{address, t.origin.TLS, t.delay, t.parcels, base}, at.far(), &c)
	all = append(all, contender{"masvfs", ours, func(into string) (cost, error) { return s.masvfs(tb, t, c, into, at.near()) }})
	for _, p := range t.peers {
		if !s.installed(p.program) {
			continue
		}
		all = append(all, contender{p.name, theirs, func(into string) (cost, error) {
			e := errand{base: base, parcels: t.parcels, into: into, ca: s.ca, scratch: s.scratch(tb)}
			cmd, end := s.command(at.near(), p.program, p.args(e)...)
			defer end()
			cmd.Dir = into
			return measure(cmd, into)
		}})
	}
	if !t.sinks {
		return all
	}
	var list bytes.Buffer
	for _, p := range t.parcels {
		for i := range p.count() {
			fmt.Fprintf(&list, "%s %d\n", base+p.path(i), p.size(i))
		}
	}
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	all = append(all, contender{"reading over 16 connections", sinking, func(into string) (cost, error) {
		cmd, end := s.command(at.near(), self, s.ca)
		defer end()
		cmd.Env = append(os.Environ(), readerVariable+"=sink")
		cmd.Stdin = bytes.NewReader(list.Bytes())
		return measure(cmd, "")
	}})
	return append(all, contender{"copying and flushing", copying, func(into string) (cost, error) {
		cmd, end := s.command(nil, "cp", "-R", "--reflink=never", source, into)
		defer end()
		return measure(cmd, into)
	}})
}

// command is a command that is killed if it takes too long.
func (s *stage) command(at *netns, name string, args ...string) (cmd *exec.Cmd, end func()) {
	ctx, cancel := context.WithTimeout(context.Background(), longestRun)
	cmd = at.command(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, cancel
}

// measure runs a command and has what it has written into a folder flushed.
func measure(cmd *exec.Cmd, into string) (c cost, err error) {
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return c, err
	}
	exited := make(chan struct{})
	watched := make(chan int64)
	go func() {
		var peak int64
		for {
			peak = max(peak, peakMemory(cmd.Process.Pid))
			select {
			case <-exited:
				watched <- peak
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	err = cmd.Wait()
	ended := time.Now()
	close(exited)
	c.peak = <-watched
	if err != nil {
		return c, fmt.Errorf("%w: %.300s", err, &log)
	}
	c.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if into != "" {
		if err := syncFileSystem(into); err != nil {
			return c, err
		}
		c.sync = time.Since(ended).Seconds()
	}
	c.wall = ended.Sub(start).Seconds() + c.sync
	return c, nil
}

// syncFileSystem is sync -f.
func syncFileSystem(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &fs.PathError{Op: "syncfs", Path: folder, Err: err}
	}
	return nil
}

// settle has nothing left to be written that others have caused.
func settle(tb testing.TB, folder string) {
	tb.Helper()
	if err := syncFileSystem(folder); err != nil {
		tb.Fatal(err)
	}
}

// peakMemory is the most that a process had in memory, 0 if it has ended. The
// kernel's figure for ended children begins with that of their parent.
func peakMemory(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n * kiB
}

// masvfs downloads with an agent that has just started, and knows nothing.
func (s *stage) masvfs(tb testing.TB, t trial, from cloud, into string, at *netns) (c cost, err error) {
	dir := s.scratch(tb)
	ca, err := os.ReadFile(s.ca)
	if err != nil {
		return c, err
	}
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, append(ca, from.CA...), 0o600); err != nil {
		return c, err
	}
	mount, socket := "", filepath.Join(dir, "socket")
	if s.mounts {
		mount = filepath.Join(dir, "live")
	}
	cmd, end := s.command(at, program, "run", "--inbox", filepath.Join(dir, "inbox"), "--mount="+mount, "--dst-folder", into,
		"--state-dir", filepath.Join(dir, "state"), "--listen", "unix://"+socket, "--api-url", from.API, "--ca-file", file)
	defer end()
	log := new(syncBuffer)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, environment(tb)
	if err := cmd.Start(); err != nil {
		return c, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	defer func() {
		c.peak = peakMemory(cmd.Process.Pid)
		cmd.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, <-exited)
		c.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, log)
		}
	}()
	agent := remote{&http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}}
	for end := time.Now().Add(patience); agent.call(http.MethodGet, "", nil, nil) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return c, errors.New("the agent does not answer")
		}
	}
	start := time.Now()
	for _, link := range from.Links {
		if err := agent.call(http.MethodPost, "", map[string]string{"url": link}, nil); err != nil {
			return c, err
		}
	}
	pause := 10 * time.Millisecond
	if t.first {
		pause = 2 * time.Millisecond
	}
	for {
		var all []download
		if err := agent.call(http.MethodGet, "", nil, &all); err != nil {
			return c, err
		}
		c.wall = time.Since(start).Seconds()
		if i := slices.IndexFunc(all, func(d download) bool { return d.State == "error" }); i >= 0 {
			return c, fmt.Errorf("the download is in error: %+v", *all[i].Error)
		}
		if t.first && all[0].FilesDone > 0 || !slices.ContainsFunc(all, func(d download) bool { return d.State != "complete" }) {
			return c, nil
		}
		if c.wall > longestRun.Seconds() {
			return c, fmt.Errorf("it takes longer than %v", longestRun)
		}
		time.Sleep(pause)
	}
}

// A remote is an agent behind a Unix socket.
type remote struct{ client *http.Client }

// call makes a call below /downloads.
func (r remote) call(method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, "http://localhost/api/v1/downloads"+path, in)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(data, answer)
	}
	return err
}

// makeSource writes the objects of the parcels.
func makeSource(tb testing.TB, folder string, parcels []parcel) {
	tb.Helper()
	for k, p := range parcels {
		for i, size := range p.Sizes {
			path := filepath.Join(folder, p.path(i))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				tb.Fatal(err)
			}
			f, err := os.Create(path)
			if err != nil {
				tb.Fatal(err)
			}
			_, err = io.CopyBuffer(struct{ io.Writer }{f}, masvtest.Reader(uint64(k)<<32+uint64(i)+1, size), make([]byte, min(max(size, 1), miB)))
			if err := errors.Join(err, f.Close()); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// differ says what is wrong with what was downloaded, nil if nothing is.
func differ(source, into string, parcels []parcel) error {
	want := 0
	a, b := make([]byte, miB), make([]byte, miB)
	for _, p := range parcels {
		want += p.count()
		for i := range p.count() {
			if err := differFile(filepath.Join(source, p.path(p.object(i))), filepath.Join(into, p.path(i)), a, b); err != nil {
				return err
			}
		}
	}
	found := 0
	err := filepath.WalkDir(into, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found++
		}
		return err
	})
	if err == nil && found != want {
		err = fmt.Errorf("there are %d files, not %d", found, want)
	}
	return err
}

// differFile compares a file with what it should be; a and b are of one length.
func differFile(source, path string, a, b []byte) error {
	want, err := os.Open(source)
	if err != nil {
		return err
	}
	defer want.Close()
	got, err := os.Open(path)
	if err != nil {
		return err
	}
	defer got.Close()
	for off := 0; ; {
		n, errA := io.ReadFull(want, a)
		m, errB := io.ReadFull(got, b)
		if n != m || !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("%s: wrong bytes from %d on", path, off)
		}
		if errA != nil || errB != nil {
			if errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF) {
				return nil
			}
			return errors.Join(errA, errB)
		}
		off += n
	}
}

// freeSpace is what may be written into a folder.
func freeSpace(tb testing.TB, folder string) int64 {
	tb.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		tb.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// trusting is a client that trusts the authority in a file.
func trusting(ca string) (*http.Client, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 16,
		DisableCompression:  true,
		TLSClientConfig:     &tls.Config{RootCAs: roots},
	}}, nil
}

// throwAway reads bytes of a URL.
func throwAway(client *http.Client, url string, from, to int64, buf []byte) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
	if err == nil && (n != to-from || resp.StatusCode != http.StatusPartialContent) {
		err = fmt.Errorf("%s: %s with %d bytes", url, resp.Status, n)
	}
	return err
}
