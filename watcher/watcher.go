// Package watcher is the inbox: the folder into which people drop link files.
//
// It owns what happens to a dropped file, in this order: it waits until the
// file is complete, reads it, hands its links to the agent, which records them
// durably together with the file's origin, moves the file to accepted/ or
// rejected/ inside the inbox, and only when that is durable too lets the agent
// forget the origin. A crash at any point neither loses a link nor queues it
// twice: before the recording nothing has happened, after it the origin says
// that only the move is left. An inbox that cannot be written to is served by
// the same rule: its files stay, and so do their origins.
//
// Events of the kernel are hints, never proof: any of them is a reason to look
// at a name, and what is found there decides. A rescan backs them up, so that
// network shares, overflows and exhausted limits cost time, not links.
//
// A file is complete when no writer has it open, where the kernel can tell
// (see writerOf), or when size and modification time have stood still for a
// while. That question is asked of the file and not of the event stream, so
// the answer is the same for a file dropped while nobody was watching.
//
// The package follows no symbolic link below the inbox, overwrites nothing,
// and logs neither links nor passwords. It knows nothing of what a download
// is; it refuses to know SQLite, HTTP and FUSE.
package watcher

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"masvfs/fetch"
	"masvfs/fetch/dirent"
)

// Agent is what the inbox needs of fetch.Agent. An origin is the identity of a
// dropped file, see originOf.
type Agent interface {
	// Accept records all requests or none, durably and together with origin.
	// It does nothing if origin is recorded already. A *fetch.InvalidError
	// is for good; any other error may pass.
	Accept(ctx context.Context, origin string, requests []fetch.Request) error
	// Taken reports whether origin is recorded.
	Taken(ctx context.Context, origin string) (bool, error)
	// Forget drops origin from the record.
	Forget(ctx context.Context, origin string) error
	// Origins returns all that are recorded.
	Origins(ctx context.Context) ([]string, error)
}

// Config says what to watch and how patiently. The zero value of everything
// but Folder and Agent means the default.
type Config struct {
	Folder string // the inbox; made when missing
	Agent  Agent
	Log    *slog.Logger // nil: nothing is logged

	// Settle is for how long size and modification time must stand still
	// before a file that may still be open counts as complete. 2 s.
	Settle time.Duration
	// GiveUp is for how long they must before a file that was not seen closed
	// and does not parse is rejected. 10 s.
	GiveUp time.Duration
	// Rescan is the time between two looks at the whole inbox. By default 30 s
	// where the kernel's events can be relied on, and 5 s elsewhere.
	Rescan time.Duration
	// NoEvents leaves the kernel's events out: rescans must do.
	NoEvents bool
}

const (
	// grace is how long Run waits, after its context has ended, for a file
	// system or an agent that does not answer.
	grace = 2 * time.Second
	// rescanWatched and rescanAlone are the defaults of Config.Rescan.
	rescanWatched = 30 * time.Second
	rescanAlone   = 5 * time.Second
	// rescanMissing is how often an inbox that is gone is looked for.
	rescanMissing = time.Second
	// maxPending bounds the files that are being waited for; those beyond
	// have their turn at a later rescan.
	maxPending = 10_000
)

// Watcher serves one inbox. It is made by New and good for one Run.
type Watcher struct {
	folder   string
	agent    Agent
	log      *slog.Logger
	patience patience
	rescan   time.Duration
	noEvents bool
	grace    time.Duration

	// What follows belongs to the goroutine that Run starts.

	inbox   *folder // nil while the inbox is gone
	local   bool    // the kernel knows of every writer and every event there
	notify  *fsnotify.Watcher
	pending map[string]*pending
	kept    map[string]kept
	pass    uint32    // number of the present rescan
	round   time.Time // when the rescan, or the looks that were due together, began

	nextScan time.Time // zero: at once

	readOnly   bool   // a move was refused during this rescan
	sweepDue   bool   // origins may be recorded whose files are gone
	crowded    bool   // there was no room in pending: rescan when there is
	troubled   bool   // that the inbox cannot be read was logged
	toldStays  bool   // that files stay where they are was logged
	noWatching string // why there are no events, as it was logged
}

// New returns a Watcher for cfg. It touches nothing before Run.
func New(cfg Config) *Watcher {
	w := &Watcher{
		folder:   cfg.Folder,
		agent:    cfg.Agent,
		log:      cfg.Log,
		patience: patience{settle: cfg.Settle, giveUp: cfg.GiveUp},
		rescan:   cfg.Rescan,
		noEvents: cfg.NoEvents,
		grace:    grace,
		pending:  make(map[string]*pending),
		kept:     make(map[string]kept),
		sweepDue: true, // a crash may have left some
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.patience.defaults()
	return w
}

// Run serves the inbox until ctx ends, and then returns nil. It returns an
// error at once if the inbox can be neither made nor opened; one that
// disappears later is waited for. When ctx ends while the file system or the
// agent does not answer, Run says so and leaves one goroutine behind, which
// ends when the answer comes and has nothing done by then that a restart
// would not find again.
func (w *Watcher) Run(ctx context.Context) error {
	var err error
	if w.folder, err = filepath.Abs(w.folder); err != nil {
		return fmt.Errorf("find inbox: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- w.serve(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timeout := time.NewTimer(w.grace)
	defer timeout.Stop()
	select {
	case err := <-done:
		return err
	case <-timeout.C:
		return fmt.Errorf("leave inbox %s: no answer from it within %v", w.folder, w.grace)
	}
}

// serve opens the inbox and serves it until ctx ends.
func (w *Watcher) serve(ctx context.Context) error {
	defer w.close()
	// Link files hold secrets, so an inbox made here is its owner's alone.
	if err := dirent.MakeFolder(w.folder, 0o700); err != nil {
		return fmt.Errorf("make inbox: %w", err)
	}
	if err := w.attach(); err != nil {
		return fmt.Errorf("open inbox: %w", err)
	}
	w.loop(ctx)
	return nil
}

// close lets go of the inbox and of the kernel's events.
func (w *Watcher) close() {
	w.detach()
	if w.notify != nil {
		// An error would be about a descriptor that is gone either way.
		_ = w.notify.Close()
	}
}
