package fusefs

import (
	"time"
)

// A download is quiet after new folders of it were told of, until all who watch
// the folders that these are in watch them, too. Where that cannot be seen, or
// does not happen, since not everybody watches whole trees, time decides.
const (
	// So long after the folder of the download itself, and after others.
	downloadHold = time.Second
	folderHold   = 500 * time.Millisecond
	// And longer for each thing that watchers may still be busy with: what was
	// told before, and what is in the new folders, since some look at all of it
	// before they watch.
	itemHold = time.Millisecond
	// At most so long; those who watch a single folder are not waited for longer
	// than the second.
	maxHold  = 10 * time.Second
	loneHold = 2 * time.Second
	// And as long as somebody looks into the download, up to so long.
	lookHold    = 250 * time.Millisecond
	maxLookHold = 4 * time.Second
	// How often it is found out who watches.
	lookInterval = 20 * time.Millisecond
)

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
		a.quiets.Add(1)
	}
	s.told = 0
	s.hushes++
	go a.attend(s, s.hushes, hold)
}

// attend ends the quiet of a download, unless a later one does.
func (a *announcer) attend(s *story, mine int, hold time.Duration) {
	begun := time.Now()
	for rest := lookInterval; ; {
		select {
		case <-time.After(rest):
		case <-a.ended:
			return
		}
		found, took := a.look()
		rest = max(lookInterval, min(maxRest, askingShare*took))
		a.mu.Lock()
		if a.closing || s.hushes != mine {
			a.mu.Unlock()
			return
		}
		if a.attended(s, found, hold, time.Since(begun)) {
			s.quiet = false
			a.quiets.Add(-1)
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
	b := s.births
	b.asked, b.unborn = append(b.unborn, b.asked...), nil
	a.enqueue(b)
}

// lookedInto takes in that somebody looks into a folder of a download.
func (a *announcer) lookedInto(seq int64) {
	if a.quiets.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.stories[seq]; s != nil && s.quiet {
		s.looked = time.Now()
	}
}
