package transfer

import (
	"context"

	"golang.org/x/time/rate"
)

// SetRateLimit bounds the bytes a second that all connections read together,
// from now on; 0 is no bound.
func (e *Engine) SetRateLimit(bytesPerSecond int64) {
	limit := rate.Inf
	if bytesPerSecond > 0 {
		limit = rate.Limit(bytesPerSecond)
	}
	e.limiter.SetLimit(limit)
	e.limiter.SetBurst(burst(limit))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatch()
}

// RateLimit returns the bound; 0: none.
func (e *Engine) RateLimit() (bytesPerSecond int64) {
	if limit := e.limiter.Limit(); limit != rate.Inf {
		return int64(limit)
	}
	return 0
}

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
	limit := a.e.limiter.Limit()
	if limit == rate.Inf {
		return want, nil
	}
	if a.left == 0 {
		part := min(want, burst(limit), bufferSize)
		// A limit that is changed meanwhile may make the burst smaller.
		if err := a.e.limiter.WaitN(ctx, min(part, max(1, a.e.limiter.Burst()))); err != nil && ctx.Err() != nil {
			return 0, err
		}
		a.left = part
	}
	return min(want, a.left), nil
}

// spend says that n bytes were read.
func (a *allowance) spend(n int) { a.left = max(0, a.left-n) }
