package dirent

import "golang.org/x/sys/unix"

var renameNoReplace = at2(func(from int, name string, to int, newName string) error {
	return unix.Renameat2(from, name, to, newName, unix.RENAME_NOREPLACE)
})
