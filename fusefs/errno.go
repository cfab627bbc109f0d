package fusefs

import (
	"context"
	"errors"
	"os"
	"syscall"

	"masvfs/fetch"
)

// errnoOf turns an error of the agent into what a system call can say.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.Is(err, os.ErrNotExist), errors.Is(err, fetch.ErrNotFound):
		return syscall.ENOENT
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// Only the end of the mount cancels what is asked of the agent.
		return syscall.ENOTCONN
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EIO
}
