package fetch

import (
	"context"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"masvfs/fetch/dest"
	"masvfs/fetch/masv"
	"masvfs/fetch/store"
)

// download is a download as the agent holds it in memory.
type download struct {
	id  string
	seq int64

	op       sync.Mutex // one pause, resume or delete at a time
	changing sync.Mutex // one change of the row at a time, while it is stored

	// Guarded by Agent.mu.
	row      store.Download
	totals   store.Totals
	run      *run          // the work on it, nil if there never was any
	tree     *dest.Tree    // open while it is worked on
	tries    int           // failures in a row that time may mend
	pkg      *masv.Package // the answer of the link call, while it cannot be stored
	deleting *deleting     // nil: it is not being deleted just now
	mending  bool          // somebody looks whether it can be tried again
	placed   time.Time     // when something last appeared at the root of the tree, since the program started

	arrival arrival
	meter   meter
}

// run is one stretch of work on a download.
type run struct {
	cancel context.CancelCauseFunc
	ended  chan struct{}
	ticket *ticket
}

// over reports whether the run has ended.
func (r *run) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

func newDownload(row store.Download) *download {
	d := &download{id: row.ID, seq: row.Seq, row: row, totals: row.Totals}
	d.row.Totals = store.Totals{}
	return d
}

// snapshot tells what there is to know of d; Agent.mu is held.
func (d *download) snapshot(position int) Download {
	r := &d.row
	s := Download{
		ID:            d.id,
		Seq:           d.seq,
		Name:          r.Name,
		Link:          masv.Link{ID: r.LinkID, Secret: r.LinkSecret},
		State:         State(r.State),
		DstFolder:     r.DstFolder,
		BytesDone:     d.totals.BytesDone,
		BytesTotal:    d.totals.Bytes,
		FilesDone:     d.totals.FilesDone,
		FilesTotal:    d.totals.Files,
		ETA:           -1,
		Priority:      r.Priority,
		CreatedAt:     r.CreatedAt,
		UpdatedAt:     r.UpdatedAt,
		CompletedAt:   r.CompletedAt,
		ExpiresAt:     r.ExpiresAt,
		SenderEmail:   r.SenderEmail,
		Path:          d.path(),
		QueuePosition: 0,
	}
	if !r.Listed && r.FileIDs == nil {
		s.BytesTotal = r.PackageSize
	}
	if r.Code != "" {
		s.Problem = &Problem{Code: Code(r.Code), Message: r.Message, Recoverable: r.Recoverable, RetryAt: r.RetryAt}
	}
	if s.State == Complete {
		return s
	}
	arrived, moved := d.arrival.sum()
	s.BytesDone += arrived
	if moved.After(s.UpdatedAt) {
		s.UpdatedAt = moved
	}
	if s.State == Transferring {
		s.QueuePosition = position
		s.BytesPerSecond = d.meter.rate()
		if left := s.BytesTotal - s.BytesDone; r.Listed && s.BytesPerSecond > 0 {
			s.ETA = time.Duration(float64(left) / float64(s.BytesPerSecond) * float64(time.Second))
		}
	}
	return s
}

// path returns the absolute folder that holds the tree, or "" before it is chosen; Agent.mu is held.
func (d *download) path() string {
	switch {
	case d.row.NoPackageFolder:
		return d.row.DstFolder
	case d.row.Placed:
		return filepath.Join(d.row.DstFolder, d.row.Folder)
	default:
		return ""
	}
}

// rootModTime returns when something last appeared at the root of the tree, as
// far as that is known; Agent.mu is held.
func (d *download) rootModTime() time.Time {
	switch {
	case !d.placed.IsZero():
		return d.placed
	case !d.row.CompletedAt.IsZero():
		return d.row.CompletedAt
	}
	return d.row.CreatedAt
}

// arrival counts the bytes of files that are not complete yet. The zero value
// is ready; it is safe for concurrent use.
type arrival struct {
	mu    sync.Mutex
	bytes map[int64]int64 // by file; only of those with a partial file
	open  map[int64]bool  // files that are being fetched
	total int64
	moved time.Time // when bytes last arrived
}

// set says that n bytes of a file are there.
func (a *arrival) set(file, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(file, n)
}

func (a *arrival) setLocked(file, n int64) {
	if a.bytes == nil {
		a.bytes = make(map[int64]int64)
	}
	a.total += n - a.bytes[file]
	if n == 0 {
		delete(a.bytes, file)
	} else {
		a.bytes[file] = n
	}
}

// add says that delta more bytes of a file are there.
func (a *arrival) add(file, delta int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(file, a.bytes[file]+delta)
	a.moved = time.Now()
}

// fetching says whether a file is being fetched.
func (a *arrival) fetching(file int64, yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !yes {
		delete(a.open, file)
		return
	}
	if a.open == nil {
		a.open = make(map[int64]bool)
	}
	a.open[file] = true
}

// idle says that no file is being fetched any more.
func (a *arrival) idle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.open)
}

// forget drops files that are complete or have nothing left.
func (a *arrival) forget(file int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(file, 0)
	delete(a.open, file)
}

func (a *arrival) sum() (bytes int64, moved time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total, a.moved
}

// files returns what is there of each file that is not complete, and which are being fetched.
func (a *arrival) files() (bytes map[int64]int64, open map[int64]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.bytes), maps.Clone(a.open)
}
