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
	first   int64              // second in which bytes began to arrive, after a pause
	buckets *[meterSpan]bucket // by second, modulo their number; nil: nothing has arrived
}

// bucket is what has arrived in one second.
type bucket struct {
	bytes  int64
	second int64 // plus one
}

// add counts n bytes that have arrived, or, negative, that were thrown away.
func (m *meter) add(n int64) {
	sec := uptime()
	i := sec % meterSpan
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.buckets == nil {
		m.buckets = new([meterSpan]bucket)
	}
	if m.sum(sec) == 0 {
		m.first = sec
	}
	b := &m.buckets[i]
	if b.second != sec+1 {
		*b = bucket{second: sec + 1}
	}
	b.bytes += n
}

// rate returns bytes per second over the last seconds.
func (m *meter) rate() int64 {
	sec := uptime()
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(0, m.sum(sec)/max(1, min(meterSpan, sec-m.first+1)))
}

func (m *meter) sum(sec int64) int64 {
	if m.buckets == nil {
		return 0
	}
	var sum int64
	for _, b := range m.buckets {
		if b.second > sec+1-meterSpan {
			sum += b.bytes
		}
	}
	return sum
}
