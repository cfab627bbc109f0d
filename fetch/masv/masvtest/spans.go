package masvtest

import "slices"

// maxSpans bounds what is remembered of one file; a client with so many gaps
// open at once is not one whose repetitions can be told apart.
const maxSpans = 512

// span is a range of a file's bytes, from inclusive, to exclusive.
type span struct{ from, to int64 }

// spans are sorted, and neither overlap nor touch.
type spans []span

// add merges [from, to) into the spans and returns how many of its bytes were
// in them already.
func (s *spans) add(from, to int64) (known int64) {
	if from >= to {
		return 0
	}
	// the spans i..j-1 overlap or touch the new one
	i, _ := slices.BinarySearchFunc(*s, from, func(sp span, at int64) int {
		if sp.to < at {
			return -1
		}
		return 1
	})
	j := i
	merged := span{from, to}
	for ; j < len(*s) && (*s)[j].from <= to; j++ {
		sp := (*s)[j]
		known += max(0, min(sp.to, to)-max(sp.from, from))
		merged = span{min(merged.from, sp.from), max(merged.to, sp.to)}
	}
	*s = slices.Replace(*s, i, j, merged)
	return known
}
