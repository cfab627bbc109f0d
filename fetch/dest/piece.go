package dest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"
)

// Piece is a file whose bytes are all written, on its way to its name.
type Piece struct {
	Tree    *Tree
	Partial *Partial
	ID      int64
	Folder  string    // in the tree, clean; "": the tree's own
	Name    string    // in Folder; another once that was taken
	Size    int64     // bytes
	ModTime time.Time // zero: left as it is
}

// check refuses a piece that makes no sense.
func (p *Piece) check() error {
	if p.Partial == nil || p.Partial.tree != p.Tree || p.Partial.id != p.ID || p.Partial.size != p.Size {
		return fmt.Errorf("place file %d %q: the partial file is another's: %w", p.ID, p.Name, fs.ErrInvalid)
	}
	return p.checkPath()
}

func (p *Piece) checkPath() error {
	if p.Folder != "" {
		if err := checkPath("place file in", p.Folder); err != nil {
			return err
		}
	}
	return checkName("place file", p.Name)
}

func (p *Piece) path() string { return p.Tree.abs(path.Join(p.Folder, p.Name)) }

// setTime gives the file its time, as far as the file system has such times.
func (p *Piece) setTime() {
	if !p.ModTime.IsZero() {
		// A refusal is no reason not to have the file.
		_ = p.Partial.work.root.Chtimes(p.Partial.inWork(), time.Time{}, p.ModTime)
	}
}

// place renames the partial file to its name; taken gives another name if
// something has that one. The folder is noted for flushing.
func (p *Piece) place(taken func() (string, error)) error {
	d, err := p.Tree.enter(p.Folder, true)
	if err != nil {
		return fmt.Errorf("place file %s: %w", p.Name, err)
	}
	defer p.Tree.leave(d)
	name, work := p.Partial.inWork(), p.Partial.work
	if err := p.unchanged(name); err != nil {
		return wrap("place file", p.path(), err)
	}
	for {
		err := p.Tree.sys.MoveFile(work.file, name, d.file, p.Name)
		if err == nil {
			p.Tree.noteDirty(p.Folder)
			p.Partial.dropNote()
			return nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return wrap("place file", p.path(), err)
		}
		next, err := taken()
		if err != nil {
			return fmt.Errorf("place file %s: its name is taken, and another cannot be recorded: %w", p.path(), err)
		}
		if err := checkName("place file", next); err != nil {
			return err
		}
		if next == p.Name {
			return wrap("place file", p.path(), fs.ErrExist)
		}
		p.Name = next
	}
}

// unchanged makes sure that what is about to be renamed is what was written.
func (p *Piece) unchanged(name string) error {
	there, err := p.Partial.work.root.Lstat(name)
	if err != nil {
		return err
	}
	written, err := p.Partial.file.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(there, written) {
		return errors.New("its partial file was replaced")
	}
	if written.Size() != p.Size {
		return fmt.Errorf("its partial file has %d bytes, not %d", written.Size(), p.Size)
	}
	return nil
}
