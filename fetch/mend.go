package fetch

import (
	"math"
	"time"

	"masvfs/fetch/store"
)

// mend looks every now and then whether time has mended what failed.
func (a *Agent) mend() {
	tick := time.NewTicker(a.cfg.MendInterval)
	defer tick.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
		var due []*download
		a.mu.Lock()
		now := time.Now()
		var deleting []*download
		for _, d := range a.order {
			if d.row.Deleting {
				deleting = append(deleting, d)
			}
			if d.row.State == string(Failed) && !d.row.RetryAt.IsZero() && !d.row.RetryAt.After(now) && !d.row.Deleting {
				due = append(due, d)
			}
		}
		a.mu.Unlock()
		for _, d := range deleting {
			a.goDo(func() { a.finishDelete(d) }) // its disk may not answer
		}
		for _, d := range due {
			if err := a.retry(d); err != nil {
				a.log.Error("download cannot be tried again", "download", d.id, "error", err)
			}
		}
	}
}

// retry tries a failed download again. One that waits for room is left alone until there is some.
func (a *Agent) retry(d *download) error {
	if !d.op.TryLock() {
		return nil // somebody is at it just now
	}
	defer d.op.Unlock()
	row := a.row(d)
	if row.State != string(Failed) || row.Deleting {
		return nil
	}
	if row.Code == string(CodeNoSpace) && row.PackageID != "" {
		tree, err := a.roomyTree(d)
		if err != nil {
			return nil
		}
		tree.Close()
	}
	return a.resume(d, func(*store.Download) {})
}

// retryAt says when a problem that time may mend is looked at again: for room
// on the disk soon and always, for anything else more and more rarely.
func (a *Agent) retryAt(p *Problem, tries int) time.Time {
	if !p.mends() {
		return time.Time{}
	}
	wait := a.cfg.MendInterval
	if p.Code != CodeNoSpace {
		wait = min(15*time.Minute, time.Duration(float64(wait)*math.Pow(2, float64(min(tries, 10)))))
	}
	return time.Now().Add(wait)
}
