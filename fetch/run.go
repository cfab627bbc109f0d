package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"masvfs/fetch/dest"
	"masvfs/fetch/pathname"
	"masvfs/fetch/store"
	"masvfs/fetch/transfer"
)

// work takes a download as far as it goes: to its end, or to a problem, which
// becomes its state. Each step is remembered, so that the next run begins
// where this one ended.
func (a *Agent) work(ctx context.Context, d *download, r *run) {
	err := a.steps(ctx, d, r)
	if ctx.Err() != nil {
		// Stopped, by somebody or with the agent; what else is wrong shows next time.
		return
	}
	row := a.row(d)
	p := problemOf(err, row.DstFolder)
	if p == nil {
		return
	}
	a.fail(ctx, d, p, err)
}

func (a *Agent) steps(ctx context.Context, d *download, r *run) error {
	if err := a.resolve(ctx, d); err != nil {
		return err
	}
	if err := a.queue.wait(ctx, r.ticket); err != nil {
		return err
	}
	a.changed(d)
	listing, end := a.listing(ctx, d)
	defer end()
	if decides(a.row(d)) {
		if err := listing.wait(ctx); err != nil {
			return err
		}
	}
	tree, err := a.openTree(d)
	if lacksSpace(err) {
		// The package's size may count what is not fetched: the listing knows.
		if err := listing.wait(ctx); err != nil {
			return err
		}
		tree, err = a.openTree(d)
	}
	if err != nil {
		return err
	}
	defer a.closeTree(d, tree)
	if err := a.fetchFiles(ctx, d, tree, listing, r.ticket); err != nil {
		return err
	}
	return a.finish(ctx, d, tree)
}

func treeSpec(row store.Download) dest.Spec {
	return dest.Spec{
		ID:            row.ID,
		PackageFolder: !row.NoPackageFolder,
		Hidden:        row.Publish == string(PublishPackage),
		FinalFolder:   row.FinalFolder,
		UID:           row.UID,
		GID:           row.GID,
	}
}

// openTree opens the download's tree on disk, made if this is the first time.
func (a *Agent) openTree(d *download) (*dest.Tree, error) {
	tree, err := a.roomyTree(d)
	if err != nil {
		return nil, err
	}
	if err := a.place(d, tree); err != nil {
		tree.Close()
		return nil, err
	}
	a.mu.Lock()
	d.tree = tree
	a.mu.Unlock()
	return tree, nil
}

// roomyTree opens what the download has on disk, if there is room for the rest of it.
func (a *Agent) roomyTree(d *download) (*dest.Tree, error) {
	row := a.row(d)
	folder, err := a.openDestination(row)
	if err != nil {
		return nil, err
	}
	defer folder.Close() // a tree holds on to what it needs
	placed := ""
	if row.Placed {
		placed = row.Folder
	}
	tree, err := folder.Tree(treeSpec(row), placed)
	if err != nil {
		return nil, err
	}
	if err := a.checkSpace(d, folder, tree); err != nil {
		tree.Close()
		return nil, err
	}
	return tree, nil
}

// openDestination opens the destination folder. It is made the first time
// only: where a download has data already, its disk may just be away.
func (a *Agent) openDestination(row store.Download) (*dest.Folder, error) {
	if row.Placed {
		return a.roots.Existing(row.DstFolder)
	}
	return a.roots.Open(row.DstFolder)
}

func (a *Agent) closeTree(d *download, tree *dest.Tree) {
	// Pieces still on their way to their names must not find it closed.
	if err := a.committer.Drain(context.Background(), tree); err != nil {
		a.log.Error("finished files cannot be placed", "download", d.id, "error", err)
	}
	a.mu.Lock()
	d.tree = nil
	a.mu.Unlock()
	tree.Close()
}

// place makes the package folder, unless it is there, and remembers that the
// destination is in use.
func (a *Agent) place(d *download, tree *dest.Tree) error {
	row := a.row(d)
	if row.Placed {
		return nil
	}
	if row.NoPackageFolder {
		return a.change(d, func(row *store.Download) error {
			row.Placed = true
			return nil
		})
	}
	folder, err := tree.Place(row.Folder, a.candidate(row), func(name string) error {
		return a.change(d, func(row *store.Download) error {
			row.Folder = name
			return nil
		})
	})
	if err != nil {
		return err
	}
	return a.change(d, func(row *store.Download) error {
		row.Folder, row.Placed = folder, true
		return nil
	})
}

// publish gives a hidden package folder its final name.
func (a *Agent) publish(d *download, tree *dest.Tree) error {
	row := a.row(d)
	if row.FinalFolder != "" && row.Folder == row.FinalFolder {
		return nil
	}
	folder, err := tree.Publish(row.FinalFolder, a.candidate(row), func(name string) error {
		return a.change(d, func(row *store.Download) error {
			row.FinalFolder = name
			return nil
		})
	})
	if err != nil {
		return err
	}
	return a.change(d, func(row *store.Download) error {
		row.Folder, row.FinalFolder = folder, folder
		return nil
	})
}

// candidate returns the names that the package folder may have, best first.
func (a *Agent) candidate(row store.Download) func(n int) string {
	name := pathname.CleanDownload(row.PackageName, a.cfg.Names)
	return func(n int) string {
		if n == 1 {
			return name
		}
		return pathname.Numbered(name, n, true)
	}
}

// makeFolders makes the empty folders of the package.
func (a *Agent) makeFolders(ctx context.Context, seq int64, tree *dest.Tree) error {
	for after := int64(0); ; {
		folders, err := a.store.Folders(ctx, seq, after, page)
		if err != nil {
			return err
		}
		for _, f := range folders {
			after = f.ID
			if !f.Visible {
				continue
			}
			err := tree.Mkdir(path.Join(f.Folder, f.Name))
			if errors.Is(err, dest.ErrInTheWay) {
				// It stays what it is; files that need the folder say so themselves.
				a.log.Warn("empty folder cannot be made", "download seq", seq, "error", err)
				continue
			}
			if err != nil {
				return err
			}
		}
		if len(folders) < page {
			return nil
		}
	}
}

// checkSpace compares what d still needs with what its disk has free.
func (a *Agent) checkSpace(d *download, folder *dest.Folder, tree *dest.Tree) error {
	a.mu.Lock()
	left := d.left()
	a.mu.Unlock()
	need, err := needs(left, tree)
	if err != nil || need <= 0 {
		return err
	}
	space, err := folder.Space()
	if err != nil {
		return err
	}
	promised, err := a.promised(d, tree.Device())
	if err != nil {
		return err
	}
	reserve := a.cfg.Reserve.Of(space)
	if need+promised > space.Free-reserve {
		return noSpace(folder.Path(), need+promised, space.Free, reserve)
	}
	return nil
}

// left returns how many bytes of finished files are still to come, going by
// the package's size until all of them are known; Agent.mu is held.
func (d *download) left() int64 {
	total := d.totals.Bytes
	if !d.row.Listed && d.row.FileIDs == nil {
		total = max(total, d.row.PackageSize)
	}
	return total - d.totals.BytesDone
}

// needs returns how many bytes of the disk a download that has so many left
// will still take: what its partial files hold is taken already.
func needs(left int64, tree *dest.Tree) (int64, error) {
	if left == 0 {
		return 0, nil
	}
	claimed, err := tree.Claimed()
	return max(0, left-claimed), err
}

// promised returns what other downloads onto the same disk, which run already,
// will still take.
func (a *Agent) promised(d *download, device uint64) (int64, error) {
	type other struct {
		left int64
		tree *dest.Tree
	}
	var others []other
	a.mu.Lock()
	for _, o := range a.order {
		if o != d && o.tree != nil && o.tree.Device() == device {
			others = append(others, other{o.left(), o.tree})
		}
	}
	a.mu.Unlock()
	var sum int64
	for _, o := range others {
		need, err := needs(o.left, o.tree)
		if errors.Is(err, fs.ErrClosed) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return 0, err
		}
		sum += need
	}
	return sum, nil
}

// fetchFiles fetches all files that are not there yet, and places them. It
// begins with those that are listed.
func (a *Agent) fetchFiles(ctx context.Context, d *download, tree *dest.Tree, listing *listing, ticket *ticket) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := newFeed(a, d, tree, listing, cancel)
	row := a.row(d)
	prepared := make(chan struct{})
	go func() {
		defer close(prepared)
		if err := a.prepare(ctx, d, tree, listing, row.Listed); err != nil {
			cancel(err)
		}
	}()
	err := a.engine.Run(ctx, transfer.Job{Name: d.id, Priority: row.Priority, Supply: f})
	d.arrival.idle()
	if err != nil {
		cancel(err)
	}
	<-prepared
	if err == nil {
		a.queue.leave(ticket) // while the disk is at the last flush, the line is another's
	}
	if drained := a.committer.Drain(context.Background(), tree); err == nil {
		err = drained
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// prepare does what takes the whole listing: it makes the empty folders, and
// looks whether there is room for what the listing turned out to hold.
func (a *Agent) prepare(ctx context.Context, d *download, tree *dest.Tree, listing *listing, checked bool) error {
	if err := listing.wait(ctx); err != nil {
		return err
	}
	if err := a.makeFolders(ctx, d.seq, tree); err != nil || checked {
		return err
	}
	folder, err := a.openDestination(a.row(d))
	if err != nil {
		return err
	}
	defer folder.Close()
	return a.checkSpace(d, folder, tree)
}

// finish makes a download whose files are all there complete.
func (a *Agent) finish(ctx context.Context, d *download, tree *dest.Tree) error {
	a.mu.Lock()
	totals := d.totals
	a.mu.Unlock()
	if totals.FilesFailed > 0 {
		return a.filesFailed(ctx, d, totals)
	}
	if totals.FilesDone != totals.Files {
		return fmt.Errorf("%d of %d files are there after all were fetched", totals.FilesDone, totals.Files)
	}
	// What is complete is found under its path, not only in what was opened.
	folder, err := a.openDestination(a.row(d))
	if err != nil {
		return err
	}
	err = tree.In(folder)
	folder.Close()
	if err != nil {
		return err
	}
	if a.row(d).Publish == string(PublishPackage) {
		if err := a.publish(d, tree); err != nil {
			return err
		}
	}
	if err := tree.Discard(); err != nil {
		return err
	}
	a.hub.await(ctx, d)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.mu.Lock()
	d.tries = 0
	a.mu.Unlock()
	err = a.change(d, func(row *store.Download) error {
		row.State = string(Complete)
		row.CompletedAt = time.Now()
		// Nothing will be asked of the cloud again.
		row.LinkSecret, row.Password, row.Token = "", "", ""
		return nil
	})
	if err != nil {
		return err
	}
	if err := a.store.Scrub(ctx); err != nil {
		a.log.Warn("secrets that are no longer needed may still be in the database's log", "error", err)
	}
	return nil
}

// filesFailed says which files a download could not get.
func (a *Agent) filesFailed(ctx context.Context, d *download, totals store.Totals) error {
	first, err := a.store.FirstFailed(ctx, d.seq)
	if err != nil {
		return err
	}
	return stop(CodeFilesFailed, true, nil, "%d of %d files could not be downloaded, among them %s: %s Resume to try them again.",
		totals.FilesFailed, totals.Files, printable(path.Join(first.Folder, first.Name)), first.Message)
}
