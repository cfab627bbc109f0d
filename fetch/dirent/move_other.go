//go:build !linux

package dirent

import (
	"os"
	"syscall"
)

// renameNoReplace leaves it to the other calls.
func renameNoReplace(*os.File, string, *os.File, string) error { return syscall.ENOTSUP }
