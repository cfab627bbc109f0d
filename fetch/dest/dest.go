// Package dest owns the disk below a destination folder: which folders may be
// one, the folder of a package, the partial files, and how a finished file
// gets its name.
//
// It promises that nothing that was there before is overwritten, followed
// through a symlink or removed, and that no byte lands outside the
// destination: folders are opened one component at a time through os.Root,
// and what was opened is compared with what has the name. A destination's own
// path may lead over symlinks, as long as they stay inside the allowed root;
// below the tree's folder there are none.
//
// It also promises an order that survives a crash or a power cut at any point:
// bytes are flushed, that is recorded (Journal.Whole), the file is renamed,
// its folder is flushed, and that is recorded (Journal.Placed). Tree.Recover
// tells how far a file got. Files that finish together share their flushes.
//
// On disk a download has, side by side in the destination,
//
//	NAME            the package folder, or .NAME.masvfs-XXXXXXXX while hidden
//	.masvfs-ID      the work folder, of mode 0700, in it
//	  tree          the package folder before it has got any name
//	  17.new        a partial file none of whose bytes is recorded as flushed
//	  17.part       one that may have been recorded, and can be resumed
//	  17.note       what was written to it, for as long as the machine runs
//
// It knows nothing of HTTP, databases or what a file means to anybody.
package dest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Errors that callers tell apart.
var (
	// ErrMissing: a folder that was placed is gone, or something else has its
	// name.
	ErrMissing = errors.New("the package folder is gone or was replaced")

	// ErrInTheWay: something that is not ours has the name of a folder that
	// is needed. It concerns the files below that folder alone.
	ErrInTheWay = errors.New("something else has this name")

	// ErrClosed: the Committer takes nothing any more.
	ErrClosed = errors.New("the committer is closed")
)

// wrap says once what was done, to what, and why it failed.
func wrap(op, path string, err error) error {
	return fmt.Errorf("%s %s: %w", op, path, reason(err))
}

// reason takes away what os has put around the cause of an error: calls and
// paths that are relative to some open folder.
func reason(err error) error {
	for {
		switch e := err.(type) {
		case *fs.PathError:
			err = e.Err
		case *os.LinkError:
			err = e.Err
		case *os.SyscallError:
			err = e.Err
		default:
			return err
		}
	}
}

// checkPath refuses whatever is not a clean '/'-separated path below a folder.
func checkPath(op, p string) error {
	if p == "." || !filepath.IsLocal(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
		return fmt.Errorf("%s %q: %w", op, p, fs.ErrInvalid)
	}
	return nil
}

// checkName refuses whatever is not the name of something in a folder.
func checkName(op, name string) error {
	if strings.ContainsRune(name, '/') {
		return fmt.Errorf("%s %q: %w", op, name, fs.ErrInvalid)
	}
	return checkPath(op, name)
}

// parent returns the folder of a clean relative path, "" for the tree's own.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}
