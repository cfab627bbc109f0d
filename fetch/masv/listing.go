package masv

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxEntry bounds one entry of a listing, in bytes of JSON. (How deep one may
// nest is bounded by encoding/json.)
const maxEntry = 1 << 20

// maxEntries and maxListing bound a listing as a whole, which is recorded on
// this machine's disk while it arrives: to ten times what packages hold.
const (
	maxEntries = 10_000_000
	maxListing = 8 << 30 // bytes
)

// listing decodes a JSON array of entries as a stream. Its memory is that of
// one entry, however long the array is and whatever it holds.
type listing struct {
	in    *bounded
	dec   *json.Decoder
	begun bool
	count int // entries handed out
}

func newListing(r *bufio.Reader) *listing {
	in := &bounded{r: r}
	return &listing{in: in, dec: json.NewDecoder(in)}
}

// next returns the next entry, io.EOF after the last. Other errors are of
// encoding/json, errPage, a shapeError, or what reading gave.
func (l *listing) next() (Entry, error) {
	if !l.begun {
		if empty, err := l.begin(); err != nil {
			return Entry{}, err
		} else if empty {
			return Entry{}, io.EOF
		}
		l.begun = true
	}
	l.allow()
	if !l.dec.More() {
		if _, err := l.dec.Token(); err != nil {
			return Entry{}, midway(err)
		}
		return Entry{}, io.EOF
	}
	var e struct {
		ID            string `json:"id"`
		Kind          Kind   `json:"kind"`
		Name          string `json:"name"`
		Path          string `json:"path"`
		Size          int64  `json:"size"`
		LastModified  moment `json:"last_modified"`
		VirusDetected bool   `json:"virus_detected"`
	}
	if err := l.dec.Decode(&e); err != nil {
		return Entry{}, midway(err)
	}
	switch {
	case e.ID == "":
		return Entry{}, shapeError("has no id")
	case e.Size < 0:
		return Entry{}, shapeError("has a negative size")
	}
	if l.count++; l.count > maxEntries || l.in.read > maxListing {
		return Entry{}, shapeError("is one too many: no package has so many")
	}
	return Entry{e.ID, e.Kind, e.Name, e.Path, e.Size, e.LastModified.Time, e.VirusDetected}, nil
}

// place names for people what next has failed at.
func (l *listing) place() string {
	if !l.begun {
		return "the listing"
	}
	return fmt.Sprintf("entry %d of the listing", l.count+1)
}

// begin reads what opens the array. A null is how a server that holds no
// entries may write an empty one.
func (l *listing) begin() (empty bool, err error) {
	if l.in.page() {
		return false, errPage
	}
	l.allow()
	token, err := l.dec.Token()
	switch {
	case err != nil:
		return false, midway(err)
	case token == nil:
		return true, nil
	case token != json.Delim('['):
		return false, shapeError("is not an array")
	}
	return false, nil
}

// end reports what follows the array, if that is anything but its end. A
// connection that breaks here takes nothing away.
func (l *listing) end() error {
	l.allow()
	more := l.dec.More() // but for a closing bracket, which Token finds misplaced
	_, err := l.dec.Token()
	if _, misplaced := errors.AsType[*json.SyntaxError](err); more || misplaced {
		return shapeError("goes on after its end")
	}
	return nil
}

// allow lets the decoder read one entry's worth from where it stands.
func (l *listing) allow() { l.in.limit = l.dec.InputOffset() + maxEntry }

// midway makes an end that comes before the array's own unexpected.
func midway(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// bounded reads up to a limit that moves on with the entries.
type bounded struct {
	r           *bufio.Reader
	read, limit int64 // offsets from the beginning
}

func (b *bounded) Read(p []byte) (int, error) {
	room := b.limit - b.read
	if room <= 0 {
		return 0, shapeError("is longer than 1 MiB")
	}
	n, err := b.r.Read(p[:min(int64(len(p)), room)])
	b.read += int64(n)
	return n, err
}

// page reports whether a web page begins here. It takes white space away.
func (b *bounded) page() bool {
	for range maxEntry {
		c, err := b.r.ReadByte()
		if err != nil {
			return false // the decoder meets the same error
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			b.r.UnreadByte()
			return c == '<'
		}
	}
	return false
}
