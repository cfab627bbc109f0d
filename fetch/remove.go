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
func (a *Agent) Delete(ctx context.Context, id string, removeFiles bool) error {
	d, err := a.find(id)
	if err != nil {
		return err
	}
	d.op.Lock()
	defer d.op.Unlock()
	err = a.change(d, func(row *store.Download) error {
		if row.Deleting {
			return ErrNotFound
		}
		row.Deleting, row.RemoveFiles = true, removeFiles
		return nil
	})
	if err != nil {
		return err
	}
	a.hub.tell(Event{Kind: Removed, ID: d.id, Seq: d.seq, Name: a.row(d).Name})
	if err := a.halt(ctx, d); err != nil {
		a.goDo(func() { a.finishDelete(d) })
		return fmt.Errorf("delete download %s: it is being stopped: %w", d.id, err)
	}
	return a.delete(d)
}

// finishDelete goes on with a deletion that was cut short.
func (a *Agent) finishDelete(d *download) {
	d.op.Lock()
	defer d.op.Unlock()
	if a.halt(a.ctx, d) != nil {
		return
	}
	if err := a.delete(d); err != nil {
		a.log.Error("download cannot be deleted; the next start tries again", "download", d.id, "error", err)
	}
}

// delete removes what is on disk, then the rows. It does so to the end, even
// if whoever asked is gone by now.
func (a *Agent) delete(d *download) error {
	ctx := context.Background()
	if err := a.clearDisk(ctx, d); err != nil {
		return fmt.Errorf("delete download %s: %w", d.id, err)
	}
	if err := a.store.Delete(ctx, d.seq); err != nil {
		return fmt.Errorf("delete download %s: %w", d.id, err)
	}
	a.mu.Lock()
	a.removeLocked(d)
	a.mu.Unlock()
	a.log.Info("download deleted", "download", d.id)
	return nil
}

// clearDisk removes what a deleted download has on disk.
func (a *Agent) clearDisk(ctx context.Context, d *download) error {
	a.mu.Lock()
	row := d.row
	kept := d.totals.FilesDone
	a.mu.Unlock()
	if row.State == string(Complete) && !row.RemoveFiles {
		return nil
	}
	folder, err := a.roots.Existing(row.DstFolder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is nothing left to remove
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	placed := row.Folder
	if !row.Placed {
		placed = ""
	}
	tree, err := folder.Tree(treeSpec(row), placed)
	if errors.Is(err, dest.ErrMissing) {
		// Somebody has taken the package folder away, with what was in it.
		kept = 0
		tree, err = folder.Tree(treeSpec(row), "")
	}
	if err != nil {
		return err
	}
	defer tree.Close()
	if row.Folder != "" && !row.Placed {
		// An end of the program may have left the folder under a name that is
		// recorded but not confirmed; placing it finds out.
		if err := a.place(d, tree); err != nil {
			return err
		}
		row = a.row(d)
	}
	if row.RemoveFiles {
		if err := a.removeFiles(ctx, tree, row); err != nil {
			return err
		}
	} else if row.Placed && row.Publish == string(PublishPackage) && kept > 0 {
		// What is kept is to be found under a name that people can see.
		if err := a.publish(d, tree); err != nil {
			return err
		}
	}
	if row.Placed && !row.NoPackageFolder {
		if err := tree.RemoveRoot(); err != nil {
			return err
		}
	}
	return tree.Discard()
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
