package transfer

import (
	"context"
	"io"
)

// A Job is a set of files to transfer.
type Job struct {
	Name     string // for log lines
	Priority int    // higher goes first
	Supply   Supply
}

// A Supply hands out the files of one job and is told how they get on.
// Except for Next, its methods are called from several goroutines at once,
// but for one file never two of them at the same time, Moved and Written excepted. No
// method is called with a lock held.
type Supply interface {
	// Next returns the next file to transfer, or nil when there are no more.
	// It is asked a little ahead of need, never twice at the same time, and may
	// take its time. The file's Sink belongs to the engine from then on.
	Next(ctx context.Context) (*File, error)

	// Done is called once for every file unless the job was stopped before.
	//
	// With a nil error, every byte of the file was written; the Sink is open
	// and not flushed, and it is the Supply's to flush and close. Otherwise
	// the file has failed for good, and its Sink is closed.
	//
	// Done may block: the file counts as open until it returns, and the number
	// of open files is bounded. It occupies no connection.
	Done(f *File, err error)

	// Moved is told that so many more bytes of the file have arrived, or that
	// so many were thrown away when delta is negative. Bytes that were in
	// File.Arrived are not counted again. It should return at once.
	Moved(f *File, delta int64)

	// Written is told what has been written of a file, flushed or not: that is
	// there after the end of the program, though not after that of the
	// machine. It is called for each MiB of a file, even while Checkpoint is,
	// and delays a connection: it should be quick, and may do nothing.
	// An empty Arrived says that what was written is about to be overwritten.
	Written(f *File, a Arrived)

	// Checkpoint records what has arrived of a file; those bytes are flushed.
	// The next checkpoint takes the place of this one, also when it is empty:
	// then the bytes recorded before are about to be overwritten.
	// It is called for files of more than one range, and for whatever is
	// unfinished when the job is stopped. An error stops the job.
	Checkpoint(ctx context.Context, f *File, a Arrived) error
}

// A File is one file to transfer. The engine does not change it.
type File struct {
	ID      int64 // the caller's, for log lines
	Size    int64 // bytes; the object must have just as many
	Source  Source
	Sink    Sink
	Arrived Arrived // what is in the Sink already, from an earlier run
}

// A Source knows where a file's bytes are.
type Source interface {
	// URL returns a URL that answers GET requests for ranges of the file,
	// until it expires. stale is the URL that no longer works, "" at first:
	// a Source that remembers URLs must not return that one. It is never
	// called twice at the same time for one file.
	//
	// It is called again, with growing pauses, for as long as it fails, not
	// before the time that the error's method RetryAfter() time.Duration
	// asks for, if it has one; an error marked with Permanent ends the file,
	// one marked with Abort the job.
	URL(ctx context.Context, stale string) (string, error)
}

// A Sink takes the bytes of a file. Any error of WriteAt or Sync stops the
// job. WriteAt is called from several goroutines at once, for other bytes each,
// and Sync meanwhile.
type Sink interface {
	io.WriterAt
	Sync() error // returns when all that was written before is on stable storage
	Close() error
}
