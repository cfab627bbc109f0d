package store

import (
	"context"
	"database/sql"

	"masvfs/fetch/pathname"
)

// Rename gives a file whose name is taken on disk the next number that no
// entry of its folder has: "a.txt", "a (2).txt", "a (3).txt" and so on, never
// one that it had before. The name that the sender gave it stays recorded. If
// the file is gone, the error is fs.ErrNotExist.
func (s *Store) Rename(ctx context.Context, id int64, rules pathname.Rules) (name string, err error) {
	err = s.write(ctx, "rename file", func(tx *tx) error {
		var parent int64
		var present string
		var original sql.NullString
		found, err := tx.find(`SELECT parent, name, original FROM entries WHERE id = ? AND dir = 0 AND key IS NOT NULL`,
			[]any{id}, &parent, &present, &original)
		if err == nil && !found {
			err = noFile(id)
		}
		if err != nil {
			return err
		}
		if !original.Valid {
			original.String = present
		}
		// The number counts from the name without one.
		base := pathname.Clean(original.String, rules)
		above := pathname.Number(base, present, false)
		name, _, err = tx.free(parent, base, false, rules, above)
		if err != nil {
			return err
		}
		_, err = tx.exec(`UPDATE entries SET name = ?, key = ?, original = ? WHERE id = ?`,
			name, pathname.Key(name, rules), original.String, id)
		return err
	})
	if err != nil {
		return "", err
	}
	return name, nil
}
