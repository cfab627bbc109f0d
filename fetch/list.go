package fetch

import (
	"context"
	"errors"
	"fmt"
	"math"

	"masvfs/fetch/masv"
	"masvfs/fetch/pathname"
	"masvfs/fetch/store"
)

// listBatch is how many entries of a listing are recorded in one step.
const listBatch = 2000

// list records the package's files, unless that is done. A listing that is
// cut off is asked for again; what was recorded of it stays.
func (a *Agent) list(ctx context.Context, d *download) error {
	if a.row(d).Listed {
		return nil
	}
	x := &access{agent: a, d: d}
	var missing map[string]bool
	err := a.persist(ctx, d, "listing", func() error {
		return x.with(ctx, func(packageID string, token masv.Secret) (err error) {
			missing, err = a.record(ctx, d, packageID, token)
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
func (a *Agent) record(ctx context.Context, d *download, packageID string, token masv.Secret) (missing map[string]bool, err error) {
	row := a.row(d)
	wanted := make(map[string]bool, len(row.FileIDs))
	for _, id := range row.FileIDs {
		wanted[id] = true
	}
	missing = make(map[string]bool, len(wanted))
	for id := range wanted {
		missing[id] = true
	}
	batch := make([]store.NewEntry, 0, listBatch)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := a.store.AddEntries(ctx, d.seq, a.cfg.Names, batch)
		batch = batch[:0]
		if err != nil {
			return fmt.Errorf("record listing: %w", err)
		}
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
		if len(batch) == listBatch {
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
