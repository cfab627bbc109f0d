package transfer

import (
	"context"

	"golang.org/x/time/rate"
)

// portion is how many bytes a connection should read at once: under a limit a
// fraction of a second's worth, so that all of them flow and a new limit is
// soon obeyed.
func (e *Engine) portion() int {
	if e.cfg.Limiter == nil {
		return bufferSize
	}
	limit := e.cfg.Limiter.Limit()
	if limit == rate.Inf || limit > 8*bufferSize {
		return bufferSize
	}
	return max(1<<10, int(limit/8))
}

// throttle waits until n more bytes were allowed.
func (e *Engine) throttle(ctx context.Context, n int) error {
	if e.cfg.Limiter == nil {
		return nil
	}
	for n > 0 {
		k := min(n, max(1, e.cfg.Limiter.Burst()))
		if err := e.cfg.Limiter.WaitN(ctx, k); err != nil {
			return err
		}
		n -= k
	}
	return nil
}
