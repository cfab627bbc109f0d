package dest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Spec says what the tree of a download is like.
type Spec struct {
	ID            string // of the download, a UUID
	PackageFolder bool   // false: the tree's own folder is the destination
	Hidden        bool   // the package folder has a hidden name until Publish
	UID, GID      *int   // owner of what is made; nil: the agent's own

	// FinalFolder is the name that Publish had recorded last, "" if none.
	// After a crash in Publish the package folder may have it already.
	FinalFolder string
}

// hides reports whether a package folder is to be made under a hidden name.
func (s *Spec) hides() bool { return s.Hidden && s.PackageFolder }

// Tree is what a download has at its destination. Its methods are safe for
// concurrent use, and fail with fs.ErrClosed after Close.
type Tree struct {
	spec    Spec
	path    string // of the destination
	parent  *dir   // the destination
	device  uint64 // its file system
	traits  traits
	sys     *system
	folders opened
	// instance is what findInstance returns.
	instance func() string

	naming sync.Mutex // one Place, Publish or Discard at a time

	mu    sync.RWMutex // guards what follows
	name  string       // of the tree's own folder in the destination
	own   *dir         // that folder; nil: it is not placed
	work  *dir         // nil: not opened, or not there
	dirty map[string]struct{}
	lossy bool // flushAll has told of writes that were lost
}

// Tree opens a download's tree. folder is the name of its package folder as
// far as it is known to be placed, "" if it is not; if it has gone, or is no
// folder any more, the error is ErrMissing. Nothing is made yet.
func (f *Folder) Tree(spec Spec, folder string) (*Tree, error) {
	if len(spec.ID) < hiddenID || checkName("open download", spec.ID) != nil {
		return nil, fmt.Errorf("open tree of download %q: %w", spec.ID, fs.ErrInvalid)
	}
	d, err := openDir(f.dir.root, ".")
	if err != nil {
		return nil, wrap("open tree in", f.path, err)
	}
	t := &Tree{spec: spec, path: f.path, parent: d, device: f.Device(), traits: f.traits, sys: f.sys, dirty: make(map[string]struct{})}
	t.instance = sync.OnceValue(t.findInstance)
	switch {
	case !spec.PackageFolder:
		t.own = d
	case folder != "":
		err := t.adopt(folder)
		if errors.Is(err, ErrMissing) && spec.hides() && isHidden(folder, spec.ID) && spec.FinalFolder != "" {
			err = t.adopt(spec.FinalFolder)
		}
		if err != nil {
			t.Close()
			return nil, err
		}
	}
	return t, nil
}

// adopt takes the folder name in the destination as the tree's own.
func (t *Tree) adopt(name string) error {
	if err := checkName("open package folder", name); err != nil {
		return err
	}
	own, err := openChild(t.parent, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInTheWay) {
		err = ErrMissing
	}
	if err == nil && !t.ours(own, t.spec.UID) {
		own.close()
		err = fmt.Errorf("%w by a folder of another user", ErrMissing)
	}
	if err != nil {
		return wrap("open package folder", filepath.Join(t.path, name), err)
	}
	t.setOwn(name, own)
	return nil
}

// In returns ErrMissing unless f is the destination that the tree was opened
// in: somebody may have renamed that since, and put something in its place.
func (t *Tree) In(f *Folder) error {
	if !os.SameFile(t.parent.info, f.dir.info) {
		return wrap("find destination", t.path, ErrMissing)
	}
	return nil
}

// ours reports whether a folder that was found under a name in the destination
// may be the one that was made under it: not where others may rename, and it
// belongs to somebody else. Nothing is to be written to that, nor removed.
func (t *Tree) ours(d *dir, uid *int) bool {
	const others = 0o022
	mode := t.parent.info.Mode()
	if !t.traits.local || mode&others == 0 || mode&fs.ModeSticky != 0 {
		return true
	}
	return d.owner() == os.Geteuid() || uid != nil && d.owner() == *uid
}

// Path returns the absolute path of the tree's own folder, "" while it is not
// placed.
func (t *Tree) Path() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.own == nil {
		return ""
	}
	return filepath.Join(t.path, t.name)
}

// abs returns the path of something in the tree, for messages.
func (t *Tree) abs(path string) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return filepath.Join(t.path, t.name, path)
}

// Close releases the tree. Pieces on their way must have been drained.
func (t *Tree) Close() error {
	t.folders.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.work != nil {
		t.work.close()
	}
	if t.own != nil && t.own != t.parent {
		t.own.close()
	}
	return t.parent.close()
}

func (t *Tree) setOwn(name string, own *dir) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name, t.own = name, own
}

// placed returns the tree's own folder, if it still is what its name says.
func (t *Tree) placed() (*dir, error) {
	t.mu.RLock() // not while it is being renamed
	defer t.mu.RUnlock()
	if t.own == nil {
		return nil, fmt.Errorf("open package folder in %s: %w", t.path, ErrMissing)
	}
	if t.own == t.parent {
		return t.own, nil
	}
	there, err := t.parent.holds(t.name, t.own)
	if err == nil && !there {
		err = ErrMissing
	}
	if err != nil {
		return nil, wrap("open package folder", filepath.Join(t.path, t.name), err)
	}
	return t.own, nil
}

// workName is the name of the folder for what is not finished.
func (t *Tree) workName() string { return ".masvfs-" + t.spec.ID }

// workFolder opens the work folder, and makes it if that is asked for;
// otherwise the error may be fs.ErrNotExist.
func (t *Tree) workFolder(create bool) (*dir, error) {
	t.mu.RLock()
	work := t.work
	t.mu.RUnlock()
	if work != nil {
		return work, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.work != nil {
		return t.work, nil
	}
	work, err := openChild(t.parent, t.workName())
	if create && errors.Is(err, fs.ErrNotExist) {
		if err = t.parent.root.Mkdir(t.workName(), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			work, err = openChild(t.parent, t.workName())
		}
	}
	if err == nil && !t.ours(work, nil) {
		work.close()
		err = fmt.Errorf("%w: a folder of another user", ErrInTheWay)
	}
	if err == nil && create {
		// Also if it was there: its making may have been cut short.
		if err = t.sys.syncDir(t.parent); err != nil {
			work.close()
		}
	}
	if err != nil {
		return nil, wrap("open work folder", filepath.Join(t.path, t.workName()), err)
	}
	t.work = work
	return work, nil
}

const (
	hiddenID = 8   // characters of a download's ID in the hidden name
	maxName  = 255 // bytes, on all file systems that matter
)

func hiddenSuffix(id string) string { return ".masvfs-" + id[:hiddenID] }

// hide returns the name that a package folder has until it is published.
func hide(name, id string) string {
	suffix := hiddenSuffix(id)
	if most := maxName - 1 - len(suffix); len(name) > most {
		name = strings.ToValidUTF8(name[:most], "")
	}
	return "." + name + suffix
}

func isHidden(name, id string) bool {
	return strings.HasPrefix(name, ".") && strings.HasSuffix(name, hiddenSuffix(id))
}

// makeDir makes the folder name in d, unless a folder is there, and opens it.
func (t *Tree) makeDir(d *dir, name string) (*dir, error) {
	err := d.root.Mkdir(name, 0o777)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	made := err == nil
	child, err := openChild(d, name)
	if err != nil || !made {
		return child, err
	}
	if err := t.sys.own(child.file, t.traits, t.spec.UID, t.spec.GID); err != nil {
		child.close()
		return nil, fmt.Errorf("change its owner: %w", reason(err))
	}
	return child, nil
}
