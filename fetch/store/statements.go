package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// preparer is a connection, or a pool of them.
type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// statements keeps every statement prepared that was used once. They are all
// constants of this package, so there are few.
type statements struct {
	on preparer

	mu       sync.RWMutex // guards prepared
	prepared map[string]*sql.Stmt
}

func newStatements(on preparer) *statements {
	return &statements{on: on, prepared: make(map[string]*sql.Stmt)}
}

func (s *statements) get(query string) (*sql.Stmt, error) {
	s.mu.RLock()
	stmt := s.prepared[query]
	s.mu.RUnlock()
	if stmt != nil {
		return stmt, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt := s.prepared[query]; stmt != nil {
		return stmt, nil
	}
	// It outlives whoever needs it first, so it does not depend on their context.
	stmt, err := s.on.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	s.prepared[query] = stmt
	return stmt, nil
}

// closeAll closes every statement.
func (s *statements) closeAll() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for query, stmt := range s.prepared {
		err = errors.Join(err, stmt.Close())
		delete(s.prepared, query)
	}
	return err
}

func (s *statements) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	stmt, err := s.get(query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// scanner is one row of a result.
type scanner interface{ Scan(dest ...any) error }

// one scans the first row of a result; it returns sql.ErrNoRows if there is none.
func (s *statements) one(ctx context.Context, query string, args []any, scan func(scanner) error) error {
	rows, err := s.query(ctx, query, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := scan(rows); err != nil {
		return err
	}
	return rows.Close()
}

// all scans every row of a result.
func (s *statements) all(ctx context.Context, query string, args []any, scan func(scanner) error) error {
	rows, err := s.query(ctx, query, args)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
