package transfer

import (
	"math/rand/v2"
	"time"
)

// A Backoff gives the pauses between attempts that fail one after the other.
// The bound starts at Min and doubles up to Max; the pause is taken at random
// below the bound, so that many who failed together do not come back together.
// It is not for concurrent use.
type Backoff struct {
	Min, Max time.Duration
	failures int // since the last Reset
}

// Next returns the pause after one more failure. With a hint (the server's
// Retry-After, say) it is at least that, and little more.
func (b *Backoff) Next(hint time.Duration) time.Duration {
	bound := b.Max
	if shifted := b.Min << min(b.failures, 40); shifted>>min(b.failures, 40) == b.Min {
		bound = min(shifted, b.Max)
	}
	b.failures++
	if hint > 0 {
		return hint + below(b.Min)
	}
	return below(bound)
}

// Reset is to be called when something has succeeded.
func (b *Backoff) Reset() { b.failures = 0 }

// below returns a random duration in [0, bound].
func below(bound time.Duration) time.Duration {
	if bound <= 0 {
		return 0
	}
	return rand.N(bound + 1)
}
