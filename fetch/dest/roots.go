package dest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Roots are the folders below which downloads may be placed. Its methods are
// safe for concurrent use.
type Roots struct {
	allowed []string // clean
	sys     *system
}

// NewRoots returns the Roots with these absolute paths. Each may be a symlink:
// that is the administrator's choice. None needs to exist yet.
func NewRoots(allowed []string) (*Roots, error) {
	if len(allowed) == 0 {
		return nil, errors.New("no folder is allowed as a destination")
	}
	r := &Roots{sys: &native}
	for _, root := range allowed {
		if !filepath.IsAbs(root) || strings.ContainsRune(root, 0) {
			return nil, fmt.Errorf("allow destination %q: it is not an absolute path", root)
		}
		r.allowed = append(r.allowed, filepath.Clean(root))
	}
	return r, nil
}

// NotAllowedError refuses a destination.
type NotAllowedError struct {
	Path  string   // as it was asked for
	Roots []string // those that are allowed
}

func (e *NotAllowedError) Error() string {
	if !filepath.IsAbs(e.Path) || strings.ContainsRune(e.Path, 0) {
		return fmt.Sprintf("destination folder %q is not an absolute path", e.Path)
	}
	return fmt.Sprintf("destination folder %s is not below %s; start with --allow-dst %s to allow it",
		e.Path, strings.Join(e.Roots, " or "), e.Path)
}

// Check returns a *NotAllowedError unless dst is an absolute path of, or
// below, an allowed root. It looks at the path alone; Open sees to symlinks.
func (r *Roots) Check(dst string) error {
	if _, ok := r.above(dst); !ok {
		return &NotAllowedError{Path: dst, Roots: slices.Clone(r.allowed)}
	}
	return nil
}

// above returns the allowed root of dst; of several, the one closest to it.
func (r *Roots) above(dst string) (root string, ok bool) {
	if !filepath.IsAbs(dst) || strings.ContainsRune(dst, 0) {
		return "", false
	}
	dst = filepath.Clean(dst)
	for _, a := range r.allowed {
		rel, err := filepath.Rel(a, dst)
		if err == nil && filepath.IsLocal(rel) && (!ok || len(a) > len(root)) {
			root, ok = a, true
		}
	}
	return root, ok
}

// Open opens a destination, and makes what is missing of it below its root. A
// root itself is not made: whoever starts the program makes it, or does not.
func (r *Roots) Open(dst string) (*Folder, error) { return r.open(dst, true) }

// Existing opens a destination that is there; otherwise the error is
// fs.ErrNotExist.
func (r *Roots) Existing(dst string) (*Folder, error) { return r.open(dst, false) }

func (r *Roots) open(dst string, create bool) (*Folder, error) {
	if err := r.Check(dst); err != nil {
		return nil, err
	}
	allowed, _ := r.above(dst)
	dst = filepath.Clean(dst)
	top, err := os.OpenRoot(allowed)
	if err != nil {
		return nil, wrap("open allowed destination", allowed, err)
	}
	defer top.Close()
	rel, err := filepath.Rel(allowed, dst)
	if err != nil {
		return nil, wrap("open destination", dst, err)
	}
	d, err := openDir(top, rel)
	if create && errors.Is(err, fs.ErrNotExist) {
		if err := r.makeAll(top, rel); err != nil {
			return nil, wrap("make destination", dst, err)
		}
		d, err = openDir(top, rel)
	}
	if err != nil {
		return nil, wrap("open destination", dst, err)
	}
	return newFolder(dst, d, r.sys)
}

// makeAll makes the folders of rel, durably. Each is made by its path from the
// top, so that symlinks on the way may lead anywhere inside of it.
func (r *Roots) makeAll(top *os.Root, rel string) error {
	above := "."
	for i := 0; i <= len(rel); i++ {
		if i < len(rel) && rel[i] != filepath.Separator {
			continue
		}
		switch err := top.Mkdir(rel[:i], 0o777); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return err
		default:
			d, err := openDir(top, above)
			if err != nil {
				return err
			}
			if err := errors.Join(r.sys.syncDir(d), d.close()); err != nil {
				return err
			}
		}
		above = rel[:i]
	}
	return nil
}
