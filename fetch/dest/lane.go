package dest

import (
	"context"
	"sync"
	"time"
)

// lane is the way of the pieces of one file system.
type lane struct {
	c    *Committer
	room chan struct{} // a token for each piece on its way
	wake chan struct{} // something has changed that run waits for

	mu        sync.Mutex // guards what follows
	queue     []*Piece
	begun     time.Time     // when the last batch was
	unsettled map[*Tree]int // pieces neither placed nor failed
	drains    []drain
	closed    bool
}

// drain waits for a tree's pieces.
type drain struct {
	tree *Tree
	done chan error // has room for the answer
}

func newLane(c *Committer) *lane {
	return &lane{
		c:         c,
		room:      make(chan struct{}, c.cfg.MaxOpen),
		wake:      make(chan struct{}, 1),
		unsettled: make(map[*Tree]int),
	}
}

func (l *lane) add(ctx context.Context, p *Piece) error {
	select {
	case l.room <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		<-l.room
		return ErrClosed
	}
	l.queue = append(l.queue, p)
	l.unsettled[p.Tree]++
	if n := len(l.queue); n == 1 || n == l.c.cfg.MaxBatch {
		l.notify()
	}
	return nil
}

func (l *lane) drain(ctx context.Context, t *Tree) error {
	d := drain{tree: t, done: make(chan error, 1)}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.drains = append(l.drains, d)
	l.notify()
	l.mu.Unlock()
	select {
	case err := <-d.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.notify()
}

func (l *lane) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run commits batches until the lane is closed and empty.
func (l *lane) run() {
	for {
		pieces, more := l.gather()
		if len(pieces) > 0 {
			b := batch{lane: l, journal: l.c.journal, pieces: pieces}
			b.commit()
		}
		l.answer()
		if !more {
			return
		}
	}
}

// gather returns the next batch: as soon as it is large enough, some time has
// passed since the last one began, or somebody waits for all of them. So a
// piece that comes alone is placed at once, and of many none waits long. more
// is false when none will come after it.
func (l *lane) gather() (pieces []*Piece, more bool) {
	for {
		l.mu.Lock()
		n := min(len(l.queue), l.c.cfg.MaxBatch)
		urgent := len(l.drains) > 0 || l.closed
		var timer *time.Timer
		var due <-chan time.Time
		if n > 0 && !urgent && n < l.c.cfg.MaxBatch {
			if wait := l.c.cfg.Delay - time.Since(l.begun); wait > 0 {
				timer = time.NewTimer(wait)
				due = timer.C
			}
		}
		if urgent || n > 0 && due == nil {
			pieces = l.queue[:n:n]
			if l.queue = l.queue[n:]; len(l.queue) == 0 {
				l.queue = nil // it would keep what is long done
			}
			l.begun = time.Now()
			more = !l.closed || len(l.queue) > 0
			l.mu.Unlock()
			return pieces, more
		}
		l.mu.Unlock()
		select {
		case <-l.wake:
		case <-due:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// settle ends the way of a piece.
func (l *lane) settle(p *Piece) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsettled[p.Tree]--; l.unsettled[p.Tree] == 0 {
		delete(l.unsettled, p.Tree)
	}
	<-l.room
}

// answer ends the waiting for trees of which nothing is on its way.
func (l *lane) answer() {
	l.mu.Lock()
	var ready, rest []drain
	for _, d := range l.drains {
		if l.unsettled[d.tree] == 0 {
			ready = append(ready, d)
		} else {
			rest = append(rest, d)
		}
	}
	l.drains = rest
	l.mu.Unlock()
	for _, d := range ready {
		d.done <- d.tree.flushFolders(nil)
	}
}
