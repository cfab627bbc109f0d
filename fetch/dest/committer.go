package dest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Journal is told how pieces get on; it is implemented by whoever remembers
// them. Its methods are called by one goroutine for each file system. What
// they have recorded when they return must be durable.
type Journal interface {
	// Whole is told of pieces whose bytes are on stable storage, before any
	// of them gets its name.
	Whole(ctx context.Context, pieces []*Piece) error

	// Taken gives a piece another name, because something has its own on
	// disk. The name is recorded before it is tried.
	Taken(ctx context.Context, p *Piece) (name string, err error)

	// Placed is told of pieces that have their names, durably.
	Placed(ctx context.Context, pieces []*Piece) error

	// Failed is told of a piece that was given up, its Partial closed. If it
	// was recorded as whole, Tree.Recover says what there is of it. If its
	// bytes could not be flushed, the partial file is gone.
	Failed(p *Piece, err error)
}

// Config says how pieces are gathered. The zero value of each means a sane
// default.
type Config struct {
	Delay    time.Duration // between batches, at least, so that pieces share their flushes
	MaxBatch int           // pieces that share them
	MaxOpen  int           // pieces on their way on one file system, each an open file
	Log      *slog.Logger
}

// Committer gives finished files their names, many with the same few flushes.
// Each file system has a goroutine of its own, so that a dead disk holds up
// no other. Its methods are safe for concurrent use.
type Committer struct {
	journal Journal
	cfg     Config
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	lanes  map[uint64]*lane
	closed bool
}

// NewCommitter returns a Committer that tells the journal.
func NewCommitter(journal Journal, cfg Config) *Committer {
	cfg.Delay = cmp.Or(cfg.Delay, 100*time.Millisecond)
	cfg.MaxOpen = cmp.Or(cfg.MaxOpen, defaultOpen())
	// While one batch is flushed, the next one gathers.
	cfg.MaxBatch = min(cmp.Or(cfg.MaxBatch, 2000), max(1, cfg.MaxOpen/2))
	cfg.Log = cmp.Or(cfg.Log, slog.Default())
	return &Committer{journal: journal, cfg: cfg, lanes: make(map[uint64]*lane)}
}

// defaultOpen leaves most of the descriptors that the process may have to
// others. Pieces stay open until they are flushed because only the descriptor
// that bytes were written through is sure to be told if they were lost.
func defaultOpen() int { return int(min(descriptors()/4, 4000)) }

// descriptors returns how many the process may have.
func descriptors() uint64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 1024
	}
	return l.Cur
}

// Commit hands over a piece, which it owns from then on with its Partial, even
// if it returns an error; then the Journal is not told, and the partial file
// stays. It blocks only while too many pieces are on their way.
func (c *Committer) Commit(ctx context.Context, p *Piece) error {
	if err := p.check(); err != nil {
		return c.refuse(p, err)
	}
	p.setTime()
	l, err := c.lane(p.Tree)
	if err != nil {
		return c.refuse(p, err)
	}
	if err := l.add(ctx, p); err != nil {
		return c.refuse(p, err)
	}
	return nil
}

func (c *Committer) refuse(p *Piece, err error) error {
	if p.Partial != nil {
		err = errors.Join(err, p.Partial.Close())
	}
	return err
}

// Drain returns when all pieces of a tree that were handed over before are
// placed or failed, and all folders of the tree are flushed. Its error is
// about the folders: how each piece got on, the Journal was told.
func (c *Committer) Drain(ctx context.Context, t *Tree) error {
	l, err := c.lane(t)
	if err != nil {
		return err
	}
	return l.drain(ctx, t)
}

// Close finishes what was handed over, then ends.
func (c *Committer) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, l := range c.lanes {
		l.close()
	}
	c.mu.Unlock()
	c.running.Wait()
	return nil
}

// lane returns the lane of a tree's file system.
func (c *Committer) lane(t *Tree) (*lane, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	l := c.lanes[t.device]
	if l == nil {
		l = newLane(c)
		c.lanes[t.device] = l
		c.running.Go(l.run)
	}
	return l, nil
}
