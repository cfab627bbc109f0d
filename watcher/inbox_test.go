package watcher_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"masvfs/fetch"
	"masvfs/watcher"
)

const (
	secret = "bqkBtnPwvmkgJpHN"
	idA    = "01HX8RWZ453VA35D2TMG9F5GHM"
	idB    = "01D2TMGA09VHKVW6G3MJH2EP57"
	linkA  = "https://get.massive.io/" + idA + "?secret=" + secret
	linkB  = "https://get.massive.io/" + idB + "?secret=" + secret

	// never is a patience that no test waits out: what happens within it
	// happened for another reason.
	never = time.Hour
)

// agent records what it accepts, as the real one does, and can be told to fail.
type agent struct {
	mu      sync.Mutex // guards what follows
	ids     []string   // of the links accepted, in order
	origins []string
	asked   int // calls of Taken
	refuse  func([]fetch.Request) error
	onTaken func() // after links are recorded
	onLeave func() // before an origin is forgotten
}

func (a *agent) Accept(_ context.Context, origin string, requests []fetch.Request) error {
	a.mu.Lock()
	if slices.Contains(a.origins, origin) {
		a.mu.Unlock()
		return nil
	}
	if a.refuse != nil {
		if err := a.refuse(requests); err != nil {
			a.mu.Unlock()
			return err
		}
	}
	for _, r := range requests {
		a.ids = append(a.ids, r.Link.ID)
	}
	a.origins = append(a.origins, origin)
	hook := a.onTaken
	a.mu.Unlock()
	if hook != nil {
		hook()
	}
	return nil
}

func (a *agent) Taken(_ context.Context, origin string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return slices.Contains(a.origins, origin), nil
}

func (a *agent) Forget(_ context.Context, origin string) error {
	a.mu.Lock()
	hook := a.onLeave
	a.mu.Unlock()
	if hook != nil {
		hook()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.origins = slices.DeleteFunc(a.origins, func(o string) bool { return o == origin })
	return nil
}

func (a *agent) Origins(context.Context) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.origins), nil
}

// set changes the agent's behaviour while it is in use.
func (a *agent) set(change func(*agent)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *agent) accepted() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.ids)
}

func (a *agent) recorded() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.origins)
}

// inbox is a folder, an agent and what was logged about them.
type inbox struct {
	testing.TB
	folder string
	agent  *agent

	mu  sync.Mutex // guards log
	log bytes.Buffer
}

func (in *inbox) Write(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.log.Write(p)
}

func (in *inbox) logged() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.log.String()
}

// newInbox makes an inbox. At the end of the test no secret may have been logged.
func newInbox(t testing.TB) *inbox {
	t.Helper()
	in := &inbox{TB: t, folder: filepath.Join(t.TempDir(), "inbox"), agent: &agent{}}
	in.must(os.Mkdir(in.folder, 0o700))
	t.Cleanup(func() {
		if strings.Contains(in.logged(), secret) {
			t.Errorf("a secret was logged:\n%s", in.logged())
		}
	})
	return in
}

// watch runs a watcher until the test ends, or the function returned is called.
func (in *inbox) watch(change func(*watcher.Config)) (stop func()) {
	in.Helper()
	cfg := watcher.Config{Folder: in.folder, Agent: in.agent, Settle: never, GiveUp: never, Rescan: never}
	cfg.Log = slog.New(slog.NewTextHandler(in, nil))
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- watcher.New(cfg).Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			in.Errorf("Run: %v", err)
		}
	})
	in.Cleanup(stop)
	return stop
}

func (in *inbox) must(err error) {
	in.Helper()
	if err != nil {
		in.Fatal(err)
	}
}

func (in *inbox) path(name string) string { return filepath.Join(in.folder, name) }

// drop renames a whole file into place.
func (in *inbox) drop(name, text string) {
	in.Helper()
	unfinished := in.path(".unfinished")
	in.must(os.WriteFile(unfinished, []byte(text), 0o600))
	in.must(os.Rename(unfinished, in.path(name)))
}

// passBy waits until a file dropped now has been taken, and so every event
// before it been dealt with.
func (in *inbox) passBy() {
	in.Helper()
	const name = "zz passes by.masvlink"
	in.drop(name, linkB)
	in.eventually("a file dropped later is accepted", func() bool { return in.has("accepted/" + name) })
	in.must(os.Remove(in.path("accepted/" + name)))
	in.agent.set(func(a *agent) { a.ids = slices.DeleteFunc(a.ids, func(id string) bool { return id == idB }) })
}

func (in *inbox) has(name string) bool {
	_, err := os.Lstat(in.path(name))
	return err == nil
}

func (in *inbox) text(name string) string {
	in.Helper()
	data, err := os.ReadFile(in.path(name))
	in.must(err)
	return string(data)
}

// wants checks what the inbox holds, folders included.
func (in *inbox) wants(want ...string) {
	in.Helper()
	var got []string
	in.must(filepath.WalkDir(in.folder, func(path string, d fs.DirEntry, err error) error {
		if path != in.folder && err == nil {
			name, _ := filepath.Rel(in.folder, path)
			got = append(got, name)
		}
		return err
	}))
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		in.Errorf("the inbox holds %q, want %q", got, want)
	}
}

// wantsAccepted checks which links were accepted, in order.
func (in *inbox) wantsAccepted(want ...string) {
	in.Helper()
	if got := in.agent.accepted(); !slices.Equal(got, want) {
		in.Errorf("accepted %q, want %q", got, want)
	}
}

func (in *inbox) eventually(what string, condition func() bool) {
	in.Helper()
	eventually(in, what, condition)
	if in.Failed() {
		in.Logf("log:\n%s", in.logged())
	}
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("waited in vain until %s", what)
			t.FailNow()
		}
	}
}

// forgotten waits until the agent has forgotten every origin: the last step.
func (in *inbox) forgotten() {
	in.Helper()
	in.eventually("every origin is forgotten", func() bool { return in.agent.recorded() == 0 })
}

var errDatabase = errors.New("database is locked")
