package transfer

import "time"

// beat is how often what only time tells is looked at while there is a job:
// that a connection has fallen silent, that half a range has become worth
// another one, that a number of connections has proven itself.
const beat = 100 * time.Millisecond

// pulse is called with every beat.
func (e *Engine) pulse() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.jobs) == 0 {
		e.beating = false
		return
	}
	now := time.Now()
	e.cutSilent(now)
	e.setStuck(now)
	e.measure(now)
	e.dispatch()
	e.timer.Reset(min(beat, e.cfg.StallTimeout/4))
}

// listen says that c waits for bytes from now on, heard that they came, or
// that nobody waits any more.
func (c *claim) listen() { c.listening.Store(int64(time.Since(c.file.job.engine.epoch)) | 1) }

func (c *claim) heard() {
	since := c.listening.Swap(0)
	e := c.file.job.engine
	if wait := time.Since(e.epoch) - time.Duration(since); since != 0 && wait > e.cfg.Patience/8 {
		e.mu.Lock()
		e.slow = max(e.slow, wait)
		e.mu.Unlock()
	}
}

// silent returns for how long c has been waiting for bytes.
func (c *claim) silent(now time.Time) time.Duration {
	since := c.listening.Load()
	if since == 0 {
		return 0
	}
	return now.Sub(c.file.job.engine.epoch) - time.Duration(since)
}

// cutSilent ends requests that no bytes come for. Long before that counts as
// a failure another connection is tried in its place: one in four may hang
// while the others are fine, and the last one would hold up the end. That is
// tried after twice what answers have been seen to take, and for a file after
// twice as long each time, so that a storage that is slow to begin gets its time.
func (e *Engine) cutSilent(now time.Time) {
	e.slow -= e.slow / 64
	for _, j := range e.jobs {
		for _, f := range j.files {
			patience := max(e.cfg.Patience, 2*e.slow)
			patience = min(patience<<min(f.cuts, 10), e.cfg.StallTimeout)
			cut := false
			for _, c := range f.claims {
				switch silent := c.silent(now); {
				case silent >= e.cfg.StallTimeout:
					c.cancel(errStalled)
				case silent >= patience && !f.single:
					c.cancel(errSilent)
					cut = true
				}
			}
			if cut {
				f.cuts++
				f.cutAt = now
				f.log().Debug("a connection fell silent, another one is tried", "silent", patience)
			}
		}
	}
}
