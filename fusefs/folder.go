package fusefs

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"masvfs/fetch"
)

// pageSize is how many entries a folder that is being listed holds at most.
const pageSize = 256

// entry is one name in a folder.
type entry struct {
	name  string
	place uint64 // where in its folder it stands: above 0, and its own for good
	attr  attr   // of "." and ".." inode and mode alone
}

// openFolder is a folder that somebody has opened for listing.
//
// The offset that telldir(3) tells is made of an entry's place, by which the
// folder finds the entry again. So offsets hold for as long as their entries
// stand, in any handle, and nothing has to be remembered for them. What is
// there from opendir to the end is listed exactly once, however much appears
// meanwhile.
type openFolder struct {
	fs           *FS
	self, parent inode

	mu     sync.Mutex // guards what follows
	offset uint64     // of the entry that was given last
	page   []entry    // what follows it, as far as it was read
	last   bool       // nothing follows page
}

// The first offsets are those of "." and ".."; an entry's is its place and this.
const placeOffset = 2

// OpenDir opens a folder.
func (s server) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	i := inode(in.NodeId)
	o := &openFolder{fs: s.FS, self: i, parent: rootInode}
	if i != rootInode {
		seq, p, isPart := i.part()
		if p == filesPart {
			o.parent = partInode(seq, folderPart)
		}
		if !isPart {
			n, err := s.agent.Stat(s.ctx, i.node())
			if err != nil {
				return fuse.Status(errnoOf(err))
			}
			seq, o.parent = n.Seq, inodeOf(fetch.Node{ID: n.Parent, Seq: n.Seq})
		}
		d, err := s.agent.BySeq(seq)
		if err != nil {
			return fuse.Status(errnoOf(err))
		}
		if d.State == fetch.Complete && (!isPart || p == filesPart) && s.announcer.works.Load() {
			// Nothing will come or go there but with the whole download.
			out.OpenFlags = fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
		}
	}
	out.Fh = s.handles.add(o)
	return fuse.OK
}

// ReleaseDir closes a folder.
func (s server) ReleaseDir(in *fuse.ReleaseIn) { s.handles.remove(in.Fh) }

// ReadDir lists a folder.
func (s server) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	o, ok := s.handles.get(in.Fh).(*openFolder)
	if !ok {
		return fuse.EBADF
	}
	return fuse.Status(o.list(in.Offset, func(e fuse.DirEntry, _ attr) bool { return out.AddDirEntry(e) }))
}

// ReadDirPlus lists a folder, and gives the kernel what is in it at once, but
// for status files, of which nothing may be kept.
func (s server) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	o, ok := s.handles.get(in.Fh).(*openFolder)
	if !ok {
		return fuse.EBADF
	}
	return fuse.Status(o.list(in.Offset, func(e fuse.DirEntry, a attr) bool {
		given := out.AddDirLookupEntry(e)
		if given == nil {
			return false
		}
		if e.Name != "." && e.Name != ".." && s.mayKeep(a) > 0 {
			s.enter(given, a, false)
		}
		return true
	}))
}

// list calls add for what follows an offset, until it returns false.
func (o *openFolder) list(offset uint64, add func(fuse.DirEntry, attr) bool) syscall.Errno {
	o.mu.Lock()
	defer o.mu.Unlock()
	if offset != o.offset {
		o.offset, o.page, o.last = offset, nil, false
	}
	for {
		e, errno := o.next()
		if errno != 0 || e == nil {
			return errno
		}
		ok := add(fuse.DirEntry{Name: e.name, Mode: e.attr.mode, Ino: uint64(e.attr.inode), Off: e.place}, e.attr)
		if !ok {
			return 0
		}
		if o.offset >= placeOffset {
			if o.page = o.page[1:]; len(o.page) == 0 {
				o.page = nil
			}
		}
		o.offset = e.place
	}
}

// next returns the entry that follows offset, its place as an offset, or nil at the end.
func (o *openFolder) next() (*entry, syscall.Errno) {
	switch o.offset {
	case 0:
		return &entry{".", 1, folderAttr(o.self, time.Time{})}, 0
	case 1:
		return &entry{"..", placeOffset, folderAttr(o.parent, time.Time{})}, 0
	}
	if len(o.page) == 0 && !o.last {
		var errno syscall.Errno
		o.page, o.last, errno = o.fs.readFolder(o.self, o.offset-placeOffset, pageSize)
		if errno == syscall.ENOENT {
			// The folder is gone, and so is what was in it.
			o.page, o.last, errno = nil, true, 0
		}
		if errno != 0 {
			return nil, errno
		}
	}
	if len(o.page) == 0 {
		return nil, 0
	}
	e := o.page[0]
	e.place += placeOffset
	return &e, 0
}

// readFolder returns up to limit entries of a folder that follow the one at
// place after (0: from the first), and whether these are the last.
func (m *FS) readFolder(folder inode, after uint64, limit int) (page []entry, last bool, errno syscall.Errno) {
	if folder == rootInode {
		// By Seq, which is their place, too.
		all := m.agent.After(int64(after), limit)
		for _, d := range all {
			page = append(page, entry{d.Name, uint64(d.Seq), folderAttr(partInode(d.Seq, folderPart), d.UpdatedAt)})
		}
		return page, len(all) < limit, 0
	}
	if seq, p, ok := folder.part(); ok && p == folderPart {
		d, err := m.agent.BySeq(seq)
		if err != nil {
			return nil, true, errnoOf(err)
		}
		for _, e := range partsOf(d) {
			if uint64(e.part) <= after {
				continue
			}
			a, errno := m.partAttr(d, e.part)
			if errno != 0 {
				return nil, true, errno
			}
			page = append(page, entry{e.name, uint64(e.part), a})
		}
		return page, true, 0
	}
	return m.readNodes(folder, after, limit)
}

// readNodes lists by name. A place is a Node.ID, from which the agent tells
// the name to go on after.
func (m *FS) readNodes(folder inode, after uint64, limit int) (page []entry, last bool, errno syscall.Errno) {
	in, ok := folder.folderNode()
	if !ok {
		return nil, true, syscall.ENOTDIR
	}
	name := ""
	if after != 0 {
		before, err := m.agent.Stat(m.ctx, int64(after))
		if errors.Is(err, os.ErrNotExist) {
			return nil, true, 0
		}
		if err != nil {
			return nil, true, errnoOf(err)
		}
		name = before.Name
	}
	nodes, err := m.agent.ReadFolder(m.ctx, in, name, limit)
	if err != nil {
		return nil, true, errnoOf(err)
	}
	if len(nodes) > 0 {
		m.announcer.lookedInto(nodes[0].Seq)
		if !m.agent.Shown(nodes[0].Seq) {
			return nil, true, 0
		}
	}
	for _, n := range nodes {
		page = append(page, entry{n.Name, uint64(n.ID), nodeAttr(n)})
	}
	return page, len(nodes) < limit, 0
}

// namedPart is one name in the folder of a download; its part is its place in
// a listing.
type namedPart struct {
	name string
	part part
	mode uint32
}

// allParts is what can stand in the folder of a download.
var allParts = []namedPart{
	{"state", statePart, statePerm},
	{"progress", progressPart, filePerm},
	{"error", errorPart, filePerm},
	{"files", filesPart, folderPerm},
}

// partsOf returns what stands in the folder of a download.
func partsOf(d fetch.Download) []namedPart {
	var there []namedPart
	for _, p := range allParts {
		if p.part != errorPart || d.State == fetch.Failed {
			there = append(there, p)
		}
	}
	return there
}

func (p part) String() string {
	for _, n := range allParts {
		if n.part == p {
			return n.name
		}
	}
	return "folder"
}

// partAttr is what stat tells of a part of a download.
func (m *FS) partAttr(d fetch.Download, p part) (attr, syscall.Errno) {
	i := partInode(d.Seq, p)
	switch p {
	case folderPart:
		return folderAttr(i, d.UpdatedAt), 0
	case filesPart:
		top, err := m.agent.Root(d.Seq)
		return folderAttr(i, top.ModTime), errnoOf(err)
	case errorPart:
		if d.State != fetch.Failed {
			return attr{}, syscall.ENOENT
		}
	case statePart, progressPart:
	default:
		return attr{}, syscall.ENOENT
	}
	return statusAttr(d, p, len(content(p, d))), 0
}
