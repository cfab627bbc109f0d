package store

import "context"

// Partial says what has arrived of a file that is not complete.
type Partial struct {
	Entry   int64
	Arrived []byte // opaque here
	ETag    string
}

// Partials returns what has arrived of each file of a download.
func (s *Store) Partials(ctx context.Context, seq int64) ([]Partial, error) {
	var all []Partial
	err := s.read(ctx, "read partial files", `SELECT entry, arrived, etag FROM partials WHERE download = ? ORDER BY entry`, []any{seq},
		func(row scanner) error {
			var p Partial
			err := row.Scan(&p.Entry, &p.Arrived, &p.ETag)
			all = append(all, p)
			return err
		})
	return all, err
}

// PutPartials records what has arrived of files, in place of what was recorded
// of them before. A file that is complete, skipped or gone is left out.
func (s *Store) PutPartials(ctx context.Context, ps []Partial) error {
	return s.write(ctx, "record partial files", func(tx *tx) error {
		for _, p := range ps {
			arrived := p.Arrived
			if arrived == nil {
				arrived = []byte{} // nothing, but not NULL
			}
			_, err := tx.exec(`INSERT OR REPLACE INTO partials (download, entry, arrived, etag)
				SELECT download, id, ?, ? FROM entries WHERE id = ? AND dir = 0 AND state <= 2`, arrived, p.ETag, p.Entry)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// DropPartial forgets what has arrived of a file.
func (s *Store) DropPartial(ctx context.Context, entry int64) error {
	return s.write(ctx, "drop partial file", func(tx *tx) error {
		_, err := tx.exec(`DELETE FROM partials WHERE entry = ?1 AND download = (SELECT download FROM entries WHERE id = ?1)`, entry)
		return err
	})
}
