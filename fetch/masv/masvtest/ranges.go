package masvtest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// byteRange is what of an object is asked for.
type byteRange struct {
	offset, length int64
	ranged         bool // by a Range that counts
	unsatisfiable  bool // which starts at or past the end
}

// parseRange reads a Range header (RFC 9110, 14.1.2 and 14.2). What is not
// well-formed, another unit and several ranges at once are ignored, as S3 does
// and as the RFC allows: the whole object is the answer.
func parseRange(header string, size int64) byteRange {
	whole := byteRange{length: size}
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return whole
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return whole
	}
	if first == "" { // the last so many bytes
		n, ok := digits(last)
		switch {
		case !ok, n > 0 && size == 0: // satisfiable, but 206 cannot say "no bytes"
			return whole
		case n == 0:
			return byteRange{unsatisfiable: true}
		}
		n = min(n, size)
		return byteRange{offset: size - n, length: n, ranged: true}
	}
	from, ok := digits(first)
	if !ok {
		return whole
	}
	to := size - 1
	if last != "" {
		end, ok := digits(last)
		if !ok || end < from {
			return whole
		}
		to = min(to, end)
	}
	if from >= size {
		return byteRange{unsatisfiable: true}
	}
	return byteRange{offset: from, length: to - from + 1, ranged: true}
}

// digits reads 1*DIGIT; what is larger than any object is as good as the largest.
func digits(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		n = 1<<63 - 2
	}
	return n, true
}

// matches reports whether If-Match allows the answer (RFC 9110, 13.1.1): with
// the strong comparison, and all our tags are strong.
func matches(header, etag string) bool {
	if header == "" || strings.TrimSpace(header) == "*" {
		return true
	}
	for tag := range strings.SplitSeq(header, ",") { // no tag of ours holds a comma
		if strings.TrimSpace(tag) == etag {
			return true
		}
	}
	return false
}

// rangeStands reports whether If-Range lets Range count (RFC 9110, 13.1.5):
// the tag is the same, or the date exactly that of the object.
func rangeStands(header, etag string, modified time.Time) bool {
	if header == "" || header == etag {
		return true
	}
	at, err := http.ParseTime(header)
	return err == nil && at.Equal(modified.Truncate(time.Second))
}
