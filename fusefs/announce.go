package fusefs

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"masvfs/fetch"
)

// The announcer has those who watch the mount with inotify told of what
// changes in it. The kernel tells watchers of what is done through a file
// system, and of nothing that happens within it; so the announcer does, by
// system calls through the mount itself, what has happened already: it makes
// the file that is there, and the file system answers as if it had not been.
//
// What is there is there for everybody at once, and the announcement follows.
// Only the announcer, known to the file system by its thread, is told that a
// name is not there yet (Linux 5.14 and later ask before they make a name,
// whatever they know), or that it is there still. Nobody else can make
// anything, and an act is only ever answered while the announcer is at it.
//
// It announces where somebody may watch: in folders that the kernel holds,
// which are those that somebody has looked at not long ago, and only while some
// process watches anything in the mount (see watchers). Who comes to watch
// later finds what is there by listing it.
//
// The news of each folder are told in the order in which they came. New folders
// are told of together, and then nothing more of their download for a moment:
// a recursive watcher needs it to watch them, too, before something is told
// that is in them. A download's new state waits until all that was news in its
// tree before is told.
type announcer struct {
	fs     *FS
	secret string        // a name by which the thread makes itself known
	tid    atomic.Uint32 // its number as the kernel tells it; 0: not known
	doing  atomic.Pointer[act]
	ended  chan struct{} // closed when nothing is announced any more
	quiet  atomic.Int64  // stories that are

	// look returns what is watched in the mount, and how long it took to find
	// out. It is called without mu.
	look func() (watching, time.Duration)

	mu      sync.Mutex // guards what follows
	closing bool
	wake    chan struct{}
	ready   []*news // with something to tell now
	watched bool    // by some process, when that was last asked
	asked   time.Time
	rest    time.Duration // before it is asked again
	folders map[inode]*news
	stories map[int64]*story
	ticked  map[int64]time.Time // of downloads that are watched: what progress was last of
}

// How long a download is quiet after new folders were told of: until all who
// watch the folders that these are in watch them, too. Where that cannot be
// seen, or does not happen, since not everybody watches whole trees: so long
// for the folder of the download itself, so long for others, and longer by so
// much for each thing that watchers may still be busy with, up to so much: what
// was told before, and what is in the new folders, at all of which some look
// before they watch. It is less for those who watch a single folder. And as
// long as somebody looks, up to so much.
const (
	downloadHold = time.Second
	folderHold   = 500 * time.Millisecond
	itemHold     = time.Millisecond
	maxHold      = 10 * time.Second
	loneHold     = 2 * time.Second
	lookHold     = 250 * time.Millisecond
	maxLookHold  = 4 * time.Second
	lookInterval = 20 * time.Millisecond
)

// nameWait is how long a new download waits for its package's name, so that it
// is not told of by another one first.
const nameWait = 500 * time.Millisecond

// comeTime is how soon those who watch the root watch a new download, too.
const comeTime = 100 * time.Millisecond

// progressInterval is how often a change of progress is told at most.
const progressInterval = time.Second

// How long it is believed that somebody watches, and how much longer than it
// takes to find out that nobody does the announcer rests before it asks again:
// what comes until then waits.
const (
	watchedTime = 2 * time.Second
	askingShare = 20
)

// batch is how many news are told before it is another folder's turn.
const batch = 256

// news is what there is to tell in one folder, or the new folders of a download.
type news struct {
	folder inode // 0: of new folders
	seq    int64
	items  []item
	asked  int // how many of them there were when it was asked whether somebody watches
	age    age
	queued bool // among announcer.ready
}

// age says how far a folder is known to watchers.
type age uint8

const (
	known  age = iota // it was there before
	unborn            // it is news itself
	fresh             // it was just told of
)

// item is one thing to tell.
type item struct {
	kind  actKind
	in    inode // the folder
	inode inode
}

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

func newAnnouncer(m *FS) *announcer {
	return &announcer{
		fs:     m,
		secret: ".masvfs-" + rand.Text(),
		ended:  make(chan struct{}),

		look:    func() (watching, time.Duration) { return watching{doubt: true}, 0 },
		wake:    make(chan struct{}, 1),
		folders: make(map[inode]*news),
		stories: make(map[int64]*story),
		ticked:  make(map[int64]time.Time),
	}
}

// Tell implements fetch.Audience.
func (m *FS) Tell(e fetch.Event) { m.announcer.tell(e) }

// Settle implements fetch.Audience. Where nobody has come to watch a new
// download soon after it was told of, nothing is waited for.
func (m *FS) Settle(ctx context.Context, seq int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !m.announcer.settled(seq) {
		select {
		case <-tick.C:
		case <-m.announcer.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// settled reports whether nothing of a download is left to tell to anybody.
func (a *announcer) settled(seq int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stories[seq]
	if s == nil {
		return true
	}
	if s.removed {
		return false // its story ends with its removal
	}
	if !s.introduced.IsZero() && time.Since(s.introduced) > comeTime && !a.fs.held.has(partInode(seq, folderPart)) {
		return true
	}
	return !s.waiting && s.pending == 0 && !s.quiet && len(s.after) == 0
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
		a.expect(own, e.Seq)
		a.expect(partInode(e.Seq, filesPart), e.Seq)
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
				n.items = nil
				delete(a.folders, i)
			}
		}
		s.births.items = nil
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
	a.expect(i, e.Seq)
	s.births.items = append(s.births.items, item{made, folder, i})
	a.enqueue(s.births)
}

// expect makes a folder one that is news itself; a.mu is held.
func (a *announcer) expect(folder inode, seq int64) {
	if a.folders[folder] == nil {
		a.folders[folder] = &news{folder: folder, seq: seq, age: unborn}
	}
}

// add gives a folder something to tell; a.mu is held.
func (a *announcer) add(folder inode, seq int64, i item) {
	n := a.folders[folder]
	if n == nil {
		n = &news{folder: folder, seq: seq}
		a.folders[folder] = n
	}
	n.items = append(n.items, i)
	a.enqueue(n)
}

// enqueue has news told, unless they must wait; a.mu is held.
func (a *announcer) enqueue(n *news) {
	if n.queued || n.age != known || len(n.items) == 0 {
		return
	}
	if s := a.stories[n.seq]; n.folder != rootInode && s != nil && s.quiet {
		return
	}
	n.queued, n.asked = true, 0
	a.ready = append(a.ready, n)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// later calls f after a time, with a.mu held.
func (a *announcer) later(after time.Duration, f func()) {
	time.AfterFunc(after, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.closing {
			f()
		}
	})
}

// hush tells nothing of a download for a while: new folders of it, which are
// fresh, were told of. What is in them follows then; a.mu is held.
func (a *announcer) hush(s *story, hold time.Duration) {
	hold += time.Duration(s.told) * itemHold
	if !s.quiet {
		s.quiet = true
		a.quiet.Add(1)
	}
	s.told = 0
	s.hushes++
	go a.attend(s, s.hushes, hold)
}

// attend ends the quiet of a download, unless a later one does.
func (a *announcer) attend(s *story, mine int, hold time.Duration) {
	begun := time.Now()
	for rest := lookInterval; ; {
		time.Sleep(rest)
		found, took := a.look()
		rest = max(lookInterval, askingShare*took)
		a.mu.Lock()
		if a.closing || s.hushes != mine {
			a.mu.Unlock()
			return
		}
		if a.attended(s, found, hold, time.Since(begun)) {
			s.quiet = false
			a.quiet.Add(-1)
			a.calm(s)
			a.tidy(s.seq)
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
	}
}

// attended reports whether those who watch had the time to watch the new folders
// of a download; a.mu is held.
func (a *announcer) attended(s *story, found watching, hold, waited time.Duration) bool {
	// More may have come meanwhile.
	hold = min(maxHold, hold+time.Duration(s.pending)*itemHold)
	if !found.doubt {
		some, many := found.missing(s.fresh)
		if !some {
			return true
		}
		if !many {
			hold = min(hold, loneHold)
		}
	}
	return s.removed || waited >= hold && (time.Since(s.looked) >= lookHold || waited >= maxLookHold)
}

// calm makes the new folders of a download known ones, and has told what
// waited for that; a.mu is held.
func (a *announcer) calm(s *story) {
	s.fresh = nil
	for _, n := range a.folders {
		if n.seq != s.seq || n.folder == rootInode {
			continue
		}
		if n.age == fresh {
			n.age = known
		}
		a.enqueue(n)
		a.done(n)
	}
	a.enqueue(s.births)
}

// looked takes in that somebody looks into a folder of a download.
func (a *announcer) looked(seq int64) {
	if a.quiet.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.stories[seq]; s != nil && s.quiet {
		s.looked = time.Now()
	}
}

// take returns news to tell; nil when the announcer is to end.
func (a *announcer) take() (*news, []item) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.closing {
		if len(a.ready) == 0 {
			a.wait(0)
			continue
		}
		if !a.sure(a.ready[0]) {
			a.ask()
			continue
		}
		n := a.ready[0]
		if a.ready = a.ready[1:]; len(a.ready) == 0 {
			a.ready = nil
		}
		n.queued = false
		if s := a.stories[n.seq]; n.folder != rootInode && s != nil && s.quiet {
			continue // it has become so since
		}
		if items := a.choose(n); len(items) > 0 {
			return n, items
		}
		a.done(n)
	}
	return nil, nil
}

// wait waits for something to do, or for a time; a.mu is held, but not meanwhile.
func (a *announcer) wait(limit time.Duration) {
	a.mu.Unlock()
	defer a.mu.Lock()
	var over <-chan time.Time
	if limit > 0 {
		over = time.After(limit)
	}
	select {
	case <-a.wake:
	case <-over:
	}
}

// sure reports whether it is known of news if somebody watches; a.mu is held.
func (a *announcer) sure(n *news) bool {
	if a.watched && time.Since(a.asked) < watchedTime {
		return true
	}
	return n.asked > 0 || len(n.items) == 0
}

// ask finds out whether somebody watches. The answer holds for what is ready
// now, not for what comes meanwhile; a.mu is held, but not meanwhile.
func (a *announcer) ask() {
	if left := a.rest - time.Since(a.asked); left > 0 {
		a.wait(left)
		return
	}
	for _, n := range a.ready {
		n.asked = len(n.items)
	}
	start := time.Now()
	a.mu.Unlock()
	found, took := a.look()
	a.mu.Lock()
	a.watched, a.asked, a.rest = found.somebody(), start, took*(askingShare+1)
}

// choose takes from news what is to be told now. What nobody can watch is
// dropped; a.mu is held.
func (a *announcer) choose(n *news) (now []item) {
	some := n.items[:min(batch, len(n.items))]
	if n.folder == 0 {
		some = n.items
	} else if !a.watched && n.folder != rootInode {
		some = n.items[:n.asked]
	}
	n.items = n.items[len(some):]
	again := n.folder != 0
	var later []item
	for at, i := range some {
		in := a.folders[i.in]
		switch {
		case n.folder == 0 && in != nil && in.age != known:
			later = append(later, i)
		case i.in != rootInode && !a.watched && at >= n.asked:
			later, again = append(later, i), true // it came after the question
		case i.in != rootInode && !a.watched, !a.fs.held.has(i.in):
			a.drop(n, i)
		default:
			now = append(now, i)
		}
	}
	if len(later) > 0 {
		n.items = append(later, n.items...)
	}
	if again && len(now) == 0 {
		a.enqueue(n)
	}
	return now
}

// drop forgets an item that nobody can watch, and, if it is a new folder, that
// it is one; a.mu is held.
func (a *announcer) drop(n *news, i item) {
	if inner := a.folders[i.inode]; i.kind == made && inner != nil && inner.age == unborn {
		inner.age = known
		a.enqueue(inner)
		a.done(inner)
	}
	a.settle(n.seq, i)
}

// told takes in that items were told.
func (a *announcer) told(n *news, items []item) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// A download is quiet before what was told is settled: its story must not
	// end while new folders wait for it to be so no longer.
	for _, i := range items {
		if i.kind == made {
			a.bear(i)
		}
	}
	if s := a.stories[n.seq]; n.folder == 0 && s != nil {
		s.told += len(items)
		a.hush(s, folderHold)
	}
	for _, i := range items {
		a.settle(n.seq, i)
	}
	a.enqueue(n)
	a.done(n)
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
	if a.watched {
		a.hush(s, downloadHold)
	} else {
		a.calm(s)
	}
}

// settle counts an item as told, and lets what waits for it follow; a.mu is held.
func (a *announcer) settle(seq int64, i item) {
	_, _, isPart := i.inode.part()
	if isPart {
		seq, _, _ = i.inode.part()
	}
	s := a.stories[seq]
	if s == nil {
		return
	}
	if i.kind == removed {
		delete(a.stories, seq)
		return
	}
	s.told++
	if !isPart && s.pending > 0 {
		s.pending--
	}
	if s.pending == 0 {
		for _, i := range s.after {
			a.add(i.in, seq, i)
		}
		s.after = nil
	}
	a.tidy(seq)
}

// done forgets a folder that has nothing to tell and is not new; a.mu is held.
func (a *announcer) done(n *news) {
	if n.folder != 0 && len(n.items) == 0 && n.age == known && !n.queued && a.folders[n.folder] == n {
		delete(a.folders, n.folder)
		a.tidy(n.seq)
	}
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
			if n := a.folders[own]; n == nil || n.age == known && len(n.items) == 0 {
				a.add(own, seq, item{modified, own, partInode(seq, progressPart)})
			}
		}
	}
	a.ticked = ticked
}

// start begins to announce, until stop or until the mount is gone.
func (a *announcer) start() error {
	t, err := newTeller(a)
	if err != nil {
		close(a.ended)
		a.stop()
		return err
	}
	w := watchers{device: deviceField(unix.Major(t.device), unix.Minor(t.device)), shared: a.fs.shared}
	a.look = w.look
	go func() {
		defer close(a.ended)
		defer t.thread.close()
		for {
			n, items := a.take()
			if n == nil {
				return
			}
			if err := t.perform(n, items); err != nil {
				a.fs.log.Debug("cannot announce", "mount", a.fs.path, "err", err)
			}
			a.told(n, items)
		}
	}()
	go func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.tick()
			case <-a.ended:
				return
			}
		}
	}()
	return nil
}

// stop has the announcer end after what it is at, and take in nothing more.
func (a *announcer) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closing = true
	a.ready, a.folders = nil, make(map[inode]*news)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// act returns what the announcer is at, if it is the one who asks.
func (a *announcer) act(h *fuse.InHeader, name string) *act {
	tid := a.tid.Load()
	if tid == 0 && h.Pid != 0 && name == a.secret {
		a.tid.Store(h.Pid)
		return nil
	}
	if tid == 0 || h.Pid != tid {
		return nil
	}
	return a.doing.Load()
}
