package dirent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MakeFolder makes the folder at path unless it is there, and with mode 0755
// those that lead to it. A power cut does not take them back, nor with them
// what is put there later and flushed.
func MakeFolder(path string, mode fs.FileMode) error {
	return makeFolder(filepath.Clean(path), mode, syncPath)
}

func makeFolder(path string, mode fs.FileMode, sync func(folder string) error) error {
	switch info, err := os.Stat(path); {
	case err == nil && !info.IsDir():
		return fmt.Errorf("make folder %s: something else has this name", path)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	above := filepath.Dir(path)
	if above != path {
		if err := makeFolder(above, 0o755, sync); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	if err := errors.Join(sync(path), sync(above)); err != nil {
		return fmt.Errorf("flush the new folder %s: %w", path, err)
	}
	return nil
}

// syncPath flushes the folder at path. One that may be written to but not
// read, by this user, cannot be flushed: nothing is to be done about it.
func syncPath(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return Sync(f)
}

// Sync makes what was done to the names in an open folder durable. Some file
// systems have no such call for folders; there is nothing more to be done
// about them.
func Sync(folder *os.File) error {
	if err := folder.Sync(); !Refused(err) {
		return err
	}
	return nil
}
