package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"masvfs/fetch/dest"
	"masvfs/fetch/masv"
	"masvfs/fetch/pathname"
	"masvfs/fetch/store"
	"masvfs/fetch/transfer"
)

// Config is what an Agent is made of. Database, Cloud and Roots are needed;
// the zero value of everything else means a sane default.
type Config struct {
	Database string       // the SQLite file; its folder exists
	Cloud    *masv.Client // the MASV API
	Roots    []string     // absolute folders below which downloads may be placed; the first is the default destination

	KeepOut []string // absolute folders in which no download may be placed: the inbox, the mount, the state folder

	Storage     http.RoundTripper // for the bytes; HTTP/1.1, so that connections are many
	UserAgent   string
	Connections int          // to the storage hosts, at most
	MaxActive   int          // downloads that run at once
	RateLimit   int64        // bytes per second over all downloads; 0: none
	Reserve     dest.Reserve // space that downloads leave free
	Names       pathname.Rules
	Publish     Publish // the default for requests that do not say
	Log         *slog.Logger

	MinBackoff, MaxBackoff time.Duration // between attempts at what time may mend
	StallTimeout           time.Duration // without a byte, a connection is given up
	MendInterval           time.Duration // between looks at what time may have mended
	DiskTimeout            time.Duration // a disk that has not answered for so long hangs
}

func (c *Config) defaults() {
	c.Connections = orDefault(c.Connections, 32)
	c.MaxActive = orDefault(c.MaxActive, 4)
	c.MinBackoff = orDefault(c.MinBackoff, 500*time.Millisecond)
	c.MaxBackoff = orDefault(c.MaxBackoff, time.Minute)
	c.StallTimeout = orDefault(c.StallTimeout, 30*time.Second)
	c.MendInterval = orDefault(c.MendInterval, 10*time.Second)
	c.DiskTimeout = orDefault(c.DiskTimeout, 10*time.Second)
	c.Publish = orDefault(c.Publish, PublishFile)
	c.Log = orDefault(c.Log, slog.Default())
	c.Storage = orDefault(c.Storage, http.DefaultTransport)
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// Errors of Agent's methods that callers tell apart.
var (
	ErrNotFound = errors.New("there is no such download")
	ErrClosed   = errors.New("the agent is stopping")
	ErrHangs    = errors.New("the disk does not answer")
)

// errStopped is the cause of a run's end when somebody has stopped it.
var errStopped = errors.New("stopped")

// Agent owns the downloads. Its methods are safe for concurrent use, and
// return what is durable.
type Agent struct {
	cfg       Config
	log       *slog.Logger
	store     *store.Store
	roots     *dest.Roots
	engine    *transfer.Engine
	committer *dest.Committer
	queue     *queue
	hub       hub
	linking   chan struct{} // a token for each link call under way

	ctx  context.Context // ends when the agent stops
	stop context.CancelFunc
	runs sync.WaitGroup // everything that works on downloads
	idle func() bool    // windUp, once

	adding   sync.Mutex // makes "is it there already?" and adding it one step
	counting sync.Mutex // held from a change of stored totals until they are here too

	mu        sync.Mutex // guards what follows, and every download's row, totals, run and tree
	downloads map[string]*download
	order     []*download          // by Seq
	names     map[string]*download // by NameKey
	pieces    map[int64]*feed      // files on their way through the committer
	listed    time.Time            // when a download was last added, renamed or removed
}

// New opens the database and makes the agent; nothing runs before Run.
func New(cfg Config) (*Agent, error) {
	cfg.defaults()
	roots, err := dest.NewRoots(cfg.Roots)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(cfg.Database)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg:       cfg,
		log:       cfg.Log,
		store:     st,
		roots:     roots,
		queue:     newQueue(cfg.MaxActive),
		linking:   make(chan struct{}, 4),
		downloads: make(map[string]*download),
		names:     make(map[string]*download),
		pieces:    make(map[int64]*feed),
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.idle = sync.OnceValue(a.windUp)
	a.engine = transfer.New(transfer.Config{
		Connections:  cfg.Connections,
		Transport:    cfg.Storage,
		UserAgent:    cfg.UserAgent,
		RateLimit:    cfg.RateLimit,
		StallTimeout: cfg.StallTimeout,
		MinBackoff:   cfg.MinBackoff,
		MaxBackoff:   cfg.MaxBackoff,
		Log:          cfg.Log,
	})
	a.committer = dest.NewCommitter(journal{a}, dest.Config{Log: cfg.Log})
	if err := a.load(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// load reads what the database holds.
func (a *Agent) load() error {
	rows, err := a.store.Downloads(a.ctx)
	if err != nil {
		return fmt.Errorf("load downloads: %w", err)
	}
	for _, row := range rows {
		d := newDownload(row)
		// A clock that was wrong when this was stored does not put it off for days.
		if latest := time.Now().Add(maxRetry); d.row.RetryAt.After(latest) {
			d.row.RetryAt = latest
		}
		// The rules for names may be others than when it was stored.
		if name, key := a.takeName(d, row.Name); !row.Deleting && (name != row.Name || key != row.NameKey) {
			d.row.Name, d.row.NameKey = name, key
			if err := a.store.Put(a.ctx, d.row); err != nil {
				return fmt.Errorf("load downloads: %w", err)
			}
		}
		if d.row.State != string(Complete) {
			partials, err := a.store.Partials(a.ctx, row.Seq)
			if err != nil {
				return fmt.Errorf("load partial files: %w", err)
			}
			for _, p := range partials {
				var arrived transfer.Arrived
				if err := arrived.UnmarshalBinary(p.Arrived); err != nil {
					return fmt.Errorf("load partial file %d: %w", p.Entry, err)
				}
				d.arrival.set(p.Entry, arrived.Bytes())
			}
		}
		a.insert(d)
	}
	debug.FreeOSMemory() // reading a long history leaves as much garbage
	return nil
}

// insert makes d known; a.mu is held, or nobody else is there yet.
func (a *Agent) insert(d *download) {
	a.downloads[d.id] = d
	a.order = append(a.order, d)
	a.names[d.row.NameKey] = d
	a.listed = time.Now()
}

// Run works on the downloads until ctx ends, then stops: what runs is flushed
// and stays resumable. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	for _, d := range a.order {
		switch {
		case d.row.Deleting:
			a.goDo(func() { a.deletion(d) })
		case d.row.State == string(Transferring) && d.run == nil:
			a.start(d)
		}
	}
	a.mu.Unlock()
	a.goDo(a.mend)
	<-ctx.Done()
	a.stop()
	a.idle()
	return nil
}

// goDo runs f, which ends with a.ctx, in a goroutine that Run waits for.
func (a *Agent) goDo(f func()) {
	a.runs.Go(f)
}

// Close releases everything; no other method may be called after it. What a
// disk that hangs keeps is left as it is, as at the end of the process.
func (a *Agent) Close() error {
	a.stop()
	if !a.idle() {
		return a.store.Close()
	}
	a.engine.Close()
	a.committer.Close()
	return a.store.Close()
}

// Subscribe returns a subscription to all that happens from now on.
func (a *Agent) Subscribe() *Subscription { return a.hub.subscribe() }

// After returns up to limit downloads, in the order of their acceptance, from
// the first one after seq.
func (a *Agent) After(seq int64, limit int) []Download {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, found := a.search(seq)
	if found {
		i++
	}
	var some []Download
	for ; i < len(a.order) && len(some) < limit; i++ {
		if d := a.order[i]; !d.row.Deleting {
			some = append(some, d.snapshot(a.position(d)))
		}
	}
	return some
}

// search finds a download's place in order; a.mu is held.
func (a *Agent) search(seq int64) (place int, found bool) {
	return slices.BinarySearchFunc(a.order, seq, func(d *download, seq int64) int { return cmp.Compare(d.seq, seq) })
}

// BySeq returns one download, or ErrNotFound.
func (a *Agent) BySeq(seq int64) (Download, error) {
	a.mu.Lock()
	i, found := a.search(seq)
	if !found || a.order[i].row.Deleting {
		a.mu.Unlock()
		return Download{}, ErrNotFound
	}
	d := a.order[i]
	a.mu.Unlock()
	return a.snapshot(d), nil
}

// Shown reports whether there is a download of that Seq. It costs less than BySeq.
func (a *Agent) Shown(seq int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, found := a.search(seq)
	return found && !a.order[i].row.Deleting
}

// Listed returns when a download was last added, renamed or removed.
func (a *Agent) Listed() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.listed
}

// Get returns one download, or ErrNotFound.
func (a *Agent) Get(id string) (Download, error) {
	d, err := a.find(id)
	if err != nil {
		return Download{}, err
	}
	return a.snapshot(d), nil
}

// RateLimit returns the bound of the bytes a second over all downloads; 0: none.
func (a *Agent) RateLimit() (bytesPerSecond int64) { return a.engine.RateLimit() }

// SetRateLimit changes it, until the agent ends.
func (a *Agent) SetRateLimit(bytesPerSecond int64) { a.engine.SetRateLimit(bytesPerSecond) }

// ByName returns the download that has this name in the mount.
func (a *Agent) ByName(name string) (Download, bool) {
	a.mu.Lock()
	d, ok := a.names[pathname.Key(name, a.cfg.Names)]
	// A name is taken a moment before its download is recorded.
	ok = ok && a.downloads[d.id] == d && d.row.Name == name && !d.row.Deleting
	a.mu.Unlock()
	if !ok {
		return Download{}, false
	}
	return a.snapshot(d), true
}

func (a *Agent) find(id string) (*download, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, ok := a.downloads[id]
	if !ok || d.row.Deleting {
		return nil, ErrNotFound
	}
	return d, nil
}

// row returns a copy of d's row.
func (a *Agent) row(d *download) store.Download {
	a.mu.Lock()
	defer a.mu.Unlock()
	return d.row
}

func (a *Agent) snapshot(d *download) Download {
	var c Connections
	c.InUse, c.Allowed, c.Why = a.engine.Connections(d.id)
	a.mu.Lock()
	defer a.mu.Unlock()
	s := d.snapshot(a.position(d))
	if s.State == Transferring && s.QueuePosition == 0 {
		s.Connections = c
	}
	return s
}

// position returns d's place among those that wait for their turn; a.mu is held.
func (a *Agent) position(d *download) int { return a.queue.position(d.row.Priority, d.seq) }

// change is the one place where a download's row changes: f decides, the
// database is told, then everybody else. f may refuse with an error.
func (a *Agent) change(d *download, f func(*store.Download) error) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	a.mu.Lock()
	old := d.row
	a.mu.Unlock()
	row := old
	if err := f(&row); err != nil {
		return err
	}
	if row.State != old.State {
		if err := transition(State(old.State), State(row.State)); err != nil {
			return err
		}
	}
	row.UpdatedAt = time.Now()
	// What was decided is stored even if whoever asked is gone by now.
	if err := a.store.Put(context.Background(), row); err != nil {
		return fmt.Errorf("store download %s: %w", d.id, err)
	}
	a.mu.Lock()
	d.row = row
	if row.NameKey != old.NameKey {
		delete(a.names, old.NameKey)
	}
	if row.Name != old.Name || row.Deleting != old.Deleting {
		a.listed = time.Now()
	}
	a.mu.Unlock()
	if row.Name != old.Name {
		a.hub.tell(Event{Kind: Renamed, ID: d.id, Seq: d.seq, Name: row.Name, OldName: old.Name})
	}
	if row.State != old.State {
		a.log.Info("download changed", "download", d.id, "name", row.Name, "state", row.State, "code", row.Code, "message", row.Message)
	}
	a.hub.tell(Event{Kind: Changed, ID: d.id, Seq: d.seq, Name: row.Name, State: State(row.State), Was: State(old.State)})
	return nil
}

// changed tells that something about d is another than it was, though not its state.
func (a *Agent) changed(d *download) {
	row := a.row(d)
	a.hub.tell(Event{Kind: Changed, ID: d.id, Seq: d.seq, Name: row.Name, State: State(row.State), Was: State(row.State)})
}

// takeName finds the name that a download wanting to be called name can have
// in the mount, and holds it for d. The caller gives the one it does not use back.
func (a *Agent) takeName(d *download, name string) (taken, key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := 1; ; n++ {
		taken = name
		if n > 1 {
			taken = pathname.Numbered(name, n, true)
		}
		key = pathname.Key(taken, a.cfg.Names)
		if holder, ok := a.names[key]; !ok || holder == d {
			a.names[key] = d
			return taken, key
		}
	}
}

// start begins to work on d, after whatever still works on it has ended; a.mu is held.
func (a *Agent) start(d *download) {
	before := d.run
	ctx, cancel := context.WithCancelCause(a.ctx)
	r := &run{cancel: cancel, ended: make(chan struct{}), ticket: a.queue.join(d.row.Priority, d.seq)}
	d.run = r
	go a.attend(ctx, d, r) // it may outlast the agent, if the disk does not answer
	a.goDo(func() {
		defer close(r.ended)
		defer cancel(nil)
		defer a.queue.leave(r.ticket)
		if before != nil {
			<-before.ended
		}
		a.work(ctx, d, r)
	})
}

// halt stops the work on d and waits until it has ended, or ctx has.
func (a *Agent) halt(ctx context.Context, d *download) error {
	a.mu.Lock()
	r := d.run
	a.mu.Unlock()
	if r == nil {
		return nil
	}
	r.cancel(errStopped)
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// removeLocked forgets d; a.mu is held.
func (a *Agent) removeLocked(d *download) {
	delete(a.downloads, d.id)
	if a.names[d.row.NameKey] == d {
		delete(a.names, d.row.NameKey)
	}
	a.order = slices.DeleteFunc(a.order, func(o *download) bool { return o == d })
}
