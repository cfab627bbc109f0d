package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations are the steps from an empty database to the present one, in the
// order of their file names. The version of a database is how many of them
// it has been through; a released one is never changed.
var migrations = readMigrations()

func readMigrations() []string {
	entries, err := fs.ReadDir(migrationFiles, "migrations")
	if err != nil {
		panic(err) // they are part of the program
	}
	steps := make([]string, len(entries))
	for i, e := range entries {
		text, err := migrationFiles.ReadFile("migrations/" + e.Name())
		if err != nil {
			panic(err)
		}
		steps[i] = string(text)
	}
	return steps
}

// migrate brings a database up to date. Each step and the version that it
// leads to are one transaction, so that a crash leaves a database between two steps.
func migrate(ctx context.Context, conn *sql.Conn) error {
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version == 0 {
		// Before the switch to WAL, so that it is in the file itself from the
		// first moment on: identify looks there.
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	}
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("its file system does not allow write-ahead logging (journal mode %s); choose a state folder on a local disk", mode)
	}
	for v := version; v < len(migrations); v++ {
		if err := step(ctx, conn, migrations[v], v+1); err != nil {
			return fmt.Errorf("bring it to format %d: %w", v+1, err)
		}
	}
	return probe(ctx, conn)
}

func step(ctx context.Context, conn *sql.Conn, statements string, version int) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, statements); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// probe finds out now, and not at the first write, whether the database can
// be written to, and that its tables are there.
func probe(ctx context.Context, conn *sql.Conn) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	var one int
	err = tx.QueryRowContext(ctx, "SELECT 1 FROM downloads LEFT JOIN entries LEFT JOIN partials LEFT JOIN origins LIMIT 1").Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return errors.Join(err, tx.Rollback())
}
