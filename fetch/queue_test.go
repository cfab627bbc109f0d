package fetch

import (
	"context"
	"errors"
	"testing"
)

func (t *ticket) hasTurn() bool {
	select {
	case <-t.turn:
		return true
	default:
		return false
	}
}

// ready declares a ticket ready without waiting for its turn.
func ready(q *queue, ts ...*ticket) {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	for _, t := range ts {
		q.wait(done, t)
	}
}

func TestTurnsGoByPriorityThenAge(t *testing.T) {
	q := newQueue(1)
	first, low, high, old := q.join(0, 1), q.join(-1, 2), q.join(5, 4), q.join(0, 3)
	ready(q, first, low, high, old)
	order := []*ticket{first, high, old, low}
	for i, next := range order {
		for j, other := range order {
			if got := other.hasTurn(); got != (j <= i) {
				t.Fatalf("after %d turns, number %d has its turn: %v", i, j, got)
			}
		}
		q.leave(next)
	}
}

func TestOneThatIsNotReadyHoldsNobodyUp(t *testing.T) {
	q := newQueue(1)
	slow, quick := q.join(9, 1), q.join(0, 2)
	ready(q, quick)
	if slow.hasTurn() || !quick.hasTurn() {
		t.Errorf("slow has its turn: %v, quick: %v", slow.hasTurn(), quick.hasTurn())
	}
}

func TestPositionsCountThoseWhoWait(t *testing.T) {
	q := newQueue(2)
	var ts []*ticket
	for seq := int64(1); seq <= 5; seq++ {
		ts = append(ts, q.join(0, seq))
	}
	ready(q, ts...)
	first := q.join(1, 6)
	for seq, want := range map[int64]int{1: 0, 2: 0, 3: 2, 4: 3, 5: 4, 7: 0} {
		if got := q.position(0, seq); got != want {
			t.Errorf("download %d is at %d, not %d", seq, got, want)
		}
	}
	if at := q.position(1, 6); at != 1 {
		t.Errorf("the one of a higher priority is at %d", at)
	}
	q.leave(first)
	q.leave(ts[0])
	if q.position(0, 3) != 0 || q.position(0, 5) != 2 {
		t.Errorf("after two have left: %d, %d", q.position(0, 3), q.position(0, 5))
	}
}

func TestWhoeverIsStoppedWhileWaitingIsToldWhy(t *testing.T) {
	q := newQueue(1)
	running := q.join(0, 1)
	ready(q, running)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errStopped)
	waiting := q.join(0, 2)
	if err := q.wait(ctx, waiting); !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
	q.leave(waiting)
	if at := q.position(0, 2); at != 0 || len(q.line) != 0 {
		t.Errorf("still in line, at %d", at)
	}
}
