package fusefs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// act is one system call of the announcer in its own mount, and what the file
// system is to answer it.
type act struct {
	kind   actKind
	folder inode
	name   string
	attr          // of what it is about
	to     string // the name that a download gets

	seq      int64  // of the download whose path is walked
	download string // its name on that path
}

// actKind says what an act does.
type actKind uint8

const (
	walked   actKind = iota // opens a folder
	made                    // makes a name
	modified                // changes what a file says
	gone                    // removes a name
	renamed                 // gives a download another name
	removed                 // removes a download and all that is in it
)

// lookupFor is what the announcer sees: as everybody, what is being removed
// too, but for the names that it is about to make.
func (m *FS) lookupFor(act *act, folder inode, name string) (attr, syscall.Errno) {
	if folder == act.folder {
		switch {
		case act.kind == made && name == act.name, act.kind == renamed && name == act.to:
			return attr{}, syscall.ENOENT
		case (act.kind == gone || act.kind == renamed) && name == act.name:
			return act.attr, 0
		}
	}
	if folder == rootInode {
		if name != act.download {
			return m.lookup(folder, name)
		}
		return folderAttr(partInode(act.seq, folderPart), m.agent.Listed()), 0
	}
	if seq, p, ok := folder.part(); ok && p == folderPart {
		for _, e := range allParts {
			if e.name == name {
				return attr{inode: partInode(seq, e.part), mode: e.mode}, 0
			}
		}
		return attr{}, syscall.ENOENT
	}
	n, errno := m.lookupNode(folder, name)
	return nodeAttr(n), errno
}

// expects reports whether a change of attributes is the announcer's.
func (a *announcer) expects(h *fuse.InHeader, i inode) bool {
	act := a.act(h, "")
	return act != nil && act.kind == modified && act.inode == i
}

// performs returns the announcer's act if it is the one that asks for it.
func (a *announcer) performs(h *fuse.InHeader, kind actKind, name string) *act {
	act := a.act(h, name)
	if act == nil || act.kind != kind || act.folder != inode(h.NodeId) || act.name != name {
		return nil
	}
	return act
}

// Mkdir answers the announcer, who makes a folder that is there.
func (s server) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	act := s.announcer.performs(&in.InHeader, made, name)
	if act == nil || act.mode&syscall.S_IFMT != syscall.S_IFDIR {
		return fuse.EROFS
	}
	s.enter(out, s.attrFor(act), true)
	return fuse.OK
}

// Mknod makes nothing for anybody.
func (server) Mknod(<-chan struct{}, *fuse.MknodIn, string, *fuse.EntryOut) fuse.Status {
	return fuse.EROFS
}

// Create answers the announcer, who makes and opens a file that is there.
func (s server) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	act := s.announcer.performs(&in.InHeader, made, name)
	if act == nil || act.mode&syscall.S_IFMT != syscall.S_IFREG {
		return fuse.EROFS
	}
	a := s.attrFor(act)
	// It is closed again without a byte read or written.
	out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
	if _, _, isPart := act.inode.part(); !isPart {
		o := s.open.get(a)
		// A reader whose disk hangs while he opens the file holds up no one else.
		if o.opening.TryLock() {
			if o.backing != 0 {
				// Where one handle is the kernel's own, all must be.
				out.OpenFlags, out.BackingID = fuse.FOPEN_PASSTHROUGH|fuse.FOPEN_NOFLUSH, o.backing
			}
			o.opening.Unlock()
		}
		out.Fh = s.handles.add(o)
	}
	s.enter(&out.EntryOut, a, true)
	return fuse.OK
}

// attrFor is what stat tells of what an act is about.
func (m *FS) attrFor(act *act) attr {
	if a, errno := m.stat(act.inode); errno == 0 {
		return a
	}
	return act.attr
}

// Unlink answers the announcer, who removes a file that is gone.
func (s server) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if s.announcer.performs(h, gone, name) == nil {
		return fuse.EROFS
	}
	return fuse.OK
}

// Rmdir answers the announcer, who removes a folder that is gone.
func (s server) Rmdir(cancel <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return s.Unlink(cancel, h, name)
}

// Rename answers the announcer, who gives a download the name that it has.
func (s server) Rename(_ <-chan struct{}, in *fuse.RenameIn, name, to string) fuse.Status {
	act := s.announcer.performs(&in.InHeader, renamed, name)
	if act == nil || act.to != to || inode(in.Newdir) != rootInode {
		return fuse.EROFS
	}
	return fuse.OK
}

// teller makes the announcer's system calls. Nothing else in this process
// makes any in the mount.
type teller struct {
	*announcer
	thread *ownThread
	device uint64 // of the mount
}

var errNotMounted = errors.New("something else is mounted there now")

// newTeller starts the thread and makes it known to the file system.
func newTeller(a *announcer) (*teller, error) {
	thread, err := newOwnThread()
	if err != nil {
		return nil, err
	}
	t := &teller{announcer: a, thread: thread}
	if err := t.makeKnown(); err != nil {
		thread.close()
		return nil, err
	}
	return t, nil
}

func (t *teller) makeKnown() error {
	root, err := t.openRoot()
	if err != nil {
		return err
	}
	defer t.close(root)
	err = t.thread.do(func() error {
		var st unix.Stat_t
		return unix.Fstatat(root, t.secret, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != unix.ENOENT {
		return fmt.Errorf("%w (%v)", errNotMounted, err)
	}
	if t.tid.Load() == 0 {
		return errors.New("the kernel does not tell who asks; the mount is another container's")
	}
	return nil
}

// openRoot opens the root of the mount, which it keeps busy until it is closed.
func (t *teller) openRoot() (fd int, err error) {
	err = t.thread.do(func() (err error) {
		fd, err = unix.Open(t.fs.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		var st unix.Statx_t
		err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st)
		device := unix.Mkdev(st.Dev_major, st.Dev_minor)
		switch {
		case err != nil:
		case inode(st.Ino) != rootInode, t.device != 0 && t.device != device:
			err = errNotMounted
		default:
			t.device = device
			return nil
		}
		unix.Close(fd)
		return err
	})
	if err != nil {
		err = fmt.Errorf("open %s: %w", t.fs.path, err)
	}
	return fd, err
}

func (t *teller) close(fd int) { t.thread.do(func() error { return unix.Close(fd) }) }

// do makes a system call that the file system expects. One that fails is told
// of at debug level: what has happened has happened, told or not.
func (t *teller) do(what act, call func() error) error {
	t.doing.Store(&what)
	err := t.thread.do(func() error {
		err := call()
		for err == unix.EINTR {
			err = call()
		}
		return err
	})
	t.doing.Store(nil)
	if err != nil {
		t.fs.log.Debug("cannot announce", "name", what.name, "kind", what.kind, "err", err)
	}
	return err
}

// perform tells of some news.
func (t *teller) perform(n *news, items []item) error {
	root, err := t.openRoot()
	if err != nil {
		return err
	}
	defer t.close(root)
	if n.folder == rootInode {
		for _, i := range items {
			t.inRoot(root, i)
		}
		return nil
	}
	for len(items) > 0 {
		in := items[0].in
		end := 1
		for end < len(items) && items[end].in == in {
			end++
		}
		err = errors.Join(err, t.inFolder(root, n.seq, in, items[:end]))
		items = items[end:]
	}
	return err
}

// inFolder does things in a folder of a download.
func (t *teller) inFolder(root int, seq int64, in inode, items []item) error {
	walk := act{kind: walked, seq: seq}
	if walk.download = t.nameOf(seq); walk.download == "" {
		return nil // it is being removed
	}
	rel, err := t.pathOf(walk.download, in)
	if err != nil {
		return err
	}
	folder, err := t.openFolder(root, rel, walk)
	if err != nil {
		return err
	}
	defer t.close(folder)
	for _, i := range items {
		if t.isClosing() || !t.fs.agent.Shown(seq) {
			return nil
		}
		what := walk
		what.kind, what.folder = i.kind, in
		if _, p, ok := i.inode.part(); ok {
			what.name, what.attr = p.String(), attr{inode: i.inode, mode: allParts[p-1].mode}
		} else {
			n, err := t.fs.agent.Stat(t.fs.ctx, i.inode.node())
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			what.name, what.attr = n.Name, nodeAttr(n)
		}
		t.call(folder, what)
	}
	return nil
}

func (t *teller) isClosing() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closing
}

// nameOf returns the name that a download is known by; "" if there is none any more.
func (t *teller) nameOf(seq int64) string {
	t.mu.Lock()
	s := t.stories[seq]
	t.mu.Unlock()
	if s != nil {
		return s.name
	}
	d, err := t.fs.agent.BySeq(seq)
	if err != nil {
		return ""
	}
	return d.Name
}

// pathOf returns where in the mount a folder of a download stands.
func (t *teller) pathOf(download string, folder inode) (string, error) {
	if _, p, ok := folder.part(); ok {
		if p == folderPart {
			return download, nil
		}
		return path.Join(download, p.String()), nil
	}
	n, err := t.fs.agent.Stat(t.fs.ctx, folder.node())
	return path.Join(download, filesPart.String(), n.Folder, n.Name), err
}

func (t *teller) openFolder(at int, rel string, walk act) (fd int, err error) {
	err = t.do(walk, func() (err error) {
		fd, err = unix.Openat(at, rel, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// call is the system call of an act in an open folder.
func (t *teller) call(folder int, what act) {
	isFolder := what.mode&syscall.S_IFMT == syscall.S_IFDIR
	t.do(what, func() error {
		switch {
		case what.kind == made && isFolder:
			return unix.Mkdirat(folder, what.name, 0o555)
		case what.kind == made:
			var fd int
			err := error(unix.EIO)
			for tries := 0; err == unix.EIO && tries < 5; tries++ {
				// EIO: somebody opens it at this very moment, in the other way.
				fd, err = unix.Openat(folder, what.name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
			}
			if err == nil {
				unix.Close(fd)
			}
			return err
		case what.kind == gone && isFolder:
			return unix.Unlinkat(folder, what.name, unix.AT_REMOVEDIR)
		case what.kind == gone:
			return unix.Unlinkat(folder, what.name, 0)
		default:
			now := unix.Timespec{Nsec: unix.UTIME_NOW}
			omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
			return unix.UtimesNanoAt(folder, what.name, []unix.Timespec{omit, now}, unix.AT_SYMLINK_NOFOLLOW)
		}
	})
}

// inRoot does one thing at the root.
func (t *teller) inRoot(root int, i item) {
	seq, _, _ := i.inode.part()
	if i.kind == removed {
		t.remove(root, seq)
		return
	}
	d, err := t.fs.agent.BySeq(seq)
	if err != nil {
		return // it is being removed
	}
	what := act{kind: i.kind, folder: rootInode, attr: folderAttr(i.inode, d.UpdatedAt), name: d.Name, seq: seq}
	t.mu.Lock()
	s := t.stories[seq]
	t.mu.Unlock()
	if s == nil {
		return
	}
	if i.kind == renamed {
		if what.name, what.to = s.name, d.Name; what.name == what.to {
			return
		}
		t.do(what, func() error { return unix.Renameat2(root, what.name, root, what.to, unix.RENAME_NOREPLACE) })
	} else {
		t.call(root, what)
	}
	t.mu.Lock()
	s.name = d.Name
	t.mu.Unlock()
}
