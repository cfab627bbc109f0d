package dest

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A note beside a partial file says what was written to it, flushed or not.
// It costs no flush, since it is worth something only as long as the page
// cache that took the bytes lives: the end of a program does not touch it,
// the end of the machine does, and so may a disk that is pulled out and put
// back. So the note bears the identifiers of the boot (random(4)) and of the
// mount (statx(2), STATX_MNT_ID_UNIQUE), and any other's is not believed.
// Where the kernel does not tell them, nothing is noted.

// noteName is what a partial file's note is called.
func noteName(id int64) string { return strconv.FormatInt(id, 10) + ".note" }

// bootID identifies the time since the machine started; "" where that cannot be told.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})

// findInstance identifies the page cache that takes what is written to the tree, as
// long as the tree is open; "" where that cannot be told.
func (t *Tree) findInstance() string {
	boot, mount := bootID(), mountID(t.parent.file)
	if !t.traits.local || boot == "" || mount == "" {
		return ""
	}
	return boot + "/" + mount
}

// maxNote bounds what is read of a note, in bytes.
const maxNote = 1 << 20

// Note remembers b, which says what WriteAt has taken so far, for a program
// that comes after this one while the machine runs on. It replaces the note
// before it. It is not worth an error: without a note, what was not flushed
// is fetched again.
func (p *Partial) Note(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	instance := p.tree.instance()
	if instance == "" || p.failed != nil {
		return
	}
	if p.note == nil {
		f, err := openRegular(p.work, noteName(p.id), os.O_RDWR)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = p.work.root.OpenFile(noteName(p.id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		}
		if err != nil {
			return
		}
		p.note = f
	}
	_, _ = p.note.WriteAt(encodeNote(instance, b), 0)
}

// encodeNote is what stands in the file. Its parts are checked together: a
// write may be cut short.
func encodeNote(instance string, b []byte) []byte {
	out := make([]byte, 4, 4+1+len(instance)+binary.MaxVarintLen64+len(b))
	out = append(out, byte(len(instance)))
	out = append(out, instance...)
	out = binary.AppendUvarint(out, uint64(len(b)))
	out = append(out, b...)
	binary.BigEndian.PutUint32(out, crc32.ChecksumIEEE(out[4:]))
	return out
}

// Noted returns what was noted last of a partial file that was opened again,
// nil if there is nothing to be believed.
func (p *Partial) Noted() []byte { return p.noted }

// readNote returns what a note of this boot and mount says, or nil.
func (t *Tree) readNote(work *dir, id int64) []byte {
	instance := t.instance()
	if instance == "" {
		return nil
	}
	f, err := openRegular(work, noteName(id), os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() > maxNote {
		return nil
	}
	data := make([]byte, info.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil
	}
	return decodeNote(data, instance)
}

// decodeNote returns what a note says that is of that boot and mount, or nil.
func decodeNote(data []byte, instance string) []byte {
	head := 4 + 1 + len(instance)
	if len(data) <= head || data[4] != byte(len(instance)) || string(data[5:head]) != instance {
		return nil
	}
	length, n := binary.Uvarint(data[head:])
	if n <= 0 || length > uint64(len(data)-head-n) {
		return nil
	}
	// What lies behind is left of a longer note before it.
	end := head + n + int(length)
	if binary.BigEndian.Uint32(data) != crc32.ChecksumIEEE(data[4:end]) {
		return nil
	}
	return data[head+n : end]
}

// dropNote removes the note: it no longer says what is there.
func (p *Partial) dropNote() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.note != nil || p.noted != nil {
		p.work.root.Remove(noteName(p.id))
	}
}
