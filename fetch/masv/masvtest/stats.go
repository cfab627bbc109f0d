package masvtest

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Stats are what a server was asked for and what it served, up to now.
type Stats struct {
	Link, Listing, FileURL, Storage, Other CallStats

	API, Objects ConnStats // the connections of the two listeners

	// Served is how many bytes of content went out to clients, Twice how many
	// of them had gone out before. Bytes count when they are about to be given
	// to the kernel, so that whoever has received them finds them counted; a
	// client that is killed or hangs up has received up to some MiB less per
	// connection.
	Served, Twice int64

	// Leaks counts storage requests that carried what only the API may see;
	// Leaked names the headers and query parameters, sorted.
	Leaks  int64
	Leaked []string
}

// CallStats are the calls of one kind.
type CallStats struct {
	Calls  int64
	Status map[int]int64 // answers by status; 0: ended before there was one
}

// ConnStats are the connections of one listener.
type ConnStats struct {
	Open     int   // now
	Peak     int   // at once
	Accepted int64 // in all, those reset during an outage too
}

// LinkStats are the calls for one link.
type LinkStats struct {
	Calls     int // of the link
	Initiated int // those that were answered with the package: what the access limit counts
	Listings  int
}

// FileStats are the calls for one file.
type FileStats struct {
	URLs     int // calls for its storage URL
	Requests int // to the storage
	Served   int64
	Twice    int64 // as in Stats, by offset, whatever the object's version; a lower bound if there were hundreds of gaps
}

// Stats returns a snapshot.
func (s *Server) Stats() Stats {
	stats := s.counts.snapshot()
	stats.API, stats.Objects = s.api.listener.connStats(), s.storage.listener.connStats()
	return stats
}

// LinkStats returns a snapshot for one link.
func (s *Server) LinkStats(link Link) LinkStats {
	sh := s.shared(link)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return LinkStats{Calls: sh.stats.links, Initiated: sh.stats.initiated, Listings: sh.stats.listings}
}

// FileStats returns a snapshot for file i of a package.
func (s *Server) FileStats(link Link, i int) FileStats {
	sh := s.shared(link)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	page := sh.stats.pages[i/filesPerPage]
	if page == nil {
		return FileStats{}
	}
	f := &page[i%filesPerPage]
	return FileStats{URLs: int(f.urls), Requests: int(f.requests), Served: f.served, Twice: f.twice}
}

// counts are the sums over the whole server.
type counts struct {
	served, twice atomic.Int64

	mu     sync.Mutex // guards what follows
	calls  [CallOther + 1]CallStats
	leaks  int64
	leaked map[string]bool
}

func (c *counts) called(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[call].Calls++
}

func (c *counts) status(call Call, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := &c.calls[call]
	if stats.Status == nil {
		stats.Status = map[int]int64{}
	}
	stats.Status[status]++
}

func (c *counts) leak(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaks++
	if c.leaked == nil {
		c.leaked = map[string]bool{}
	}
	for _, name := range names {
		c.leaked[name] = true
	}
}

func (c *counts) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	for i := range calls {
		calls[i].Status = maps.Clone(calls[i].Status)
	}
	return Stats{
		Link: calls[CallLink], Listing: calls[CallListing], FileURL: calls[CallFileURL],
		Storage: calls[CallStorage], Other: calls[CallOther],
		Served: c.served.Load(), Twice: c.twice.Load(),
		Leaks: c.leaks, Leaked: slices.Sorted(maps.Keys(c.leaked)),
	}
}

// packageStats are the counts of one package, guarded by its mutex.
type packageStats struct {
	links, initiated, listings int
	pages                      map[int]*[filesPerPage]fileCounts // of the files that were touched
}

const filesPerPage = 64

// fileCounts are kept small: there may be a million.
type fileCounts struct {
	urls, requests int32
	served, twice  int64
	spans          *spans // served so far; nil: nothing, or see once
	once           bool   // every byte was served: all further ones are repetitions
	lost           bool   // too many spans: served beyond the size are repetitions
}

// called counts a call for the link or the listing and returns how many there were.
func (sh *shared) called(call Call) int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n := &sh.stats.links
	if call == CallListing {
		n = &sh.stats.listings
	}
	*n++
	return *n
}

// fileCalled does the same for a call for file i.
func (sh *shared) fileCalled(i int, call Call) int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f := sh.stats.file(i)
	n := &f.urls
	if call == CallStorage {
		n = &f.requests
	}
	*n++
	return int(*n)
}

// served counts n bytes of file i, of that size, that went out from offset on,
// and returns how many of them had gone out before.
func (sh *shared) served(i int, offset, n, size int64) (twice int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	f := sh.stats.file(i)
	n = min(n, size-offset) // a fault may send more than there is
	if n <= 0 {
		return 0
	}
	switch {
	case f.once:
		twice = n
	case f.lost:
		twice = min(n, max(0, f.served+n-size-f.twice))
	default:
		if f.spans == nil {
			f.spans = new(spans)
		}
		twice = f.spans.add(offset, offset+n)
		if (*f.spans)[0] == (span{0, size}) {
			f.spans, f.once = nil, true
		} else if len(*f.spans) > maxSpans {
			f.spans, f.lost = nil, true
		}
	}
	f.served += n
	f.twice += twice
	return twice
}

func (p *packageStats) file(i int) *fileCounts {
	page := p.pages[i/filesPerPage]
	if page == nil {
		if p.pages == nil {
			p.pages = map[int]*[filesPerPage]fileCounts{}
		}
		page = new([filesPerPage]fileCounts)
		p.pages[i/filesPerPage] = page
	}
	return &page[i%filesPerPage]
}
