package fusefs

import (
	"syscall"

	"masvfs/fetch"
)

// remove tells that a download is gone: from the inside out, in the folders
// that somebody may watch. Everybody else has missed it at once.
func (t *teller) remove(root int, seq int64) {
	t.mu.Lock()
	s, watched := t.stories[seq], t.watched
	t.mu.Unlock()
	if s == nil {
		return
	}
	walk := act{kind: walked, seq: seq, download: s.name}
	own := partInode(seq, folderPart)
	if watched && t.fs.held.has(own) {
		if folder, err := t.openFolder(root, s.name, walk); err == nil {
			t.clearDownload(folder, walk, s.failed)
			t.close(folder)
		}
	}
	if d, ok := t.fs.agent.ByName(s.name); ok && d.Seq != seq {
		return // its name is another one's by now, whose folder the kernel would take for removed
	}
	what := walk
	what.kind, what.folder, what.attr, what.name = gone, rootInode, attr{inode: own, mode: folderPerm}, s.name
	t.call(root, what)
}

// clearDownload removes what stands in the folder of a download.
func (t *teller) clearDownload(folder int, walk act, failed bool) {
	own, files := partInode(walk.seq, folderPart), partInode(walk.seq, filesPart)
	if t.fs.held.has(files) {
		if fd, err := t.openFolder(folder, filesPart.String(), walk); err == nil {
			t.clear(fd, files, walk)
			t.close(fd)
		}
	}
	for _, p := range allParts {
		if p.part == errorPart && !failed {
			continue
		}
		what := walk
		what.kind, what.folder, what.attr, what.name = gone, own, attr{inode: partInode(walk.seq, p.part), mode: p.mode}, p.name
		t.call(folder, what)
	}
}

// clear removes what is in a folder of the tree.
func (t *teller) clear(fd int, folder inode, walk act) {
	in, _ := folder.folderNode()
	for after := ""; !t.isClosing(); {
		nodes, err := t.fs.agent.ReadFolder(t.fs.ctx, in, after, pageSize)
		if err != nil || len(nodes) == 0 {
			return
		}
		for _, n := range nodes {
			after = n.Name
			t.clearNode(fd, folder, n, walk)
		}
	}
}

func (t *teller) clearNode(fd int, folder inode, n fetch.Node, walk act) {
	what := walk
	what.kind, what.folder, what.attr, what.name = gone, folder, nodeAttr(n), n.Name
	if what.mode&syscall.S_IFMT == syscall.S_IFDIR && t.fs.held.has(what.inode) {
		if inner, err := t.openFolder(fd, n.Name, walk); err == nil {
			t.clear(inner, what.inode, walk)
			t.close(inner)
		}
	}
	t.call(fd, what)
}
