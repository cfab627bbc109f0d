package store

import (
	"math"
	"time"
)

// The times that fit into nanoseconds since 1970: the years 1678 to 2261.
var (
	minTime = time.Unix(0, math.MinInt64)
	maxTime = time.Unix(0, math.MaxInt64)
)

// nanoseconds returns a time as it is stored, 0 for none. A time beyond what
// can be stored, which only senders think of, becomes the last one that can.
func nanoseconds(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Before(minTime):
		return math.MinInt64
	case t.After(maxTime):
		return math.MaxInt64
	default:
		return t.UnixNano()
	}
}

// instant is the inverse of nanoseconds; the time is in UTC.
func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
