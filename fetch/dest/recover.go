package dest

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"masvfs/fetch/dirent"
)

// Recovery is where a crash has left a file that was recorded as whole.
type Recovery int

const (
	// Gone: neither the partial nor the finished file is there.
	Gone Recovery = iota
	// PartialThere: it was not renamed; the Piece's Partial is open.
	PartialThere
	// AlreadyPlaced: it has its name, and the folder is flushed.
	AlreadyPlaced
)

// Recover tells how far a piece got that was recorded as whole (Journal.Whole),
// under the name recorded last, and was not recorded as placed. After Gone,
// that record must be taken back before a new Partial is opened.
func (t *Tree) Recover(p *Piece) (Recovery, error) {
	if err := p.checkPath(); err != nil {
		return Gone, err
	}
	d, err := t.enter(p.Folder, false)
	switch {
	case err == nil:
		defer t.leave(d)
	case gone(err):
		d = nil // then it is not placed; committing it says why it cannot be
	default:
		return Gone, err
	}

	work, err := t.workFolder(false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Gone, err
	}
	if work != nil {
		for _, name := range []string{partName(p.ID), newName(p.ID)} {
			if d != nil && dirent.Same(work.file, name, d.file, p.Name) {
				// The crash came between link and unlink.
				if err := dirent.Remove(work.file, name, false); err != nil {
					return Gone, wrap("remove partial file", t.workPath(name), err)
				}
				continue
			}
			p.Partial, err = t.openPartial(work, name, p.ID, p.Size, false)
			if err == nil {
				return PartialThere, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return Gone, err
			}
		}
	}
	if d == nil {
		return Gone, nil
	}

	f, err := openRegular(d, p.Name, os.O_RDONLY)
	if gone(err) {
		return Gone, nil
	}
	if err != nil {
		return Gone, wrap("look for", t.abs(path.Join(p.Folder, p.Name)), err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Gone, wrap("look for", t.abs(path.Join(p.Folder, p.Name)), err)
	}
	if info.Size() != p.Size {
		return Gone, nil // not ours, or no longer what it was
	}
	// The folder may be new, and those above it too.
	for folder := p.Folder; ; folder = parent(folder) {
		if err := t.flushFolder(folder); err != nil {
			return Gone, err
		}
		if folder == "" {
			return AlreadyPlaced, nil
		}
	}
}
