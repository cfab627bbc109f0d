package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
	"masvfs/integration/cutfs"
)

// cutsPerLife is how often the power goes while one set of downloads is on its
// way, or just done.
const cutsPerLife = 3

// TestPowerCut lets the power go at random moments of random downloads, and
// finds that nothing is lost that was ever called complete, that nothing is
// wrong, that all ends complete and that nothing else is left.
func TestPowerCut(t *testing.T) {
	for _, seed := range seeds(t, 60/cutsPerLife, 500/cutsPerLife+1) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			newLife(t, seed).run(cutfs.Any)
		})
	}
}

// seeds returns the seeds of a test: so many, or the one that MASVFS_TEST_SEED
// names. Each run of the long form has others.
func seeds(t *testing.T, n, long int) []uint64 {
	if text := os.Getenv("MASVFS_TEST_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("MASVFS_TEST_SEED: %v", err)
		}
		return []uint64{seed}
	}
	first := uint64(1)
	if thorough() {
		n, first = long, uint64(time.Now().Unix())*1000
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = first + uint64(i)
	}
	return all
}

// life is one set of downloads on a file system whose power is cut.
type life struct {
	*site
	disk      *cutfs.Remote
	rand      *rand.Rand
	lies      []cutfs.Lie
	shipments []*shipment

	damage string // what the observer has found to be wrong, if anything

	mu       sync.Mutex      // guards promised and done
	promised map[string]bool // files that were called complete, as place has them
	done     map[string]bool // downloads that were
}

// shipment is a package with how it was asked for.
type shipment struct {
	masvtest.Package
	link    masvtest.Link
	request string // beside the link, as JSON
	folder  string // in the destination
	hidden  bool   // its folder has another name until it is complete
	dropped bool   // into the inbox, not posted
	id      string // once REST has told it
}

func newLife(t testing.TB, seed uint64, lies ...cutfs.Lie) *life {
	t.Helper()
	s, disk := cutSite(t, true, "--reserve-free", "0")
	l := &life{
		site:     s,
		disk:     disk,
		rand:     rand.New(rand.NewPCG(seed, 0)),
		lies:     lies,
		promised: make(map[string]bool),
		done:     make(map[string]bool),
	}
	for i := range 1 + l.rand.IntN(3) {
		l.addShipment(i)
	}
	return l
}

func (l *life) addShipment(i int) {
	name := fmt.Sprint("Package ", i)
	p := &shipment{Package: masvtest.Package{Name: name}, folder: name}
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for j := range 1 + l.rand.IntN(12) {
		f := masvtest.File{Name: fmt.Sprint("file ", j), LastModified: now.Add(time.Duration(j) * time.Hour)}
		f.Path = []string{"", "", "a", "a/b", "c/d/e"}[l.rand.IntN(5)]
		switch l.rand.IntN(6) {
		case 0: // empty
		case 1:
			f.Size = 1 + l.rand.Int64N(100)
		case 2:
			f.Size = 4096 * (1 + l.rand.Int64N(40))
		default:
			f.Size = 1 + l.rand.Int64N(300_000)
		}
		p.Files = append(p.Files, f)
	}
	switch l.rand.IntN(8) {
	case 0, 1: // several ranges
		p.Files[0].Size = 4<<20 + l.rand.Int64N(6<<20)
	case 2: // and checkpoints
		p.Files[0].Size = 17<<20 + l.rand.Int64N(4<<20)
	}
	if l.rand.IntN(2) == 0 {
		p.Files = append(p.Files, masvtest.File{Kind: "directory", Name: "empty", Path: []string{"", "f", "a"}[l.rand.IntN(3)]})
	}
	switch l.rand.IntN(5) {
	case 0:
		p.hidden, p.request = true, `, "publish": "package"`
	case 1:
		p.folder = fmt.Sprint("flat ", i)
		p.request = fmt.Sprintf(`, "create_package_folder": false, "dst_folder": %q`, filepath.Join(l.downloads, p.folder))
	default:
		p.dropped = l.rand.IntN(2) == 0
	}
	p.link = l.cloud.AddPackage(p.Package)
	for j := range p.Files {
		p.Files[j] = l.cloud.File(p.link, j)
	}
	l.shipments = append(l.shipments, p)
}

// run takes the downloads to their end, through cuts.
func (l *life) run(cut func(seed uint64) cutfs.Cut) {
	t := l.t
	for i, p := range l.shipments {
		if p.dropped {
			l.dropDurably(fmt.Sprint(i, ".masvlink"), p.link.URL()+"\n")
		}
	}
	l.disk.Lie(l.lies...)
	for n := range cutsPerLife - 1 {
		m, wait := l.moment()
		ctx, cancel := context.WithCancel(context.Background())
		if wait < 0 {
			l.disk.StopAt(m)
		}
		l.launch()
		var watching sync.WaitGroup
		finished := make(chan struct{})
		watching.Go(func() { l.observe(ctx, finished) })
		how := "complete"
		var stop <-chan time.Time
		if wait >= 0 {
			stop = time.After(wait)
		}
		select {
		case <-l.disk.Stopped():
			how = fmt.Sprintf("%+v", m)
		case <-stop:
			l.disk.Stop()
			how = wait.String()
		case <-finished:
			if l.damage != "" {
				t.Fatal(l.damage)
			}
		case <-l.exited:
			t.Fatalf("the agent has ended by itself:\n%s", l.log)
		case <-time.After(patience):
			t.Fatalf("neither complete nor cut after %v: %+v", patience, m)
		}
		c := cut(l.rand.Uint64())
		t.Logf("cut %d at %s: %+v", n+1, how, c)
		l.cut(c, func() { cancel(); watching.Wait() })
		l.checkStored()
	}
	l.start()
	l.add()
	l.complete()
	l.checkAll()
	calls := l.cloud.Stats()
	// Now that all is complete, nothing of it can be lost, and there is no
	// reason to ask for anything again.
	c := cut(l.rand.Uint64())
	t.Logf("cut %d when all is complete: %+v", cutsPerLife, c)
	l.cut(c, func() {})
	l.checkStored()
	l.checkTree()
	l.start()
	l.complete()
	l.checkAll()
	if after := l.cloud.Stats(); after.Link.Calls != calls.Link.Calls || after.Storage.Calls != calls.Storage.Calls {
		t.Errorf("the cloud was asked again for what was complete")
	}
	l.signal(syscall.SIGTERM)
}

// moment returns when the power is to go: at an operation, or else after a time.
func (l *life) moment() (m cutfs.Moment, after time.Duration) {
	m.After = l.rand.IntN(2) == 0
	switch l.rand.IntN(6) {
	case 0:
		return m, time.Duration(l.rand.IntN(500)) * time.Millisecond
	case 1:
		m.Kind, m.N = cutfs.Rename, 1+l.rand.IntN(20)
	case 2, 3:
		m.Kind, m.N = cutfs.AnyFlush, 1+l.rand.IntN(80)
	default:
		m.Kind, m.N = cutfs.Anything, 1+l.rand.IntN(400)
	}
	return m, -1
}

// cut kills the agent and lets the power go, both at one moment, and brings
// the power back. end ends whoever watches the agent.
func (l *life) cut(c cutfs.Cut, end func()) {
	l.t.Helper()
	l.process.Process.Kill()
	l.disk.Cut(c)
	select {
	case <-l.exited:
	case <-time.After(deathTime):
		l.t.Fatalf("the agent is not dead %v after SIGKILL", deathTime)
	}
	l.process = nil
	end()
	l.disk.Mount()
}

// dropDurably puts a file into the inbox, so that it survives a cut.
func (l *life) dropDurably(name, content string) {
	t := l.t
	t.Helper()
	flush := func(path string) {
		f, err := os.Open(path)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(l.inbox, 0o700); err != nil {
		t.Fatal(err)
	}
	l.drop(name, content)
	flush(filepath.Join(l.inbox, name))
	flush(l.inbox)
	flush(filepath.Dir(l.inbox))
}

// observe posts what is still to be posted, and notes what REST and the mount
// call complete, until all is complete or ctx ends.
func (l *life) observe(ctx context.Context, finished chan<- struct{}) {
	var mount sync.WaitGroup
	defer mount.Wait()
	mount.Go(func() {
		// Not without a pause: the agent lets those who look have their look
		// before it tells watchers of more.
		pause := time.NewTicker(300 * time.Millisecond)
		defer pause.Stop()
		for {
			select {
			case <-pause.C:
				l.lookAtMount(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if !l.post(ctx) {
			continue
		}
		var all []linked
		if status, err := l.ask(ctx, "GET", "/downloads", "", &all); err != nil || status != 200 {
			continue
		}
		if l.damage = l.check(all); l.damage != "" {
			close(finished)
			return
		}
		complete := 0
		for _, d := range all {
			d := d.download
			if status, err := l.ask(ctx, "GET", "/downloads/"+d.ID, "", &d); err != nil || status != 200 {
				continue
			}
			l.note(d)
			if d.State == "complete" {
				complete++
			}
		}
		if complete == len(l.shipments) {
			l.lookAtMount(ctx)
			close(finished)
			return
		}
	}
}

// post asks for what was not asked for yet, and reports whether all is.
func (l *life) post(ctx context.Context) (all bool) {
	all = true
	for _, p := range l.shipments {
		if p.dropped || p.id != "" {
			continue
		}
		var d download
		body := fmt.Sprintf(`{"url": %q%s}`, p.link.URL(), p.request)
		status, err := l.ask(ctx, "POST", "/downloads", body, &d)
		if err == nil && (status == http.StatusCreated || status == http.StatusOK) {
			p.id = d.ID
		} else {
			all = false
		}
	}
	return all
}

// add asks for what was not asked for before the cuts.
func (l *life) add() {
	l.t.Helper()
	l.until("everything is accepted", func() bool { return l.post(context.Background()) })
}

// ask is call for when the agent may end at any time.
func (s *site) ask(ctx context.Context, method, path, body string, v any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.address+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if v == nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, json.NewDecoder(resp.Body).Decode(v)
}

// linked is a download with its link.
type linked struct {
	download
	URL string `json:"url"` // without its secret
}

// check says what is wrong with a list of all downloads: each that was ever on
// it must be, once, and what was complete must be complete.
func (l *life) check(all []linked) (damage string) {
	for _, p := range l.shipments {
		of := slices.DeleteFunc(slices.Clone(all), func(d linked) bool { return !strings.Contains(d.URL, p.link.ID) })
		switch {
		case len(of) > 1:
			return fmt.Sprintf("%s is there %d times", p.Name, len(of))
		case len(of) == 0 && p.id != "":
			return fmt.Sprintf("%s was accepted and is gone", p.Name)
		case len(of) == 0:
			continue
		}
		d := of[0]
		switch {
		case p.id != "" && d.ID != p.id:
			return fmt.Sprintf("%s was accepted as %s and is %s", p.Name, p.id, d.ID)
		case d.State == "error":
			return fmt.Sprintf("%s is in error: %+v", p.Name, d.Error)
		case l.done[d.Name] && d.State != "complete":
			return fmt.Sprintf("%s was complete and is %s", p.Name, d.State)
		}
		p.id = d.ID
	}
	return ""
}

// note remembers what REST calls complete.
func (l *life) note(d download) {
	p := l.byName(d.Name)
	if p == nil {
		return // its name is not known yet
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range d.Files {
		if f.State == "complete" || d.State == "complete" {
			l.promised[p.place(f.Path)] = true
		}
	}
	if d.State == "complete" {
		l.done[d.Name] = true
	}
}

func (l *life) byName(name string) *shipment {
	i := slices.IndexFunc(l.shipments, func(p *shipment) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return l.shipments[i]
}

// place is where a file will be when it is complete, from the destination.
func (p *shipment) place(file string) string { return filepath.Join(p.folder, file) }

// lookAtMount remembers which files the mount shows.
func (l *life) lookAtMount(ctx context.Context) {
	filepath.WalkDir(l.mount, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return ctx.Err()
		}
		rel, _ := filepath.Rel(l.mount, path)
		name, rest, _ := strings.Cut(rel, "/")
		file, ok := strings.CutPrefix(rest, "files/")
		if p := l.byName(name); ok && p != nil {
			l.mu.Lock()
			l.promised[p.place(file)] = true
			l.mu.Unlock()
		}
		return ctx.Err()
	})
}

// files returns what the destination is to hold in the end, by path.
func (l *life) files() (files map[string]masvtest.File, folders map[string]bool) {
	files, folders = make(map[string]masvtest.File), map[string]bool{".": true}
	for _, p := range l.shipments {
		for _, f := range p.Files {
			path := p.place(filepath.Join(f.Path, f.Name))
			if f.Kind == "directory" {
				folders[path] = true
			} else {
				files[path] = f
			}
			for up := filepath.Dir(path); up != "."; up = filepath.Dir(up) {
				folders[up] = true
			}
		}
	}
	return files, folders
}

// checkStored looks at what a cut has left, before the agent does: what has
// its name is whole, and what was promised is there.
func (l *life) checkStored() {
	t := l.t
	t.Helper()
	files, _ := l.files()
	found := make(map[string]bool)
	err := filepath.WalkDir(l.downloads, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(l.downloads, path)
		top, rest, below := strings.Cut(rel, "/")
		if e.IsDir() && strings.HasPrefix(e.Name(), ".masvfs-") {
			return fs.SkipDir
		}
		if e.Name() == ".masvfs-trial" {
			return nil // goes with the next start
		}
		if hidden, _, ok := strings.Cut(strings.TrimPrefix(top, "."), ".masvfs-"); ok && below {
			rel = filepath.Join(hidden, rest) // a package that is not published yet
		}
		if e.IsDir() {
			return nil
		}
		f, ok := files[rel]
		if !ok {
			t.Errorf("nobody has sent %s", path)
			return nil
		}
		found[rel] = true
		l.sameFile(path, f)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for path := range l.promised {
		if !found[path] {
			t.Errorf("%s was called complete and is gone", path)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func (l *life) sameFile(path string, f masvtest.File) {
	l.t.Helper()
	sameContent(l.t, path, f)
	if info, err := os.Stat(path); err == nil && !info.ModTime().Equal(f.LastModified) {
		l.t.Errorf("%s is of %v, not of %v", path, info.ModTime(), f.LastModified)
	}
}

// complete waits until all downloads are complete.
func (l *life) complete() {
	l.t.Helper()
	l.until("all complete", func() bool {
		var all []linked
		l.call("GET", "/downloads", "", &all)
		if damage := l.check(all); damage != "" {
			l.t.Fatal(damage)
		}
		complete := 0
		for _, d := range all {
			if d.State == "complete" {
				complete++
			}
		}
		return complete == len(l.shipments)
	})
}

// checkAll looks at the disk, REST and the mount when all is complete.
func (l *life) checkAll() {
	t := l.t
	t.Helper()
	l.checkTree()
	for _, p := range l.shipments {
		d := l.get(p.id)
		l.note(d)
		for _, f := range d.Files {
			if f.State != "complete" {
				t.Errorf("%s of %s is %s", f.Path, p.Name, f.State)
			}
		}
		for _, f := range p.Files {
			path := filepath.Join(l.mount, p.Name, "files", f.Path, f.Name)
			if info, err := os.Stat(path); err != nil || f.Kind != "directory" && info.Size() != f.Size {
				t.Errorf("in the mount: %v, %v", info, err)
			}
		}
	}
	l.until("the inbox is empty", func() bool {
		left, _ := filepath.Glob(filepath.Join(l.inbox, "*.masvlink"))
		return len(left) == 0
	})
	if t.Failed() {
		t.FailNow()
	}
}

// checkTree finds in the destination all that was sent and nothing else.
func (l *life) checkTree() {
	t := l.t
	t.Helper()
	files, folders := l.files()
	err := filepath.WalkDir(l.downloads, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(l.downloads, path)
		f, file := files[rel]
		switch {
		case file:
			l.sameFile(path, f)
			delete(files, rel)
		case folders[rel] && e.IsDir():
			delete(folders, rel)
		default:
			t.Errorf("stray: %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for path := range files {
		t.Errorf("missing: %s", path)
	}
	for path := range folders {
		t.Errorf("missing: folder %s", path)
	}
	if t.Failed() {
		t.FailNow()
	}
}
