package fetch

import (
	"math"
	"time"

	"masvfs/fetch/dest"
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
			if d.row.State == string(Failed) && !d.row.RetryAt.IsZero() && !d.row.RetryAt.After(now) && !d.row.Deleting && !d.mending {
				d.mending = true
				due = append(due, d)
			}
		}
		a.mu.Unlock()
		for _, d := range deleting {
			a.deletion(d)
		}
		for _, d := range due {
			a.goDo(func() { a.retry(d) })
		}
	}
}

// retry tries a failed download again. One that waits for room is left alone
// until there is some, and one whose disk hangs until what waits for it has
// ended.
func (a *Agent) retry(d *download) {
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		d.mending = false
	}()
	a.mu.Lock()
	row, r := d.row, d.run
	a.mu.Unlock()
	if r != nil && !r.over() {
		return
	}
	if row.Code == string(CodeNoSpace) && row.PackageID != "" && !a.roomy(d, row.DstFolder) {
		return
	}
	d.op.Lock()
	defer d.op.Unlock()
	if row := a.row(d); row.State != string(Failed) || row.Deleting {
		return
	}
	if err := a.resume(d, func(*store.Download) {}); err != nil {
		a.log.Error("download cannot be tried again", "download", d.id, "error", err)
	}
}

// roomy reports whether there is room for a download now.
func (a *Agent) roomy(d *download, folder string) bool {
	var err error
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		var tree *dest.Tree
		if tree, err = a.roomyTree(d); err == nil {
			tree.Close()
		}
	}()
	return a.watch(a.ctx, folder, looked) == nil && err == nil
}

// maxRetry is how long it takes at most until what time may mend is tried again.
const maxRetry = 15 * time.Minute

// retryAt says when a problem that time may mend is looked at again: for room
// on the disk soon and always, for anything else more and more rarely.
func (a *Agent) retryAt(p *Problem, tries int) time.Time {
	if !p.mends() {
		return time.Time{}
	}
	wait := a.cfg.MendInterval
	if p.Code != CodeNoSpace {
		wait = min(maxRetry, time.Duration(float64(wait)*math.Pow(2, float64(min(tries, 10)))))
	}
	return time.Now().Add(wait)
}
