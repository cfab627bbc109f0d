package transfer

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// A limit bounds the bytes a second that all connections read together, until
// another one takes its place.
type limit struct {
	*rate.Limiter
	bytes int64         // a second; 0: no bound
	over  chan struct{} // closed when another one has taken its place
}

func newLimit(bytesPerSecond int64) *limit {
	r := rate.Inf
	if bytesPerSecond > 0 {
		r = rate.Limit(bytesPerSecond)
	}
	return &limit{Limiter: rate.NewLimiter(r, burst(r)), bytes: max(0, bytesPerSecond), over: make(chan struct{})}
}

// SetRateLimit bounds the bytes a second that all connections read together,
// from now on; 0 is no bound.
func (e *Engine) SetRateLimit(bytesPerSecond int64) {
	close(e.limit.Swap(newLimit(bytesPerSecond)).over)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatch()
}

// RateLimit returns the bound; 0: none.
func (e *Engine) RateLimit() (bytesPerSecond int64) { return e.limit.Load().bytes }

// burst is what may be read at once: so little that the limit holds over any
// two seconds within a few percent.
func burst(limit rate.Limit) int {
	if limit == rate.Inf {
		return bufferSize
	}
	return int(min(max(limit/32, 1<<10), 1<<30))
}

// allowance is what a connection has paid for, and not read yet.
type allowance struct {
	e    *Engine
	left int
}

// take waits until something may be read, and returns how much, of so many
// bytes that are wanted. It is paid for before it is read, else all connections
// together would run ahead of the limit.
func (a *allowance) take(ctx context.Context, want int) (int, error) {
	for {
		l := a.e.limit.Load()
		if l.bytes == 0 {
			return want, nil
		}
		if a.left > 0 {
			return min(want, a.left), nil
		}
		part := min(want, l.Burst(), bufferSize)
		paid := l.ReserveN(time.Now(), part)
		due := time.NewTimer(paid.Delay())
		select {
		case <-due.C:
			a.left = part
		case <-l.over: // what a low limit has put off for hours, another one may not
		case <-ctx.Done():
			due.Stop()
			paid.Cancel()
			return 0, context.Cause(ctx)
		}
		due.Stop()
	}
}

// spend says that n bytes were read.
func (a *allowance) spend(n int) { a.left = max(0, a.left-n) }
