package store

import (
	"context"
	"errors"
	"io/fs"
)

// Taken reports whether an origin is recorded.
func (s *Store) Taken(ctx context.Context, origin string) (bool, error) {
	err := s.readOne(ctx, "look for origin", `SELECT origin FROM origins WHERE origin = ?`, []any{origin},
		func(row scanner) error { return row.Scan(new(string)) })
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ForgetOrigin drops an origin. It is no error if it is not recorded.
func (s *Store) ForgetOrigin(ctx context.Context, origin string) error {
	return s.write(ctx, "forget origin", func(tx *tx) error {
		_, err := tx.exec(`DELETE FROM origins WHERE origin = ?`, origin)
		return err
	})
}

// Origins returns all origins that are recorded, in the order of their names.
func (s *Store) Origins(ctx context.Context) ([]string, error) {
	var all []string
	err := s.read(ctx, "read origins", `SELECT origin FROM origins ORDER BY origin`, nil, func(row scanner) error {
		var origin string
		err := row.Scan(&origin)
		all = append(all, origin)
		return err
	})
	return all, err
}
