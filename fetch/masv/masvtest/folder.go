package masvtest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// Folder makes a package of a local folder: its regular files and its empty
// folders, as they are now, in order of their paths. Symbolic links, devices
// and the like are left out, and a file that has become one is not followed.
// Content is opened when it is asked for; a file that has changed meanwhile is
// served as it is then, under another ETag, and one that has gone is 404.
func Folder(dir string) (Package, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Package{}, fmt.Errorf("serve folder %s: %w", dir, err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return Package{}, fmt.Errorf("serve folder: %w", err) // it names the folder
	}
	p := Package{Name: filepath.Base(abs)}
	if err := p.addFolder(root, "."); err != nil {
		root.Close()
		return Package{}, fmt.Errorf("serve folder %s: %w", abs, err)
	}
	return p, nil // the root stays open for the package's files
}

// addFolder adds what is in a folder below root.
func (p *Package) addFolder(root *os.Root, folder string) error {
	entries, err := fs.ReadDir(root.FS(), folder)
	if errors.Is(err, fs.ErrNotExist) && folder != "." {
		return nil // it went away while we looked
	}
	if err != nil {
		return err // it names the folder
	}
	parent := listed(folder)
	if len(entries) == 0 && folder != "." {
		p.Files = append(p.Files, File{Kind: "directory", Name: path.Base(folder), Path: listed(path.Dir(folder))})
	}
	for _, entry := range entries {
		name := path.Join(folder, entry.Name())
		switch {
		case entry.IsDir():
			if err := p.addFolder(root, name); err != nil {
				return err
			}
		case entry.Type().IsRegular():
			st, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			p.Files = append(p.Files, File{
				Name:         entry.Name(),
				Path:         parent,
				Size:         st.Size(),
				LastModified: st.ModTime(),
				Open:         func() (io.ReaderAt, io.Closer, error) { return openRegular(root, name) },
			})
		}
	}
	return nil
}

// listed is a folder as the listing has it: the root is "".
func listed(folder string) string {
	if folder == "." {
		return ""
	}
	return folder
}

// openRegular opens a regular file, and nothing that has taken its place.
func openRegular(root *os.Root, name string) (io.ReaderAt, io.Closer, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !before.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
		f.Close()
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f, f, nil
}
