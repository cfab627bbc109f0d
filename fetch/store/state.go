package store

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
)

// Whole records that all bytes of files are flushed, in their partial files:
// Pending -> Whole. Files in another state, or gone, are left as they are.
func (s *Store) Whole(ctx context.Context, ids []int64) error {
	return s.write(ctx, "record whole files", func(tx *tx) error {
		_, err := tx.exec(`UPDATE entries SET state = 1 WHERE id IN (SELECT value FROM json_each(?)) AND dir = 0 AND state = 0`, list(ids))
		return err
	})
}

// Unwhole records that files must be fetched anew: Whole -> Pending. Files in
// another state, or gone, are left as they are.
func (s *Store) Unwhole(ctx context.Context, ids []int64) error {
	return s.write(ctx, "record lost files", func(tx *tx) error {
		_, err := tx.exec(`UPDATE entries SET state = 0 WHERE id IN (SELECT value FROM json_each(?)) AND dir = 0 AND state = 1`, list(ids))
		return err
	})
}

// Fail records why a file cannot be had: Pending or Whole -> Failed. In
// another state it is left as it is. What has arrived of it stays recorded.
// If the file is gone, the error is fs.ErrNotExist.
func (s *Store) Fail(ctx context.Context, id int64, code, message string, recoverable bool) (Totals, error) {
	var totals Totals
	err := s.write(ctx, "record failed file", func(tx *tx) error {
		var seq int64
		found, err := tx.find(`SELECT download FROM entries WHERE id = ? AND dir = 0`, []any{id}, &seq)
		if err == nil && !found {
			err = noFile(id)
		}
		if err != nil {
			return err
		}
		n, err := tx.exec(`UPDATE entries SET state = 2, code = ?, message = ?, recoverable = ? WHERE id = ? AND state <= 1`,
			code, message, recoverable, id)
		if err != nil {
			return err
		}
		totals, err = tx.failed(seq, n)
		return err
	})
	return totals, err
}

// retryBatch is how many files one transaction of Retry changes at most.
const retryBatch = 5000

// Retry has the files of a download that failed, and may be mended, tried
// again: Failed -> Pending. It returns how many there are.
func (s *Store) Retry(ctx context.Context, seq int64) (n int64, totals Totals, err error) {
	for more := true; more && err == nil; {
		err = s.write(ctx, "retry failed files", func(tx *tx) error {
			changed, err := tx.exec(`UPDATE entries SET state = 0, code = NULL, message = NULL, recoverable = 0 WHERE id IN
				(SELECT id FROM entries INDEXED BY entries_unfinished
				WHERE download = ? AND state <= 2 AND dir = 0 AND state = 2 AND recoverable = 1 LIMIT ?)`, seq, retryBatch)
			if err != nil {
				return err
			}
			more = changed == retryBatch
			n += changed
			totals, err = tx.failed(seq, -changed)
			return err
		})
	}
	return n, totals, err
}

// failed counts so many more failed files, or fewer.
func (tx *tx) failed(seq, more int64) (Totals, error) {
	totals, err := tx.totals(seq)
	if err != nil || more == 0 {
		return totals, err
	}
	totals.FilesFailed += more
	return totals, tx.setTotals(seq, totals)
}

// list returns numbers as the JSON array that SQLite's json_each takes apart:
// one statement for all of them.
func list(ids []int64) string {
	text := make([]byte, 0, 2+8*len(ids))
	text = append(text, '[')
	for i, id := range ids {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, id, 10)
	}
	return string(append(text, ']'))
}

// noFile says that a file has been deleted with its download.
func noFile(id int64) error { return fmt.Errorf("file %d: %w", id, fs.ErrNotExist) }
