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
	BySeq(seq int64) (fetch.Download, error)
	ByName(name string) (fetch.Download, bool)
	// Shown reports whether BySeq returns a download, at less cost.
	Shown(seq int64) bool

	// Root, Lookup, Stat and ReadFolder are about the finished tree of a
	// download, of one that is being removed too. Of a folder, ID and Seq are
	// given. What is not there is os.ErrNotExist or fetch.ErrNotFound.
	Root(seq int64) (fetch.Node, error)
	Lookup(ctx context.Context, folder fetch.Node, name string) (fetch.Node, error)
	Stat(ctx context.Context, id int64) (fetch.Node, error)
	// ReadFolder returns up to limit nodes by name, from the first one after
	// the name given; fewer than limit only at the end.
	ReadFolder(ctx context.Context, folder fetch.Node, after string, limit int) ([]fetch.Node, error)
	OpenFile(file fetch.Node) (*os.File, error)

	Pause(ctx context.Context, id string) (fetch.Download, error)
	Resume(ctx context.Context, id string, password masv.Secret) (fetch.Download, error)
}
