package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"masvfs/fetch/dest"
	"masvfs/fetch/store"
)

// page is how many rows of a download's files are looked at in one step.
const page = 1000

// Delete forgets a download: it leaves lists and mount at once, its partial
// data goes, and with removeFiles its finished files too. It returns when all
// that is done; what an end of the program cuts short, the next start finishes.
// ErrHangs is that the disk does not answer: it is done once it does.
func (a *Agent) Delete(ctx context.Context, id string, removeFiles bool) error {
	a.mu.Lock()
	d, ok := a.downloads[id]
	a.mu.Unlock()
	if !ok {
		return ErrNotFound
	}
	if err := a.markDeleted(d, removeFiles); err != nil {
		return err
	}
	x := a.deletion(d)
	if err := a.watch(ctx, a.row(d).DstFolder, x.ended); err != nil {
		return fmt.Errorf("delete download %s: %w", d.id, err)
	}
	return x.err
}

// markDeleted has a download leave lists and mount.
func (a *Agent) markDeleted(d *download, removeFiles bool) error {
	d.op.Lock()
	defer d.op.Unlock()
	if a.ctx.Err() != nil {
		return ErrClosed
	}
	err := a.change(d, func(row *store.Download) error {
		if row.Deleting {
			return errUnchanged // what was begun before and failed, once more
		}
		row.Deleting, row.RemoveFiles = true, removeFiles
		return nil
	})
	if err == errUnchanged {
		return nil
	}
	if err != nil {
		return err
	}
	row := a.row(d)
	a.hub.tell(Event{Kind: Removed, ID: d.id, Seq: d.seq, Name: row.Name, State: State(row.State), Was: State(row.State)})
	return nil
}

// delete removes what is on disk, then the rows. It does so to the end, even
// if whoever asked is gone by now.
func (a *Agent) delete(d *download) error {
	ctx := context.Background()
	switch cleared, err := a.clearDisk(ctx, d); {
	case err != nil:
		return fmt.Errorf("delete download %s: %w", d.id, err)
	case !cleared:
		return nil
	}
	if err := a.store.Delete(ctx, d.seq); err != nil {
		return fmt.Errorf("delete download %s: %w", d.id, err)
	}
	a.mu.Lock()
	a.removeLocked(d)
	a.mu.Unlock()
	if err := a.store.Scrub(ctx); err != nil {
		a.log.Warn("secrets that are no longer needed may still be in the database's log", "error", err)
	}
	a.log.Info("download deleted", "download", d.id)
	return nil
}

// clearDisk removes what a deleted download has on disk. It reports false if
// the disk is away: then the download is gone for everybody to see, and the
// rest is removed once the disk is back.
func (a *Agent) clearDisk(ctx context.Context, d *download) (cleared bool, err error) {
	row := a.row(d)
	if row.State == string(Complete) && !row.RemoveFiles {
		return true, nil
	}
	if !row.Placed && row.Folder == "" {
		return true, nil // it has never come as far as the disk
	}
	folder, err := a.roots.Existing(row.DstFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer folder.Close()
	placed := row.Folder
	if !row.Placed {
		placed = ""
	}
	tree, err := folder.Tree(treeSpec(row), placed)
	if errors.Is(err, dest.ErrMissing) {
		// Somebody has taken the package folder away, with what was in it.
		tree, err = folder.Tree(treeSpec(row), "")
		if err != nil {
			return false, err
		}
		defer tree.Close()
		return true, tree.Discard()
	}
	if err != nil {
		return false, err
	}
	defer tree.Close()
	// An end of the program may have left things under names that are
	// recorded but not confirmed: the package folder, and files.
	if err := a.place(d, tree); err != nil {
		return false, err
	}
	if err := a.confirmFiles(ctx, d, tree); err != nil {
		return false, err
	}
	a.mu.Lock()
	kept := d.totals.FilesDone
	a.mu.Unlock()
	if row.RemoveFiles {
		if err := a.removeFiles(ctx, tree, row); err != nil {
			return false, err
		}
	} else if row.Publish == string(PublishPackage) && kept > 0 {
		// What is kept is to be found under a name that people can see.
		if err := a.publish(d, tree); err != nil {
			return false, err
		}
	}
	if !row.NoPackageFolder {
		if err := tree.RemoveRoot(); err != nil {
			return false, err
		}
	}
	return true, tree.Discard()
}

// confirmFiles makes files complete that had got their names when the program
// ended, and were recorded as whole only.
func (a *Agent) confirmFiles(ctx context.Context, d *download, tree *dest.Tree) error {
	f := newFeed(a, d, tree, nil, func(error) {})
	for after := int64(0); ; {
		entries, err := a.store.Pending(ctx, d.seq, after, page)
		if err != nil {
			return err
		}
		for _, e := range entries {
			after = e.ID
			if e.State != store.Whole {
				continue
			}
			piece := f.piece(e)
			found, err := tree.Recover(piece)
			if found == dest.PartialThere {
				err = errors.Join(err, piece.Partial.Close())
			}
			if err == nil && found == dest.AlreadyPlaced {
				a.expect(f, piece)
				err = journal{a}.Placed(ctx, []*dest.Piece{piece})
			}
			if err != nil {
				return err
			}
		}
		if len(entries) < page {
			return nil
		}
	}
}

// removeFiles removes the finished files of a download, then the folders that this leaves empty.
func (a *Agent) removeFiles(ctx context.Context, tree *dest.Tree, row store.Download) error {
	for after := int64(0); ; {
		files, err := a.store.Files(ctx, row.Seq, after, page)
		if err != nil {
			return err
		}
		for _, f := range files {
			after = f.ID
			if f.State != store.Complete {
				continue
			}
			if err := tree.Remove(path.Join(f.Folder, f.Name)); err != nil {
				return err
			}
		}
		if len(files) < page {
			break
		}
	}
	if row.NoPackageFolder {
		return nil // whose the folders are that stood there before cannot be told
	}
	// A folder is recorded before those in it, so backwards is inside out.
	var folders []string
	for after := int64(0); ; {
		some, err := a.store.Folders(ctx, row.Seq, after, page)
		if err != nil {
			return err
		}
		for _, f := range some {
			after = f.ID
			if f.Visible {
				folders = append(folders, path.Join(f.Folder, f.Name))
			}
		}
		if len(some) < page {
			break
		}
	}
	for _, f := range slices.Backward(folders) {
		if err := tree.Remove(f); err != nil {
			return err
		}
	}
	return nil
}
