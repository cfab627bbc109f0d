package masvtest

import (
	"encoding/binary"
	"io"
)

// golden is the odd constant of Weyl sequences, 2^64 divided by the golden
// ratio; mix is the finaliser of SplitMix64 (Steele, Lea, Flood, 2014), a
// bijection in which every bit of the input moves every bit of the output.
const (
	golden  = 0x9E3779B97F4A7C15
	golden2 = 2 * golden & (1<<64 - 1)
	golden3 = 3 * golden & (1<<64 - 1)
	golden4 = 4 * golden & (1<<64 - 1)
)

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// Content fills p with the generated content of the given seed from offset
// (bytes, not negative) on. It is a pure function: neighbouring words, equal
// offsets of other seeds and shifted blocks have nothing in common, so a byte
// that landed in the wrong place is noticed.
func Content(seed uint64, offset int64, p []byte) {
	x := mix(seed^golden) + (uint64(offset)/8+1)*golden
	if skip := int(offset & 7); skip != 0 {
		p = p[copyWord(p, x, skip):]
		x += golden
	}
	for len(p) >= 32 { // four independent words keep the multipliers busy
		binary.LittleEndian.PutUint64(p, mix(x))
		binary.LittleEndian.PutUint64(p[8:], mix(x+golden))
		binary.LittleEndian.PutUint64(p[16:], mix(x+golden2))
		binary.LittleEndian.PutUint64(p[24:], mix(x+golden3))
		p, x = p[32:], x+golden4
	}
	for len(p) > 0 {
		p = p[copyWord(p, x, 0):]
		x += golden
	}
}

// copyWord copies the word at position x of the sequence, less its first skip
// bytes, and returns how many bytes there was room for.
func copyWord(p []byte, x uint64, skip int) int {
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], mix(x))
	return copy(p, word[skip:])
}

// Reader returns the generated content of a file of that seed and size
// (bytes), for tests to compare with what was downloaded. Its ReadAt is safe
// for concurrent use.
func Reader(seed uint64, size int64) *io.SectionReader {
	return io.NewSectionReader(generated(seed), 0, size)
}

// generated is endless content as an io.ReaderAt.
type generated uint64

func (g generated) ReadAt(p []byte, offset int64) (int, error) {
	Content(uint64(g), offset, p)
	return len(p), nil
}
