package linkfile

import (
	"encoding/binary"
	"unicode/utf16"
)

// The binary property list, as Apple's CFBinaryPList.c lays it out: magic,
// objects, a table of their offsets, and a trailer of 32 bytes that says how
// wide offsets and references to objects are, how many objects there are,
// which is the outermost, and where the table stands.
const (
	binaryMagic   = "bplist00"
	binaryTrailer = 32

	tagInteger = 0x10
	tagASCII   = 0x50
	tagUTF16   = 0x60
	tagDict    = 0xd0
)

// binaryList is a binary property list. Its methods answer false for whatever
// leads out of the file.
type binaryList struct {
	objects   []byte // from the start of the file, so that offsets count from there
	table     []byte
	offset    int // width of an offset in the table, in bytes
	reference int // width of a reference to an object, in bytes
}

// urlOfBinaryList returns the string under "URL" in the outermost dictionary,
// and nothing where there is none, or no such list.
func urlOfBinaryList(data []byte) string {
	if len(data) < len(binaryMagic)+binaryTrailer {
		return ""
	}
	body, trailer := data[:len(data)-binaryTrailer], data[len(data)-binaryTrailer:]
	table := binary.BigEndian.Uint64(trailer[24:])
	if table > uint64(len(body)) {
		return ""
	}
	list := binaryList{
		objects:   body[:table],
		table:     body[table:],
		offset:    int(trailer[6]),
		reference: int(trailer[7]),
	}
	if list.offset < 1 || list.offset > 8 || list.reference < 1 || list.reference > 8 {
		return ""
	}
	tag, count, dict, ok := list.object(binary.BigEndian.Uint64(trailer[16:]))
	// A dictionary is all references to its keys, then all to its values.
	if !ok || tag != tagDict || count > uint64(len(dict)/(2*list.reference)) {
		return ""
	}
	n := int(count)
	for i := range n {
		if list.text(list.ref(dict, i), len("URL")) == "URL" {
			return list.text(list.ref(dict, n+i), len(data))
		}
	}
	return ""
}

// ref is the i-th reference of a container; the caller has checked that it is there.
func (l *binaryList) ref(container []byte, i int) uint64 {
	return bigEndian(container[i*l.reference:][:l.reference])
}

// object returns the tag of an object, its count, and what stands behind them.
func (l *binaryList) object(index uint64) (tag byte, count uint64, rest []byte, ok bool) {
	if index >= uint64(len(l.table)/l.offset) {
		return 0, 0, nil, false
	}
	at := bigEndian(l.table[int(index)*l.offset:][:l.offset])
	if at >= uint64(len(l.objects)) {
		return 0, 0, nil, false
	}
	tag, rest = l.objects[at], l.objects[at+1:]
	tag, count = tag&0xf0, uint64(tag&0x0f)
	if count < 0x0f {
		return tag, count, rest, true
	}
	// A count of 15 and more follows as an integer object of 1, 2, 4 or 8 bytes.
	if len(rest) < 1 || rest[0]&0xf0 != tagInteger || rest[0]&0x0f > 3 {
		return 0, 0, nil, false
	}
	width := 1 << (rest[0] & 0x0f)
	if len(rest) < 1+width {
		return 0, 0, nil, false
	}
	return tag, bigEndian(rest[1:][:width]), rest[1+width:], true
}

// text returns the string that is an object, and nothing where it is none or
// longer than limit characters. Without a limit, half a million keys that all
// refer to one long string would be half a million copies of it.
func (l *binaryList) text(index uint64, limit int) string {
	tag, count, rest, ok := l.object(index)
	if !ok || count > uint64(limit) {
		return ""
	}
	switch {
	case tag == tagASCII && count <= uint64(len(rest)):
		return string(rest[:count])
	case tag == tagUTF16 && count <= uint64(len(rest)/2):
		units := make([]uint16, count)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(rest[2*i:])
		}
		return string(utf16.Decode(units))
	}
	return ""
}

// bigEndian is the number in at most eight bytes.
func bigEndian(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
