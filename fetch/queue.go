package fetch

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// queue decides which downloads run: at most max at once, higher priority
// first, then the older one. A ticket waits in line from the start but takes
// its turn only when it is ready, so that a link that does not answer keeps
// nobody else waiting.
type queue struct {
	max int

	mu      sync.Mutex // guards what follows, and every ticket
	running int
	line    []*ticket // those without a turn, in order
}

// ticket is one download's place in the queue.
type ticket struct {
	priority int
	seq      int64
	ready    bool
	turn     chan struct{} // closed when its turn has come
	running  bool
}

func newQueue(max int) *queue { return &queue{max: max} }

// join puts a download in line.
func (q *queue) join(priority int, seq int64) *ticket {
	t := &ticket{priority: priority, seq: seq, turn: make(chan struct{})}
	q.mu.Lock()
	defer q.mu.Unlock()
	at, _ := q.search(t)
	q.line = slices.Insert(q.line, at, t)
	return t
}

// wait declares t ready and returns when its turn has come.
func (q *queue) wait(ctx context.Context, t *ticket) error {
	q.mu.Lock()
	t.ready = true
	q.serve()
	q.mu.Unlock()
	select {
	case <-t.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave gives up t's turn or its place in line.
func (q *queue) leave(t *ticket) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.running {
		t.running = false
		q.running--
	} else if i := slices.Index(q.line, t); i >= 0 {
		q.line = slices.Delete(q.line, i, i+1)
	}
	q.serve()
}

// serve gives turns to those first in line; q.mu is held.
func (q *queue) serve() {
	for i := 0; i < len(q.line) && q.running < q.max; {
		t := q.line[i]
		if !t.ready {
			i++
			continue
		}
		q.line = slices.Delete(q.line, i, i+1)
		t.running = true
		q.running++
		close(t.turn)
	}
}

// position returns the place in line of a download that waits for its turn,
// from 1; 0 if it does not. One that could run, were it ready, does not wait.
func (q *queue) position(priority int, seq int64) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	at, found := q.search(&ticket{priority: priority, seq: seq})
	if !found {
		return 0
	}
	return max(0, 1+at-max(0, q.max-q.running))
}

// search returns where in line a ticket is, or would be; q.mu is held.
func (q *queue) search(t *ticket) (at int, found bool) {
	return slices.BinarySearchFunc(q.line, t, func(a, b *ticket) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.seq, b.seq))
	})
}
