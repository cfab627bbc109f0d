package watcher

import "time"

// writer says whether somebody has a file open for writing.
type writer int

const (
	unknown writer = iota // the kernel cannot tell, or will not tell us
	closed                // nobody has
	open                  // somebody has
)

// patience is for how long a file must stand still before something is done
// with it.
type patience struct {
	settle time.Duration // to take one that may be open
	giveUp time.Duration // to reject one that may be open
	linger time.Duration // to take one that is closed: a script's next ">>" comes within it
	retry  time.Duration // the first pause after an error that may pass
}

func (p *patience) defaults() {
	if p.settle <= 0 {
		p.settle = 2 * time.Second
	}
	if p.giveUp <= 0 {
		p.giveUp = 10 * time.Second
	}
	p.linger = min(100*time.Millisecond, p.settle/4)
	p.retry = min(time.Second, p.settle)
}

// toTake is for how long a file must have been quiet to be taken.
func (p *patience) toTake(w writer) time.Duration {
	if w == closed {
		return p.linger
	}
	return p.settle
}

// toReject is for how long a file must have been quiet to be rejected for what
// it holds. Even a closed one is given a while: browsers and sync clients
// make an empty file first and fill or replace it a moment later.
func (p *patience) toReject(w writer) time.Duration {
	if w == closed {
		return p.settle
	}
	return p.giveUp
}

// next is when to look again at a file that has been quiet since since and
// must be for need. One that is open may be closed before that, of which no
// event tells.
func (p *patience) next(now, since time.Time, w writer, need time.Duration) time.Time {
	due := since.Add(need)
	if poll := now.Add(max(p.linger, min(now.Sub(since)/4, p.settle/4))); w == open && poll.Before(due) {
		return poll
	}
	return due
}

// maxPause bounds the pause after an error that may pass.
const maxPause = time.Minute

// pause is how long to wait after so many failures in a row.
func (p *patience) pause(failures int) time.Duration {
	return min(p.retry<<min(failures-1, 16), maxPause)
}

// pending is a file that is being waited for.
type pending struct {
	seen     sight
	since    time.Time // when it was last seen, or said, to change
	due      time.Time // when to look at it
	failures int       // in a row
	bad      bool      // it was read, and is to be rejected unless it changes
}

// kept is a file that has been dealt with and stands in the inbox all the
// same. It is not read again before it changes.
type kept struct {
	seen sight
	pass uint32 // the last rescan that saw it
	what verdict
}

// sight is what one look at a file's metadata told.
type sight struct {
	inode    uint64
	size     int64
	modified int64 // nanoseconds since 1970
	changed  int64 // the same of the metadata, where there is such a time
	mode     uint32
}

// same reports whether two sights are of one file with one content.
func (s sight) same(o sight) bool {
	return s.inode == o.inode && s.size == o.size && s.modified == o.modified
}

func (s sight) modTime() time.Time { return time.Unix(0, s.modified) }
