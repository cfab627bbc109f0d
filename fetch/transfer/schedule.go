package transfer

import (
	"cmp"
	"slices"
	"time"
)

// This file is the one place that decides what is fetched next. The unit is a
// range of a file. "These ranges first" would be decided here too: in pick,
// before the jobs' turns, with file.claim for the ranges wanted, on a
// connection that dropping the youngest claim sets free; that claim's bytes
// stay, and the rest of its range is unclaimed again.

const (
	// The size of a range: large enough that requests do not matter, small
	// enough that all connections have work.
	minRange  = 4 << 20
	maxRange  = 64 << 20
	rangeStep = 1 << 20

	// A range in flight is split for an idle connection while more bytes than
	// this are left of it, and more time: a split costs a request, and what
	// the other connection's server has sent beyond the new end. Whether a
	// split has become worth it is looked at now and then. Splits are aligned
	// to whole pages.
	splitAbove = 2 << 20
	splitWorth = 250 * time.Millisecond
	splitLook  = 100 * time.Millisecond
	splitAlign = 4 << 10
)

// rangeSize returns the size of the ranges of a file that misses so many bytes.
func rangeSize(missing int64, connections int) int64 {
	share := missing / int64(4*connections)
	share = (share + rangeStep - 1) / rangeStep * rangeStep
	return min(max(share, minRange), maxRange)
}

// openLimit is how many files of one job may be open: files that wait out a
// failure count, so an outage does not open the whole package.
func (e *Engine) openLimit() int { return 2*e.cfg.Connections + 4 }

// dispatch gives work to the connections that are free. It is called, with
// e.mu held, after every change that may make work or free a connection.
func (e *Engine) dispatch() {
	e.wake.Stop()
	for e.busy < e.cfg.Connections {
		j, work, wake := e.pick(time.Now())
		if work == nil {
			if !wake.IsZero() {
				e.wake.Reset(time.Until(wake))
			}
			return
		}
		e.busy++
		e.served++
		j.running++
		j.served = e.served
		j.tasks.Go(work)
	}
}

// release gives a job's connection back.
func (e *Engine) release(j *job) {
	e.busy--
	j.running--
}

// pick returns what the next free connection is to do, and for which job; or
// nil, and when to ask again, if only time stands against some work.
// Priority first; among equals the job with the fewest connections, then the
// one whose last turn was longest ago.
func (e *Engine) pick(now time.Time) (j *job, work func(), wake time.Time) {
	slices.SortFunc(e.jobs, func(a, b *job) int {
		return cmp.Or(
			cmp.Compare(b.Priority, a.Priority),
			cmp.Compare(a.running, b.running),
			cmp.Compare(a.served, b.served),
		)
	})
	for _, j := range e.jobs {
		work, at := j.pick(now)
		if work != nil {
			return j, work, time.Time{}
		}
		wake = sooner(wake, at)
	}
	return nil, nil, wake
}

// pick returns what a connection can do for the job: the first unclaimed range
// of the files that are open, in the order of supply; else a new file; else
// half of a range that another connection is at, so that no slow connection
// holds up the end.
func (j *job) pick(now time.Time) (work func(), wake time.Time) {
	if j.stopping {
		return nil, time.Time{}
	}
	for _, f := range j.files {
		if f.full {
			continue
		}
		ok, at := f.admits(now)
		if !ok {
			wake = sooner(wake, at)
			continue
		}
		gap := f.gap()
		if gap.Len() == 0 {
			f.full = true
			continue
		}
		return f.claim(gap, now), time.Time{}
	}
	if j.asking {
		return nil, wake // the file that comes is better work than half a range
	}
	if !j.exhausted && len(j.files) < j.engine.openLimit() {
		j.asking = true
		return func() { j.ask() }, time.Time{}
	}
	c, at := j.slowest(now)
	if c != nil {
		return c.split(now), time.Time{}
	}
	return nil, sooner(wake, at)
}

// sooner returns the earlier of two times, of which zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// slowest returns the claim that at its pace takes longest to end, if that is
// worth a second connection; or nil, and when to look again. A claim without
// a byte yet is left alone: nothing is known of its pace.
func (j *job) slowest(now time.Time) (found *claim, look time.Time) {
	longest := splitWorth.Seconds()
	for _, f := range j.files {
		if ok, at := f.admits(now); !ok {
			look = sooner(look, at)
			continue
		}
		for _, c := range f.claims {
			left, got := c.end-c.taken, c.taken-c.start
			if left <= splitAbove {
				continue
			}
			look = sooner(look, now.Add(splitLook))
			if got == 0 {
				continue
			}
			if takes := now.Sub(c.began).Seconds() / float64(got) * float64(left); takes > longest {
				found, longest = c, takes
			}
		}
	}
	return found, look
}

// split claims the back half of what c has left for another connection. The
// request of c goes on, and is ended when it reaches its new end.
func (c *claim) split(now time.Time) (work func()) {
	middle := c.taken + (c.end-c.taken)/2
	middle = (middle + splitAlign - 1) / splitAlign * splitAlign
	back := Span{middle, c.end}
	c.end = middle
	return c.file.claim(back, now)
}

// admits says whether one more connection may work for the file now, and if
// only time stands against it, from when on.
//
// After a failure the file keeps the connections that still work, but gets no
// other one until its pause is over, and then one at a time until bytes arrive.
func (f *file) admits(now time.Time) (bool, time.Time) {
	switch {
	case f.err != nil, f.emptied, f.job.stopping:
		return false, time.Time{}
	case f.asking: // one connection asks for the URL, for all
		return false, time.Time{}
	case f.single && len(f.claims) > 0:
		return false, time.Time{}
	case now.Before(f.notBefore):
		return len(f.claims) < f.allowed, f.notBefore
	case f.failures > 0:
		return len(f.claims) <= f.allowed, time.Time{}
	}
	return true, time.Time{}
}

// gap returns the first range of the file that has neither arrived nor is
// claimed, at most one range size long unless the rest is not worth a request.
// A file that is fetched in a single stream has no range size.
func (f *file) gap() Span {
	var pos int64
	for moved := true; moved; {
		moved = false
		if i := f.arrived.reaching(pos); i < len(f.arrived) && f.arrived[i].Start <= pos && f.arrived[i].End > pos {
			pos, moved = f.arrived[i].End, true
		}
		for _, c := range f.claims {
			if c.done <= pos && pos < c.end {
				pos, moved = c.end, true
			}
		}
	}
	end := f.Size
	if i := f.arrived.reaching(pos + 1); i < len(f.arrived) {
		end = min(end, max(f.arrived[i].Start, pos))
	}
	for _, c := range f.claims {
		if c.done >= pos && c.done < c.end {
			end = min(end, c.done)
		}
	}
	if !f.single && end-pos > f.step+rangeStep {
		end = pos + f.step
	}
	return Span{pos, end}
}
