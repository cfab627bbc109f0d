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
	// the other connection's server has sent beyond the new end. Splits are
	// aligned to whole pages.
	splitAbove = 2 << 20
	splitWorth = 250 * time.Millisecond
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

// dispatch gives work to the connections that are free, and sees to it that
// there is more. It is called, with e.mu held, after every change that may
// make work or free a connection, and with every beat.
func (e *Engine) dispatch() {
	e.wake.Stop()
	now := time.Now()
	allowed, _ := e.allowed()
	var wake time.Time
	for e.busy < allowed {
		j, work, at := e.pick(now)
		if work == nil {
			wake = at
			break
		}
		e.busy++
		e.served++
		j.running++
		j.served = e.served
		j.tasks.Go(work)
	}
	if e.busy < allowed {
		e.gauge.spare++
	} else {
		e.gauge.full++
		e.makeRoom(now)
	}
	for _, j := range e.jobs {
		wake = sooner(wake, j.prepare(now))
	}
	if !wake.IsZero() {
		e.wake.Reset(time.Until(wake))
	}
}

// makeRoom frees a connection for a job that has work and fewer of them than
// is its due, if another job has more: what is large must not keep what is
// small, or more urgent, waiting until a range has ended. The claim keeps its
// bytes, and somebody else will claim the rest of its range.
func (e *Engine) makeRoom(now time.Time) {
	if len(e.jobs) < 2 || e.leaving > 0 {
		return
	}
	e.sort()
	for _, j := range e.jobs {
		if !j.ready(now) {
			continue
		}
		for _, k := range slices.Backward(e.jobs) {
			if k.Priority == j.Priority && k.running <= j.running+1 || k.Priority > j.Priority {
				return // nobody has too many
			}
			if c := k.longest(); c != nil {
				c.leaves = true
				e.leaving++
				c.cancel(errYield)
				return
			}
		}
		return
	}
}

// ready reports whether a connection could work for the job just now.
func (j *job) ready(now time.Time) bool {
	return j.stuck == 0 && slices.ContainsFunc(j.files, func(f *file) bool {
		ok, _ := f.admits(now)
		return ok && !f.full && f.url != "" && f.gap().Len() > 0
	})
}

// longest returns the claim that has most left, if that is worth another request.
func (j *job) longest() (found *claim) {
	left := int64(splitAbove)
	for _, f := range j.files {
		for _, c := range f.claims {
			if l := c.end - c.taken; l > left && !f.single && !c.leaves && !c.stuck {
				found, left = c, l
			}
		}
	}
	return found
}

// prepare has the job's next files opened and their URLs asked for before a
// connection needs them. If only time stands against that, it returns when to
// be called again.
func (j *job) prepare(now time.Time) (wake time.Time) {
	if j.stopping || j.stuck > 0 {
		return time.Time{}
	}
	e := j.engine
	idle := 0       // files that no connection is at yet
	var ahead int64 // bytes that nobody has claimed
	for _, f := range j.files {
		if f.full || f.err != nil || f.failures > 0 && f.url != "" {
			continue
		}
		if f.url == "" && !f.asking {
			ok, at := f.admits(now)
			switch {
			case !ok:
				wake = sooner(wake, at)
				continue
			case f.gap().Len() == 0:
				f.full = true
				continue
			case e.asking < e.width.now:
				e.asking++
				f.asking = true
				t, stale := try{began: now}, f.stale
				j.tasks.Go(func() { f.ask(t, stale) })
			}
		}
		if len(f.claims) == 0 {
			idle++
		}
		ahead += f.Size - f.bytes
		for _, c := range f.claims {
			ahead -= c.end - c.done
		}
	}
	width := max(2, e.width.now/len(e.jobs))
	if !j.drawing && !j.exhausted && len(j.files) < e.openLimit() && idle < width && ahead < int64(width)*minRange {
		j.drawing = true
		j.tasks.Go(j.draw)
	}
	return wake
}

// pick returns what the next free connection is to do, and for which job; or
// nil, and when to ask again, if only time stands against some work.
// Priority first; among equals the job with the fewest connections, then the
// one whose last turn was longest ago.
func (e *Engine) pick(now time.Time) (j *job, work func(), wake time.Time) {
	e.sort()
	for _, j := range e.jobs {
		work, at := j.pick(now)
		if work != nil {
			return j, work, time.Time{}
		}
		wake = sooner(wake, at)
	}
	return nil, nil, wake
}

// sort puts the jobs into the order in which they get connections.
func (e *Engine) sort() {
	slices.SortFunc(e.jobs, func(a, b *job) int {
		return cmp.Or(
			cmp.Compare(b.Priority, a.Priority),
			cmp.Compare(a.running, b.running),
			cmp.Compare(a.served, b.served),
		)
	})
}

// pick returns what a connection can do for the job: the first unclaimed range
// of the files that are open, in the order of supply; else half of a range that
// another connection is at, so that no slow connection holds up the end.
func (j *job) pick(now time.Time) (work func(), wake time.Time) {
	if j.stopping || j.stuck > 0 {
		return nil, time.Time{}
	}
	for _, f := range j.files {
		if f.full || f.url == "" {
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
	if c := j.slowest(now); c != nil {
		return c.split(now), time.Time{}
	}
	return nil, wake
}

// sooner returns the earlier of two times, of which zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// slowest returns the claim that at its pace takes longest to end, if that is
// worth a second connection; or nil. A claim without a byte yet is left alone:
// nothing is known of its pace.
func (j *job) slowest(now time.Time) (found *claim) {
	longest := splitWorth.Seconds()
	for _, f := range j.files {
		if ok, _ := f.admits(now); !ok || f.url == "" {
			continue
		}
		for _, c := range f.claims {
			left, got := c.end-c.taken, c.taken-c.start
			if left <= splitAbove || got == 0 {
				continue
			}
			if takes := now.Sub(c.began).Seconds() / float64(got) * float64(left); takes > longest {
				found, longest = c, takes
			}
		}
	}
	return found
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
