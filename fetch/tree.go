package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"

	"masvfs/fetch/dest"
	"masvfs/fetch/store"
)

// Files returns every file of a download, in the order of the listing.
func (a *Agent) Files(ctx context.Context, id string) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		d, err := a.find(id)
		if err != nil {
			yield(File{}, err)
			return
		}
		// Whoever is slow to take them holds no more of them than this.
		const some = 100
		for after := int64(0); ; {
			entries, err := a.store.Files(ctx, d.seq, after, some)
			if err != nil {
				yield(File{}, err)
				return
			}
			arrived, open := d.arrival.files()
			for _, e := range entries {
				after = e.ID
				if !yield(file(e, arrived, open), nil) {
					return
				}
			}
			if len(entries) < some {
				return
			}
		}
	}
}

// file shows an entry of the database with what is known of it now.
func file(e store.Entry, arrived map[int64]int64, open map[int64]bool) File {
	f := File{ID: e.FileID, Path: path.Join(e.Folder, e.Name), OriginalPath: e.Original, Size: e.Size}
	if e.Code != "" {
		f.Problem = &Problem{Code: Code(e.Code), Message: e.Message, Recoverable: e.Recoverable}
	}
	switch e.State {
	case store.Complete:
		f.State, f.BytesDone = FileComplete, e.Size
	case store.Skipped:
		f.State = FileSkipped
	case store.Failed:
		f.State, f.BytesDone = FileFailed, arrived[e.ID]
	default:
		f.State, f.BytesDone = FilePending, arrived[e.ID]
		if open[e.ID] || e.State == store.Whole {
			f.State = FileTransferring
		}
	}
	return f
}

// Lookup finds a finished file or a folder by its name in a folder, of which
// ID and, where that is 0, Seq must be known; an error is fs.ErrNotExist if
// there is none. This and the next three tell of a download that is being
// removed what they told before, until it is gone.
func (a *Agent) Lookup(ctx context.Context, folder Node, name string) (Node, error) {
	return a.store.Lookup(ctx, folder.Seq, folder.ID, name)
}

// Stat returns what there is to know of a finished file or a folder.
func (a *Agent) Stat(ctx context.Context, id int64) (Node, error) { return a.store.Stat(ctx, id) }

// Root returns the root of the tree of a download.
func (a *Agent) Root(seq int64) (Node, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, found := a.search(seq)
	if !found {
		return Node{}, fs.ErrNotExist
	}
	return Node{Seq: seq, Dir: true, ModTime: a.order[i].rootModTime()}, nil
}

// ReadFolder returns up to limit finished files and folders of a folder, by
// name, from the first one after the name given.
func (a *Agent) ReadFolder(ctx context.Context, folder Node, after string, limit int) ([]Node, error) {
	return a.store.ReadFolder(ctx, folder.Seq, folder.ID, after, limit)
}

// OpenFile opens a finished file for reading. It follows no symlink, and
// returns an error if what is there now is not what was placed.
func (a *Agent) OpenFile(n Node) (*os.File, error) {
	a.mu.Lock()
	i, found := a.search(n.Seq)
	if !found || a.order[i].row.Deleting {
		a.mu.Unlock()
		return nil, fs.ErrNotExist
	}
	d := a.order[i]
	a.mu.Unlock()
	f, err := a.openPlaced(a.row(d), n)
	if errors.Is(err, dest.ErrMissing) {
		// The package folder may just have got its final name.
		f, err = a.openPlaced(a.row(d), n)
	}
	return f, err
}

func (a *Agent) openPlaced(row store.Download, n Node) (*os.File, error) {
	f, err := a.roots.OpenFinished(row.DstFolder, treeSpec(row), row.Folder, path.Join(n.Folder, n.Name))
	if err != nil {
		return nil, err
	}
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, errors.Join(err, f.Close())
	case info.Size() != n.Size:
		return nil, errors.Join(fmt.Errorf("open %s: its size is %d, not the %d that were downloaded", n.Name, info.Size(), n.Size), f.Close())
	}
	return f, nil
}
