package fetch

import (
	"sync"
	"time"
)

// meterSpan is over how many seconds a rate is measured.
const meterSpan = 5

// started is what seconds are counted from; it carries a monotonic reading,
// so that a clock that is set does not show as a burst or a stall.
var started = time.Now()

// uptime returns the whole seconds since the program started.
func uptime() int64 { return int64(time.Since(started) / time.Second) }

// meter measures the rate at which bytes arrive, over the last seconds. The
// zero value is ready; it is safe for concurrent use.
type meter struct {
	mu      sync.Mutex
	first   int64            // second in which bytes began to arrive, after a pause
	buckets [meterSpan]int64 // bytes by second, modulo their number
	seconds [meterSpan]int64 // which second, plus one, a bucket is of
}

// add counts n bytes that have arrived, or, negative, that were thrown away.
func (m *meter) add(n int64) {
	sec := uptime()
	i := sec % meterSpan
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sum(sec) == 0 {
		m.first = sec
	}
	if m.seconds[i] != sec+1 {
		m.seconds[i], m.buckets[i] = sec+1, 0
	}
	m.buckets[i] += n
}

// rate returns bytes per second over the last seconds.
func (m *meter) rate() int64 {
	sec := uptime()
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(0, m.sum(sec)/max(1, min(meterSpan, sec-m.first+1)))
}

func (m *meter) sum(sec int64) int64 {
	var sum int64
	for i, at := range m.seconds {
		if at > sec+1-meterSpan {
			sum += m.buckets[i]
		}
	}
	return sum
}
