package fusefs

import (
	"time"
)

// How long it is believed that somebody watches, and how much longer than it
// takes to find out that nobody does the announcer rests before it asks again,
// up to so much: what comes until then waits.
const (
	watchedTime = 2 * time.Second
	askingShare = 20
	maxRest     = time.Second
)

// batch is how many news are told before it is another folder's turn.
const batch = 256

// news is what there is to tell in one folder, or the new folders of a download.
type news struct {
	folder inode // 0: of new folders
	seq    int64
	asked  []item // since these came it was asked whether somebody watches
	items  []item // what came after them
	unborn []item // new folders in folders that are news themselves: they wait for those
	age    age
	queued bool // among announcer.ready
}

// ofBirths reports whether n is the new folders of a download.
func (n *news) ofBirths() bool { return n.folder == 0 }

func (n *news) empty() bool { return len(n.asked)+len(n.items) == 0 }

func (n *news) clear() { n.asked, n.items, n.unborn = nil, nil, nil }

// ask makes all that came so far what was asked about.
func (n *news) ask() {
	if len(n.asked) == 0 {
		n.asked, n.items = n.items, nil
	} else {
		n.asked, n.items = append(n.asked, n.items...), nil
	}
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
	if n.queued || n.age != known || n.empty() {
		return
	}
	if s := a.stories[n.seq]; n.folder != rootInode && s != nil && s.quiet {
		return
	}
	n.queued = true
	a.ready = append(a.ready, n)
	select {
	case a.wake <- struct{}{}:
	default:
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
	if a.watched && time.Since(a.askedAt) < watchedTime {
		n.ask()
	}
	return len(n.asked) > 0 || n.empty()
}

// ask finds out whether somebody watches. The answer holds for what is ready
// now, not for what comes meanwhile; a.mu is held, but not meanwhile.
func (a *announcer) ask() {
	if left := a.rest - time.Since(a.askedAt); left > 0 {
		a.wait(left)
		return
	}
	for _, n := range a.ready {
		n.ask()
	}
	start := time.Now()
	a.mu.Unlock()
	found, took := a.look()
	a.mu.Lock()
	a.watched, a.askedAt, a.rest = found.somebody(), start, took+min(maxRest, askingShare*took)
}

// choose takes from news what is to be told now. What nobody can watch is
// dropped; a.mu is held.
func (a *announcer) choose(n *news) (now []item) {
	some := n.asked
	if !n.ofBirths() {
		some = some[:min(batch, len(some))]
	}
	n.asked = n.asked[len(some):]
	for _, i := range some {
		in := a.folders[i.in]
		switch {
		case n.ofBirths() && in != nil && in.age != known:
			n.unborn = append(n.unborn, i)
		case i.in != rootInode && !a.watched, !a.fs.held.has(i.in):
			a.drop(n, i)
		default:
			now = append(now, i)
		}
	}
	if len(now) == 0 {
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
	a.finish(n.seq, i)
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
	if s := a.stories[n.seq]; n.ofBirths() && s != nil {
		s.told += len(items)
		a.hush(s, folderHold)
	}
	for _, i := range items {
		a.finish(n.seq, i)
	}
	a.enqueue(n)
	a.done(n)
}

// finish counts an item as told, and lets what waits for it follow; a.mu is held.
func (a *announcer) finish(seq int64, i item) {
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
	if !n.ofBirths() && n.empty() && n.age == known && !n.queued && a.folders[n.folder] == n {
		delete(a.folders, n.folder)
		a.tidy(n.seq)
	}
}
