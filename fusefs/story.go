package fusefs

import (
	"time"

	"masvfs/fetch"
)

// nameWait is how long a new download waits for its package's name, so that it
// is not told of by another one first.
const nameWait = 500 * time.Millisecond

// progressInterval is how often a change of progress is told at most.
const progressInterval = time.Second

// story is what is being told of one download.
type story struct {
	seq        int64
	name       string    // which watchers know it by
	waiting    bool      // it is not introduced yet
	introduced time.Time // when its folder was told of; zero: before the start, or not yet
	births     *news     // its new folders
	quiet      bool      // new folders were just told of
	fresh      []birth   // these
	looked     time.Time // when somebody last looked into a folder of it, while it is quiet
	told       int       // things since it was last quiet
	hushes     int       // how often it was made quiet
	pending    int       // news in its tree
	after      []item    // of its own folder, which wait for those
	removed    bool
	failed     bool // it had an error file when it was removed
}

func (a *announcer) tell(e fetch.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing || e.Kind != fetch.Removed && !a.fs.agent.Shown(e.Seq) {
		return // late news of what is removed
	}
	own := partInode(e.Seq, folderPart)
	switch e.Kind {
	case fetch.Added:
		s := a.story(e.Seq, e.Name)
		s.waiting = true
		a.await(own, e.Seq)
		a.await(partInode(e.Seq, filesPart), e.Seq)
		a.later(nameWait, func() { a.introduce(s) })
	case fetch.Renamed:
		s := a.story(e.Seq, e.OldName)
		if s.waiting {
			a.introduce(s)
			return
		}
		a.add(rootInode, e.Seq, item{renamed, rootInode, own})
	case fetch.Appeared:
		a.appeared(e)
	case fetch.Changed:
		if e.State == e.Was || a.folders[own] == nil && !a.fs.held.has(own) {
			return
		}
		s := a.story(e.Seq, e.Name)
		items := []item{{modified, own, partInode(e.Seq, statePart)}}
		switch {
		case e.State == fetch.Failed:
			items = append(items, item{made, own, partInode(e.Seq, errorPart)})
		case e.Was == fetch.Failed:
			items = append(items, item{gone, own, partInode(e.Seq, errorPart)})
		}
		if s.pending > 0 {
			s.after = append(s.after, items...)
			return
		}
		for _, i := range items {
			a.add(own, e.Seq, i)
		}
		a.tidy(e.Seq)
	case fetch.Removed:
		s := a.story(e.Seq, e.Name)
		for i, n := range a.folders {
			if n.seq == e.Seq && i != rootInode {
				n.clear()
				delete(a.folders, i)
			}
		}
		s.births.clear()
		s.removed, s.failed, s.pending, s.after = true, e.State == fetch.Failed, 0, nil
		a.add(rootInode, e.Seq, item{removed, rootInode, own})
	}
}

// story returns the story of a download, begun if there is none; a.mu is held.
func (a *announcer) story(seq int64, name string) *story {
	s := a.stories[seq]
	if s == nil {
		s = &story{seq: seq, name: name, births: &news{seq: seq}}
		a.stories[seq] = s
	}
	return s
}

// introduce tells of a new download, once; a.mu is held.
func (a *announcer) introduce(s *story) {
	if s.waiting && !s.removed {
		s.waiting = false
		a.add(rootInode, s.seq, item{made, rootInode, partInode(s.seq, folderPart)})
	}
}

// appeared takes in that something stands in a folder; a.mu is held.
func (a *announcer) appeared(e fetch.Event) {
	folder := inodeOf(fetch.Node{ID: e.Folder, Seq: e.Seq})
	if a.folders[folder] == nil && !a.fs.held.has(folder) {
		return
	}
	s := a.story(e.Seq, e.Name)
	if s.removed {
		return
	}
	i := inodeOf(fetch.Node{ID: e.Node, Seq: e.Seq})
	s.pending++
	if !e.Dir {
		a.add(folder, e.Seq, item{made, folder, i})
		return
	}
	a.await(i, e.Seq)
	s.births.items = append(s.births.items, item{made, folder, i})
	a.enqueue(s.births)
}

// await makes a folder one that is news itself; a.mu is held.
func (a *announcer) await(folder inode, seq int64) {
	if a.folders[folder] == nil {
		a.folders[folder] = &news{folder: folder, seq: seq, age: unborn}
	}
}

// bear makes a new folder that was told of a fresh one; a.mu is held.
func (a *announcer) bear(i item) {
	seq, p, isPart := i.inode.part()
	if !isPart {
		if n := a.folders[i.inode]; n != nil {
			n.age = fresh
			if s := a.stories[n.seq]; s != nil {
				s.fresh = append(s.fresh, birth{i.in, i.inode})
			}
		}
		return
	}
	s := a.stories[seq]
	if p != folderPart || s == nil {
		return
	}
	s.introduced = time.Now()
	s.fresh = append(s.fresh, birth{rootInode, i.inode}, birth{i.inode, partInode(seq, filesPart)})
	for _, part := range []part{folderPart, filesPart} {
		if n := a.folders[partInode(seq, part)]; n != nil {
			n.age = fresh
		}
	}
	a.hush(s, downloadHold)
}

// tidy forgets a story that says nothing which the agent does not; a.mu is held.
func (a *announcer) tidy(seq int64) {
	s := a.stories[seq]
	if s == nil || s.waiting || s.removed || s.quiet || s.pending > 0 || len(s.after) > 0 || a.folders[partInode(seq, folderPart)] != nil {
		return
	}
	if d, err := a.fs.agent.BySeq(seq); err != nil || d.Name == s.name {
		delete(a.stories, seq)
	}
}

// tick tells of progress in downloads that somebody may watch.
func (a *announcer) tick() {
	watched := a.fs.held.downloads()
	a.mu.Lock()
	defer a.mu.Unlock()
	ticked := make(map[int64]time.Time, len(watched))
	for _, seq := range watched {
		d, err := a.fs.agent.BySeq(seq)
		if err != nil {
			continue
		}
		ticked[seq] = d.UpdatedAt
		if last, ok := a.ticked[seq]; ok && !last.Equal(d.UpdatedAt) {
			own := partInode(seq, folderPart)
			if n := a.folders[own]; n == nil || n.age == known && n.empty() {
				a.add(own, seq, item{modified, own, partInode(seq, progressPart)})
			}
		}
	}
	a.ticked = ticked
}
