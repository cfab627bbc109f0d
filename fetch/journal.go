package fetch

import (
	"context"
	"errors"
	"slices"
	"time"

	"masvfs/fetch/dest"
)

// journal records what the committer does with finished files; it is the
// committer's Journal.
type journal struct{ agent *Agent }

// expect says which feed a piece belongs to, before the committer gets it.
func (a *Agent) expect(f *feed, piece *dest.Piece) {
	a.mu.Lock()
	a.pieces[piece.ID] = f
	a.mu.Unlock()
}

// settle takes a piece out of those expected.
func (a *Agent) settle(id int64) *feed {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.pieces[id]
	delete(a.pieces, id)
	return f
}

func identifiers(pieces []*dest.Piece) []int64 {
	ids := make([]int64, len(pieces))
	for i, p := range pieces {
		ids[i] = p.ID
	}
	return ids
}

// Whole implements dest.Journal.
func (j journal) Whole(ctx context.Context, pieces []*dest.Piece) error {
	return j.agent.store.Whole(ctx, identifiers(pieces))
}

// Taken implements dest.Journal.
func (j journal) Taken(ctx context.Context, piece *dest.Piece) (string, error) {
	return j.agent.store.Rename(ctx, piece.ID, j.agent.cfg.Names)
}

// Placed implements dest.Journal: the files are complete, and everybody may know.
func (j journal) Placed(ctx context.Context, pieces []*dest.Piece) error {
	j.agent.counting.Lock()
	defer j.agent.counting.Unlock()
	now := time.Now()
	placements, err := j.agent.store.Place(ctx, identifiers(pieces), now)
	if err != nil {
		return err
	}
	for _, p := range placements {
		f := j.agent.settle(p.ID)
		if f == nil {
			continue
		}
		j.agent.mu.Lock()
		f.d.totals = p.Totals
		f.d.arrival.forget(p.ID)
		if top := len(p.Folders) == 0 || slices.Contains(p.NewFolders, p.Folders[0]); top {
			f.d.placed = now
		}
		j.agent.mu.Unlock()
		in := int64(0)
		for _, id := range p.Folders {
			if slices.Contains(p.NewFolders, id) {
				j.agent.appeared(f.d, in, id, true)
			}
			in = id
		}
		j.agent.appeared(f.d, p.Parent, p.ID, false)
	}
	return nil
}

// appeared tells of a finished file or a folder that everybody can see.
func (a *Agent) appeared(d *download, folder, node int64, dir bool) {
	a.hub.tell(Event{Kind: Appeared, ID: d.id, Seq: d.seq, Name: a.row(d).Name, Folder: folder, Node: node, Dir: dir})
}

// Failed implements dest.Journal. Something in the way of one file is that
// file's failure; a disk that does not work is the whole download's.
func (j journal) Failed(piece *dest.Piece, err error) {
	f := j.agent.settle(piece.ID)
	if f == nil {
		return
	}
	if errors.Is(err, dest.ErrInTheWay) {
		f.fail(piece, err)
		return
	}
	f.abort(err)
}
