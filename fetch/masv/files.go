package masv

import (
	"bufio"
	"context"
	"io"
	"iter"
	"strings"
	"time"
)

// Kind says what an Entry is. There may be kinds that are not known here.
type Kind string

// The kinds that make up a package.
const (
	KindFile      Kind = "file"
	KindDirectory Kind = "directory"
)

// Archive reports whether an entry of this kind is the package's content once
// more, packed: "zip_windows", "zip_mac" and their kin.
func (k Kind) Archive() bool { return strings.HasPrefix(string(k), "zip") }

// Entry is one entry of a package's listing, as the sender made it: nothing
// is known of it but that it has an ID and no negative size.
type Entry struct {
	ID            string
	Kind          Kind
	Name          string
	Path          string    // of the parent folder; empty: the top
	Size          int64     // bytes
	LastModified  time.Time // UTC; zero: unknown
	VirusDetected bool
}

// Files lists a package, entry by entry as they arrive. Each range over it is
// one call. An error comes last, with a zero Entry; entries before it count,
// but a listing that ended with an error is not whole. The consumer may take
// as long as it likes for an entry.
func (c *Client) Files(ctx context.Context, packageID string, token Secret) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		k, err := c.start(ctx, listingOf("list the files", packageID, token))
		if err != nil {
			yield(Entry{}, err)
			return
		}
		defer k.close()
		if k.isPage() {
			yield(Entry{}, k.fail(ErrUnavailable, errPage))
			return
		}
		k.silence.Stop()
		body := &patient{call: k}
		// A chunked body fills what it is read into before it returns, so a
		// large buffer would hold up the first entries of a listing.
		list := newListing(bufio.NewReaderSize(body, 4<<10))
		for {
			entry, err := list.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				yield(Entry{}, k.undecodable(list.place(), err))
				return
			}
			if k.caller.Err() != nil {
				yield(Entry{}, k.broken(nil))
				return
			}
			if !yield(entry, nil) {
				return
			}
		}
		// All of the list is there, so only what follows it can be wrong, and
		// the end of the body gets no more than one term to arrive.
		body.last = true
		k.silence.Reset(k.timeout)
		if err := list.end(); err != nil {
			yield(Entry{}, k.undecodable("the listing", err))
		}
	}
}

// listingOf is the request for a package's listing.
func listingOf(doing, packageID string, token Secret) request {
	return request{
		op:    doing + " of package " + clean(packageID),
		path:  []string{"packages", packageID, "files"},
		token: token,
	}
}

// patient reads the body of a call for as long as something arrives: each
// read has the call's time-out to itself, and the time between two reads,
// which is the consumer's, does not count.
type patient struct {
	call *call
	last bool // no: one time-out, running already, for all that is left
}

func (p *patient) Read(b []byte) (int, error) {
	if p.last {
		return p.call.resp.Body.Read(b)
	}
	p.call.silence.Reset(p.call.timeout)
	n, err := p.call.resp.Body.Read(b)
	p.call.silence.Stop()
	return n, err
}
