package transfer

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// A Span is the bytes of a file from Start up to, not including, End.
type Span struct{ Start, End int64 }

// Len returns the number of bytes of the span.
func (s Span) Len() int64 { return s.End - s.Start }

// Arrived is what has arrived of a file, and of which version of its object.
type Arrived struct {
	// ETag names the version: the object's entity tag as it was sent, or its
	// Last-Modified where it has no tag, or "".
	ETag string

	Spans []Span // sorted, not empty, with gaps between them
}

// Bytes returns how many bytes have arrived.
func (a Arrived) Bytes() int64 { return spans(a.Spans).bytes() }

// arrivedFormat is the first byte of an encoded Arrived.
const arrivedFormat = 1

// MarshalBinary encodes the spans, not the ETag, in a few bytes a span.
func (a Arrived) MarshalBinary() ([]byte, error) {
	out := make([]byte, 1, 1+4*len(a.Spans))
	out[0] = arrivedFormat
	var last int64
	for _, s := range a.Spans {
		if s.Start < last || s.End <= s.Start {
			return nil, errors.New("encode what has arrived: spans are not sorted")
		}
		out = binary.AppendUvarint(out, uint64(s.Start-last))
		out = binary.AppendUvarint(out, uint64(s.Len()))
		last = s.End
	}
	return out, nil
}

// UnmarshalBinary decodes what MarshalBinary has encoded and leaves the ETag
// as it is. What it accepts has sorted spans.
func (a *Arrived) UnmarshalBinary(data []byte) error {
	malformed := errors.New("decode what has arrived: malformed")
	if len(data) == 0 || data[0] != arrivedFormat {
		return malformed
	}
	var set spans
	var last int64
	for data = data[1:]; len(data) > 0; {
		var part [2]int64
		for i := range part {
			v, n := binary.Uvarint(data)
			if n <= 0 || v > uint64(math.MaxInt64-last) {
				return malformed
			}
			part[i], data = int64(v), data[n:]
			last += part[i]
		}
		if part[1] == 0 {
			return malformed
		}
		set.add(Span{last - part[1], last})
	}
	a.Spans = set
	return nil
}

// spans is a set of bytes: sorted, not empty, with gaps between them.
type spans []Span

// normal makes a set, within [0, size), of spans that come from outside.
func normal(from []Span, size int64) spans {
	var set spans
	for _, s := range from {
		set.add(Span{max(s.Start, 0), min(s.End, size)})
	}
	return set
}

func (set spans) bytes() (n int64) {
	for _, s := range set {
		n += s.Len()
	}
	return n
}

// add puts s into the set and returns how many of its bytes were not in there.
func (set *spans) add(s Span) (grown int64) {
	if s.Len() <= 0 {
		return 0
	}
	// [i, j) are the spans that s overlaps or touches.
	i := set.reaching(s.Start)
	j := i
	grown = s.Len()
	for ; j < len(*set) && (*set)[j].Start <= s.End; j++ {
		t := (*set)[j]
		grown -= max(0, min(t.End, s.End)-max(t.Start, s.Start))
	}
	if i < j {
		s.Start = min(s.Start, (*set)[i].Start)
		s.End = max(s.End, (*set)[j-1].End)
	}
	*set = slices.Replace(*set, i, j, s)
	return grown
}

// reaching returns the index of the first span that ends at or after pos.
func (set spans) reaching(pos int64) int {
	i, _ := slices.BinarySearchFunc(set, pos, func(s Span, pos int64) int {
		if s.End < pos {
			return -1
		}
		return 1
	})
	return i
}

// missing appends to out the parts of s that are not in the set.
func (set spans) missing(out []Span, s Span) []Span {
	for _, t := range set[set.reaching(s.Start):] {
		if t.Start >= s.End {
			break
		}
		if t.Start > s.Start {
			out = append(out, Span{s.Start, t.Start})
		}
		s.Start = max(s.Start, t.End)
	}
	if s.Len() > 0 {
		out = append(out, s)
	}
	return out
}
