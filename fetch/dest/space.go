package dest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// Space is the room on a file system, in bytes that a writer without
// privileges may use.
type Space struct {
	Free  int64
	Total int64 // 0: the file system does not tell
}

// Reserve is the space that downloads leave free on a file system. The zero
// value is the default: 1 % of it, at most 1 GiB.
type Reserve struct {
	set     bool
	bytes   int64
	percent float64
}

// ParseReserve understands a size ("20GiB", "500MB", "0"), a share of the file
// system ("5%"), and "" for the default.
func ParseReserve(text string) (Reserve, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Reserve{}, nil
	}
	if share, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return Reserve{}, fmt.Errorf("reserve %q: not a share between 0%% and 100%%", text)
		}
		return Reserve{set: true, percent: p}, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<62 {
		return Reserve{}, fmt.Errorf("reserve %q: not a size like 20GiB, nor a share like 5%%", text)
	}
	return Reserve{set: true, bytes: int64(n)}, nil
}

// Of returns the bytes to leave free on a file system of this Space.
func (r Reserve) Of(s Space) int64 {
	if !r.set {
		return min(s.Total/100, 1<<30)
	}
	return r.bytes + int64(float64(s.Total)*r.percent/100)
}
