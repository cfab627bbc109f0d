package integration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// TestADayOfFaults has the cloud, the line, the disk and the machine fail by a
// schedule, alone and several at once, and the agent killed among it. No wrong
// byte ever has a finished name. When all works again every download is
// complete and right, or becomes so when it is resumed, and until then it says
// why it is not; nothing else is left, and no link was opened once too often.
func TestADayOfFaults(t *testing.T) {
	total := make(map[string]int)
	var mu sync.Mutex // guards total
	t.Run("days", func(t *testing.T) {
		for _, seed := range seeds(t, 4, 60) {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				d := newDay(t, seed)
				d.run()
				mu.Lock()
				defer mu.Unlock()
				for name, n := range d.met {
					total[name] += n
				}
			})
		}
	})
	sum := 0
	for _, name := range slices.Sorted(maps.Keys(total)) {
		sum += total[name]
		t.Logf("%6d × %s", total[name], name)
	}
	t.Logf("%d faults of %d kinds", sum, len(total))
	if sum == 0 {
		t.Error("nothing has failed all day")
	}
}

// day is one set of downloads through a day on which everything fails.
type day struct {
	*life
	seed   uint64
	portal *httptest.Server // the login page of a network
	ahead  atomic.Int64     // of this machine's clock is the cloud's, in nanoseconds
	hour   atomic.Pointer[hour]
	whys   map[string]bool // that downloads have been in error

	mu       sync.Mutex          // guards what follows
	met      map[string]int      // faults, by kind
	place    map[string]int      // of a shipment, by its link
	sent     map[string]sentFile // by its path in the destination
	late     map[string]int      // files that were added to a listing, by link
	versions map[string][]uint64 // seeds of what a file has been, by link and index
	excused  map[string]int      // calls of a link beyond the first, by link
	known    map[string]bool     // links whose answers are recorded
}

// hour is a time in which the same things fail.
type hour struct {
	n      uint64
	chance float64 // of each call of the cloud
	api    []trouble
	store  []trouble
}

func newDay(t *testing.T, seed uint64) *day {
	t.Helper()
	d := &day{
		life:     newLife(t, seed),
		seed:     seed,
		whys:     make(map[string]bool),
		met:      make(map[string]int),
		place:    make(map[string]int),
		sent:     make(map[string]sentFile),
		late:     make(map[string]int),
		versions: make(map[string][]uint64),
		excused:  make(map[string]int),
		known:    make(map[string]bool),
	}
	d.portal = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>Welcome! Please accept our terms.</html>")
	}))
	t.Cleanup(d.portal.Close)
	// The clock of the cloud is another than this machine's.
	d.cloud.Close()
	d.cloud = masvtest.NewServer(masvtest.WithClock(func() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) }))
	t.Cleanup(d.cloud.Close)
	n := len(d.shipments)
	d.shipments = nil
	for range n {
		d.ship()
	}
	d.cloud.Fault(d.fault)
	return d
}

// sentFile is a file of a package.
type sentFile struct {
	masvtest.File
	link  string
	index int
}

// ship adds a package.
func (d *day) ship() *shipment {
	i := len(d.shipments)
	d.addShipment(i)
	p := d.shipments[i]
	for j := range d.rand.IntN(50) {
		f := masvtest.File{Name: fmt.Sprint("frame ", j), Path: "frames", Size: d.rand.Int64N(20_000), LastModified: time.Date(2024, 1, 1, 0, 0, j, 0, time.UTC)}
		p.Files = append(p.Files, f)
	}
	d.cloud.Update(p.link, func(q *masvtest.Package) { q.Files = p.Files })
	d.mu.Lock()
	defer d.mu.Unlock()
	d.place[p.link.ID] = i
	for j := range p.Files {
		d.send(p, j)
	}
	return p
}

// send remembers a file of a package; d.mu is held.
func (d *day) send(p *shipment, index int) {
	if f := d.cloud.File(p.link, index); f.Kind != "directory" {
		d.sent[p.place(filepath.Join(f.Path, f.Name))] = sentFile{f, p.link.ID, index}
	}
}

func (d *day) run() {
	t := d.t
	hours := 8
	if thorough() {
		hours = 24
	}
	for i, p := range d.shipments {
		if p.dropped {
			d.dropDurably(fmt.Sprint(i, ".masvlink"), p.link.URL()+"\n")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.cloud.SetRate(256 << 10)
	d.start()
	var watching sync.WaitGroup
	watching.Go(func() {
		seen := make(map[string]bool)
		for ctx.Err() == nil {
			d.look(seen)
			time.Sleep(20 * time.Millisecond)
		}
	})
	defer watching.Wait()
	defer cancel()
	for n := range hours {
		for range d.rand.IntN(4) {
			d.ship().dropped = false
		}
		d.pass(ctx, uint64(n))
		if t.Failed() {
			t.Fatalf("hour %d", n)
		}
	}
	d.heal(ctx)
	cancel()
	watching.Wait()
	d.checkEnd()
	d.signal(syscall.SIGTERM)
}

// pass lets an hour pass: one to three things go wrong in it, all at once.
func (d *day) pass(ctx context.Context, n uint64) {
	h := &hour{n: n, chance: 0.1 + 0.5*d.rand.Float64()}
	var mend []func()
	happenings := []func(*hour) func(){d.cloudFails, d.cloudFails, d.cloudFails, d.storageFails, d.storageFails, d.storageFails, d.lineFails, d.diskFails, d.diskFails, d.rightsEnd, d.machineFails}
	d.rand.Shuffle(len(happenings), func(i, j int) { happenings[i], happenings[j] = happenings[j], happenings[i] })
	for _, happens := range happenings[:1+d.rand.IntN(3)] {
		mend = append(mend, happens(h))
	}
	d.hour.Store(h)
	end := time.Now().Add(time.Duration(300+d.rand.IntN(900)) * time.Millisecond)
	for first := true; first || time.Now().Before(end); first = false {
		d.post(ctx)
		d.listen(ctx)
		d.ask(ctx, "POST", "/downloads/all/resume", "", nil)
		time.Sleep(100 * time.Millisecond) // time is what passes
	}
	d.hour.Store(nil)
	for _, f := range mend {
		f()
	}
	d.rise()
}

// count notes that something went wrong.
func (d *day) count(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.met[what]++
}

// excuse allows one more call of a link than there were to be.
func (d *day) excuse(link string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.excused[link]++
}

// listen hears what REST says, if it answers: why downloads are in error, and
// which links' answers are recorded.
func (d *day) listen(ctx context.Context) (all []linked, ok bool) {
	status, err := d.ask(ctx, "GET", "/downloads", "", &all)
	if err != nil || status != http.StatusOK {
		return nil, false
	}
	for _, p := range d.shipments {
		for _, l := range all {
			if !strings.Contains(l.URL, p.link.ID) {
				continue
			}
			p.id = l.ID
			if l.Name != p.link.ID {
				d.mu.Lock()
				d.known[p.link.ID] = true
				d.mu.Unlock()
			}
			if l.State == "error" {
				d.checkWhy(l)
			}
		}
	}
	return all, true
}

// kill kills the agent. One that was asking for what a link leads to has to
// ask again.
func (d *day) kill() {
	d.listen(d.t.Context())
	d.mu.Lock()
	for _, p := range d.shipments {
		if !d.known[p.link.ID] {
			d.excused[p.link.ID]++
		}
	}
	d.mu.Unlock()
	d.signal(syscall.SIGKILL)
}

// rise starts the agent, if it has ended. One that cannot run, because its
// disk fails just then, says so; it runs when the disk does.
func (d *day) rise() {
	t := d.t
	t.Helper()
	if d.process != nil {
		select {
		case <-d.exited:
			d.process = nil
			if log := d.log.String(); !strings.Contains(log, "cannot run: ") {
				t.Fatalf("the agent has ended by itself and does not say why:\n%s", log)
			}
		default:
		}
	}
	if d.process == nil {
		d.launch()
	}
	d.until("REST answers, or the agent has ended", func() bool {
		select {
		case <-d.exited:
			return true
		default:
		}
		_, err := d.ask(t.Context(), "GET", "/downloads?state=error", "", nil)
		return err == nil
	})
}

// look finds that all that has a finished name is whole, and one version of
// what was sent.
func (d *day) look(seen map[string]bool) {
	err := filepath.WalkDir(d.downloads, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), ".masvfs-") {
			return fs.SkipDir
		}
		if e.IsDir() || e.Name() == ".masvfs-trial" || seen[path] {
			return nil
		}
		rel, _ := filepath.Rel(d.downloads, path)
		top, rest, below := strings.Cut(rel, "/")
		if hidden, _, ok := strings.Cut(strings.TrimPrefix(top, "."), ".masvfs-"); ok && below {
			rel = filepath.Join(hidden, rest) // a package that is not published yet
		}
		what := d.isRight(path, rel)
		if _, err := os.Lstat(path); err != nil {
			return nil // it was renamed meanwhile, with its folder
		}
		if what != "" {
			d.t.Errorf("%s: %s", path, what)
		}
		seen[path] = true
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.t.Error(err)
	}
}

// pick returns one of several.
func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }
