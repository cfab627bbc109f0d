//go:build !linux

package watcher

import (
	"io/fs"
	"os"
	"syscall"
)

// writerOf cannot tell here: files must settle.
func writerOf(*os.File) writer { return unknown }

// isLocal makes no claim here: rescans are frequent.
func isLocal(*os.File) bool { return false }

// sightOf keeps what is needed of a file's metadata.
func sightOf(info fs.FileInfo) sight {
	s := sight{size: info.Size(), modified: info.ModTime().UnixNano(), mode: uint32(info.Mode())}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = uint64(st.Ino)
	}
	return s
}
