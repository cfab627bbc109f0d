package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// maxGroup is how many writes are committed together at most.
const maxGroup = 256

// writer runs all writes, one after the other, in one goroutine on one
// connection. Those that wait while a commit is being flushed form the next
// group: one transaction, one flush for all of them.
type writer struct {
	conn    *sql.Conn
	tx      *tx
	queue   chan *write // unbuffered: what is received will be answered
	closing chan struct{}
	ended   chan struct{}
	close   sync.Once
	commits atomic.Int64
}

// write is one caller's write.
type write struct {
	ctx   context.Context
	f     func(*tx) error
	err   error
	done  chan struct{} // closed when err is final
	alone bool          // not part of a transaction
}

func startWriter(conn *sql.Conn) *writer {
	w := &writer{
		conn:    conn,
		tx:      &tx{newStatements(conn)},
		queue:   make(chan *write),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	go w.run()
	return w
}

// do has f run as part of a transaction and returns when that is durable. A
// caller whose ctx ends before f has begun gets the end of ctx; once begun,
// it is awaited, so that the caller knows what became of it.
func (w *writer) do(ctx context.Context, f func(*tx) error) error {
	return w.enqueue(&write{ctx: ctx, f: f, done: make(chan struct{})})
}

// scrub empties the write-ahead log into the database.
func (w *writer) scrub(ctx context.Context) error {
	return w.enqueue(&write{ctx: ctx, alone: true, done: make(chan struct{}), f: func(t *tx) error {
		return t.each("PRAGMA wal_checkpoint(TRUNCATE)", nil, func(scanner) error { return nil })
	}})
}

func (w *writer) enqueue(job *write) error {
	ctx := job.ctx
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case w.queue <- job:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closing:
		return ErrClosed
	}
	<-job.done
	return job.err
}

// end stops the writer when it has answered all writes that it has received.
func (w *writer) end() error {
	w.close.Do(func() { close(w.closing) })
	<-w.ended
	// A connection with statements left stays open behind the scenes: then
	// nobody checkpoints the log, and its files stay.
	return errors.Join(w.tx.closeAll(), w.conn.Close())
}

func (w *writer) run() {
	defer close(w.ended)
	for {
		select {
		case first := <-w.queue:
			var last *write
			if !first.alone {
				var group []*write
				group, last = w.gather(first)
				w.commit(group)
			} else {
				last = first
			}
			if last != nil {
				last.err = last.f(w.tx)
				close(last.done)
			}
		case <-w.closing:
			return
		}
	}
}

// gather returns first and all others that wait just now, up to one that has
// to run alone, after them.
func (w *writer) gather(first *write) (group []*write, last *write) {
	group = []*write{first}
	for len(group) < maxGroup {
		select {
		case job := <-w.queue:
			if job.alone {
				return group, job
			}
			group = append(group, job)
		default:
			return group, nil
		}
	}
	return group, nil
}

// commit runs a group in as few transactions as it can: one, unless a failure
// takes the transaction down with it.
func (w *writer) commit(group []*write) {
	for len(group) > 0 {
		n, err := w.transaction(group)
		for _, job := range group[:n] {
			if job.err == nil {
				job.err = err
			}
			close(job.done)
		}
		group = group[n:]
	}
}

// transaction runs the writes of a group, from the first one on, in one
// transaction. It returns how many of them it has settled, and the error of
// all those among them that have none of their own.
func (w *writer) transaction(group []*write) (settled int, err error) {
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return len(group), err
	}
	begun := false // something is in the transaction
	for i, job := range group {
		if job.err = job.ctx.Err(); job.err != nil {
			continue
		}
		if !begun {
			// The first one needs no savepoint, with its copy of every page: if
			// it fails, there is nothing in the transaction to be kept.
			if job.err = job.f(w.tx); job.err != nil {
				w.rollback()
				return i + 1, nil
			}
			begun = true
			continue
		}
		if err := w.exec("SAVEPOINT write"); err != nil {
			w.rollback()
			return i + 1, err
		}
		if job.err = job.f(w.tx); job.err != nil {
			// Some failures (a full disk, an I/O error) end the whole
			// transaction by themselves. Then the savepoint is gone as well,
			// and with it what the earlier ones did.
			if err := w.exec("ROLLBACK TO write"); err != nil {
				w.rollback()
				return i + 1, fmt.Errorf("written together with another change, which failed: %w", job.err)
			}
		}
		if err := w.exec("RELEASE write"); err != nil {
			w.rollback()
			return i + 1, err
		}
	}
	if err := w.exec("COMMIT"); err != nil {
		w.rollback()
		return len(group), err
	}
	if begun {
		w.commits.Add(1)
	}
	return len(group), nil
}

// rollback ends a transaction that failed. It reports nothing: either there
// is one to end, or the failure has ended it.
func (w *writer) rollback() { _ = w.exec("ROLLBACK") }

func (w *writer) exec(query string) error {
	_, err := w.tx.exec(query)
	return err
}

// tx is the transaction that a write runs in. Statements do not heed any
// context: a write that has begun runs to its end.
type tx struct{ *statements }

// exec runs a statement and returns how many rows it has changed.
func (t *tx) exec(query string, args ...any) (int64, error) {
	stmt, err := t.get(query)
	if err != nil {
		return 0, err
	}
	result, err := stmt.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// insert runs an INSERT and returns the new row's ID.
func (t *tx) insert(query string, args ...any) (int64, error) {
	stmt, err := t.get(query)
	if err != nil {
		return 0, err
	}
	result, err := stmt.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// find scans the one row of a result into dest and reports whether there is one.
func (t *tx) find(query string, args []any, dest ...any) (bool, error) {
	err := t.one(context.Background(), query, args, func(row scanner) error { return row.Scan(dest...) })
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each scans all rows of a result.
func (t *tx) each(query string, args []any, scan func(scanner) error) error {
	return t.all(context.Background(), query, args, scan)
}
