package transfer

import "time"

// A disk that does not answer, as one on a network may not for hours, keeps
// whoever writes to it. Connections that wait for it so do not count: their
// number is bounded, and other jobs, whose disks are well, need them. The job
// gets no more of them meanwhile, nor files, for they would end up waiting too.

// store says that what has come over c is being written from now on, stored
// that it is written.
func (c *claim) store() { c.storing.Store(int64(time.Since(c.file.job.engine.epoch)) | 1) }

func (c *claim) stored() {
	e := c.file.job.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	c.storing.Store(0)
	if !c.stuck {
		return
	}
	c.stuck = false
	c.file.job.stuck--
	c.file.job.running++
	e.busy++
}

// setStuck finds the connections that wait for the disk. Called with e.mu held.
func (e *Engine) setStuck(now time.Time) {
	for _, j := range e.jobs {
		for _, f := range j.files {
			for _, c := range f.claims {
				since := c.storing.Load()
				if since == 0 || c.stuck || now.Sub(e.epoch)-time.Duration(since) < e.cfg.Patience {
					continue
				}
				c.stuck = true
				j.stuck++
				j.running--
				e.busy--
				if c.leaves {
					c.leaves = false
					e.leaving--
				}
			}
		}
	}
}
