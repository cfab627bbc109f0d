package fusefs

import (
	"context"
	"os"
	"time"

	"masvfs/fetch"
	"masvfs/fetch/masv"
)

// Agent is what the mount asks of the agent. Its methods are called from many
// goroutines at once, and must not touch the mount.
type Agent interface {
	// After returns up to limit downloads by ascending Seq, from the first
	// one after seq; fewer than limit only at the end.
	After(seq int64, limit int) []fetch.Download
	// Listed returns when a download was last added, renamed or removed.
	Listed() time.Time
	Get(id string) (fetch.Download, error)
	ByName(name string) (fetch.Download, bool)

	// Lookup, Stat, ReadFolder and OpenFile are about the finished tree of a
	// download. What is not there is os.ErrNotExist or fetch.ErrNotFound.
	Lookup(ctx context.Context, id string, folder int64, name string) (fetch.Node, error)
	Stat(ctx context.Context, id string, node int64) (fetch.Node, error)
	// ReadFolder returns up to limit nodes by name, from the first one after
	// the name given; fewer than limit only at the end.
	ReadFolder(ctx context.Context, id string, folder int64, after string, limit int) ([]fetch.Node, error)
	OpenFile(ctx context.Context, id string, node int64) (*os.File, error)

	Pause(ctx context.Context, id string) (fetch.Download, error)
	Resume(ctx context.Context, id string, password masv.Secret) (fetch.Download, error)
}
