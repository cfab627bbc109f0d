package fetch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"masvfs/fetch/masv"
	"masvfs/fetch/pathname"
	"masvfs/fetch/store"
)

// firstBatch is how many entries of a listing are recorded in the first step,
// so that fetching can begin soon, and listBatch how many in later ones.
const firstBatch, listBatch = 32, 2000

// A listing is how far the recording of a package's files has come in one run.
type listing struct {
	access *access       // the files' too, or both would renew the same token
	ended  chan struct{} // closed when it is over
	err    error         // how, then

	mu    sync.Mutex
	grown chan struct{} // closed and replaced when more is recorded
}

// listing begins to record the package's files, unless that is done, and
// returns how to end that.
func (a *Agent) listing(ctx context.Context, d *download) (l *listing, end func()) {
	l = &listing{access: &access{agent: a, d: d}, ended: make(chan struct{}), grown: make(chan struct{})}
	if a.row(d).Listed {
		close(l.ended)
		return l, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(l.ended)
		l.err = a.list(ctx, d, l)
	}()
	return l, func() {
		cancel()
		<-l.ended
	}
}

// more tells those who wait for entries that there are some.
func (l *listing) more() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
}

// next returns what is closed when there is more than now.
func (l *listing) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grown
}

// over reports whether all is recorded, or never will be.
func (l *listing) over() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// wait returns when the listing is over.
func (l *listing) wait(ctx context.Context) error {
	select {
	case <-l.ended:
		return l.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// decides reports whether it takes the whole listing to know if anything of
// the package is to be fetched.
func decides(row store.Download) bool { return row.FileIDs != nil || row.RefuseQuarantine }

// list records the package's files. A listing that is cut off is asked for
// again; what was recorded of it stays.
func (a *Agent) list(ctx context.Context, d *download, l *listing) error {
	var missing map[string]bool
	err := a.persist(ctx, d, "listing", func() error {
		return l.access.with(ctx, func(packageID string, token masv.Secret) (err error) {
			missing, err = a.record(ctx, d, l, packageID, token)
			return err
		})
	})
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.As(err, new(*stopError)):
		return err
	case errors.Is(err, masv.ErrInvalid):
		return stop(CodeListingInvalid, true, err, "MASV's list of this package's files makes no sense (%v); resume to ask again.", err)
	case errors.Is(err, masv.ErrDenied), errors.Is(err, masv.ErrNotFound), errors.Is(err, masv.ErrSignIn):
		return stop(CodeListingRefused, true, err, "MASV refuses to list this package's files; resume to ask again, or ask the sender for a new link%s.", quoted(err))
	default:
		return err
	}
	for id := range missing {
		return stop(CodeUnknownFile, false, nil, "The package has no file %q, which file_ids names; delete the download and add the link again with the right ones.", id)
	}
	var totals store.Totals
	err = a.count(d, func() (_ store.Totals, err error) {
		totals, err = a.store.FinishListing(ctx, d.seq, func(folder, id int64) { a.appeared(d, folder, id, true) })
		return totals, err
	})
	if err != nil {
		return fmt.Errorf("finish listing: %w", err)
	}
	err = a.change(d, func(row *store.Download) error {
		row.Listed = true
		return nil
	})
	if err != nil {
		return err
	}
	a.log.Info("package listed", "download", d.id, "files", totals.Files, "bytes", totals.Bytes)
	return nil
}

// record streams the listing into the database. It returns the identifiers
// that were asked for and did not occur.
func (a *Agent) record(ctx context.Context, d *download, l *listing, packageID string, token masv.Secret) (missing map[string]bool, err error) {
	row := a.row(d)
	wanted := make(map[string]bool, len(row.FileIDs))
	for _, id := range row.FileIDs {
		wanted[id] = true
	}
	missing = make(map[string]bool, len(wanted))
	for id := range wanted {
		missing[id] = true
	}
	var batch []store.NewEntry
	enough := firstBatch
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := a.store.AddEntries(ctx, d.seq, a.cfg.Names, batch)
		batch = batch[:0]
		if err != nil {
			return fmt.Errorf("record listing: %w", err)
		}
		enough = min(4*enough, listBatch)
		l.more()
		return nil
	}
	var sum int64
	for entry, err := range a.cfg.Cloud.Files(ctx, packageID, token) {
		if err != nil {
			return nil, err
		}
		if entry.Kind != masv.KindDirectory && !entry.Kind.Archive() {
			delete(missing, entry.ID)
		}
		if entry.Kind.Archive() || len(wanted) > 0 && !wanted[entry.ID] {
			continue
		}
		if entry.VirusDetected && row.RefuseQuarantine {
			return nil, stop(CodeQuarantined, false, nil, "MASV warns of malware in this package, and bypass_package_quarantine is false; delete the download, or add the link with bypass_package_quarantine true to get the unaffected files.")
		}
		if entry.Size > math.MaxInt64-sum {
			return nil, stop(CodeListingInvalid, false, nil, "The package's files are larger together than any disk; ask the sender for a new link.")
		}
		sum += entry.Size
		batch = append(batch, newEntry(entry))
		if len(batch) >= enough {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return missing, flush()
}

// newEntry says how an entry of a listing is recorded.
func newEntry(e masv.Entry) store.NewEntry {
	folders, base := pathname.Split(e.Path, e.Name)
	n := store.NewEntry{
		FileID:  e.ID,
		Folders: folders,
		Base:    base,
		Dir:     e.Kind == masv.KindDirectory,
		Size:    e.Size,
		ModTime: e.LastModified,
	}
	switch {
	case n.Dir:
	case e.Kind != masv.KindFile:
		n.Skip, n.SkipMessage = string(CodeUnknownKind), fmt.Sprintf("MASV calls this entry a %q, which is not known here; it was skipped.", e.Kind)
	case e.VirusDetected:
		n.Skip, n.SkipMessage = string(CodeQuarantined), "MASV warns of malware in this file; it was skipped."
	}
	return n
}
