package store

import (
	"context"
	"time"
)

// Placement is a file that is complete, as it stands in the tree.
type Placement struct {
	Entry
	Folders    []int64 // entries of the folders above, outermost first
	NewFolders []int64 // those of them that became visible by it
	Totals             // of the download, after it
}

// Place records that files are in their places, durably: Pending or Whole ->
// Complete. The folders above become visible, and the time of each folder in
// which something appears becomes at. What has arrived of the files is
// forgotten. Files that are complete already are returned as they are; those
// in another state, or gone, are left out.
func (s *Store) Place(ctx context.Context, ids []int64, at time.Time) ([]Placement, error) {
	var placed []Placement
	err := s.write(ctx, "record finished files", func(tx *tx) error {
		var fresh []int64
		found := make([]Placement, 0, len(ids))
		seen := make(map[int64]bool, len(ids))
		err := tx.each(`SELECT `+entryColumns+` FROM json_each(?) j CROSS JOIN entries e ON e.id = j.value`+withFolder+
			`WHERE e.dir = 0 AND e.state IN (0, 1, 3)`, []any{list(ids)}, func(row scanner) error {
			e, err := scanEntry(row)
			if err != nil || seen[e.ID] {
				return err
			}
			seen[e.ID] = true
			found = append(found, Placement{Entry: e})
			if e.State != Complete {
				fresh = append(fresh, e.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE entries SET state = 3, shown = 1 WHERE id IN (SELECT value FROM json_each(?))`, list(fresh)); err != nil {
			return err
		}
		books := make(map[int64]*Totals)
		tree := appearing{tx: tx, at: at, folders: make(map[int64]*above)}
		for i := range found {
			if err := settle(tx, &found[i], books, &tree); err != nil {
				return err
			}
		}
		for seq, totals := range books {
			if err := tx.setTotals(seq, *totals); err != nil {
				return err
			}
		}
		placed = found
		return tree.record()
	})
	if err != nil {
		return nil, err
	}
	return placed, nil
}

// settle counts one file and finds out what has appeared with it.
func settle(tx *tx, p *Placement, books map[int64]*Totals, tree *appearing) (err error) {
	totals := books[p.Seq]
	if totals == nil {
		t, err := tx.totals(p.Seq)
		if err != nil {
			return err
		}
		totals = &t
		books[p.Seq] = totals
	}
	if p.State == Complete {
		p.Totals = *totals
		p.Folders, _, err = tree.walk(p.Parent, false)
		return err
	}
	p.State, p.Visible = Complete, true
	totals.FilesDone++
	totals.BytesDone += p.Size
	p.Totals = *totals
	if _, err := tx.exec(`DELETE FROM partials WHERE download = ? AND entry = ?`, p.Seq, p.ID); err != nil {
		return err
	}
	p.Folders, p.NewFolders, err = tree.walk(p.Parent, true)
	return err
}
