package fetch

import (
	"context"
	"errors"
	"time"

	"masvfs/fetch/masv"
	"masvfs/fetch/store"
)

// haltTime bounds how long a pause waits for what is under way to end. The
// pause holds all the same; only a disk that hangs takes longer.
const haltTime = 10 * time.Second

// Pause stops a download; what has arrived stays. It changes nothing for one
// that is paused, complete or in error.
func (a *Agent) Pause(ctx context.Context, id string) (Download, error) {
	d, err := a.find(id)
	if err != nil {
		return Download{}, err
	}
	if _, err := a.pause(ctx, d); err != nil {
		return Download{}, err
	}
	return a.snapshot(d), nil
}

func (a *Agent) pause(ctx context.Context, d *download) (changed bool, err error) {
	d.op.Lock()
	defer d.op.Unlock()
	err = a.change(d, func(row *store.Download) error {
		if changed = row.State == string(Transferring) && !row.Deleting; changed {
			row.State = string(Paused)
			return nil
		}
		return errUnchanged
	})
	if err == errUnchanged {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, haltTime)
	defer cancel()
	if err := a.halt(ctx, d); err != nil {
		a.log.Warn("paused download has not stopped yet", "download", d.id)
	}
	return true, nil
}

// Resume goes on with a download that is paused or in error, with password
// if one is given. It changes nothing for one that is transferring or complete.
func (a *Agent) Resume(ctx context.Context, id string, password masv.Secret) (Download, error) {
	d, err := a.find(id)
	if err != nil {
		return Download{}, err
	}
	d.op.Lock()
	err = a.resume(d, func(row *store.Download) {
		if password != "" {
			row.Password = password
		}
	})
	d.op.Unlock()
	if err != nil {
		return Download{}, err
	}
	return a.snapshot(d), nil
}

// resume makes d transferring, where it is paused or in error; d.op is held.
func (a *Agent) resume(d *download, with func(*store.Download)) error {
	switch row := a.row(d); {
	case row.Deleting:
		return ErrNotFound
	case row.State != string(Paused) && row.State != string(Failed):
		return nil
	}
	// Files that failed get their chance before the state says that they do.
	err := a.count(d, func() (totals store.Totals, err error) {
		_, totals, err = a.store.Retry(context.Background(), d.seq)
		return totals, err
	})
	if err != nil {
		return err
	}
	err = a.change(d, func(row *store.Download) error {
		with(row)
		row.State = string(Transferring)
		row.Code, row.Message, row.Recoverable, row.RetryAt = "", "", false, time.Time{}
		return nil
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() == nil {
		a.start(d)
	}
	return nil
}

// count makes a change of what is stored of d's files, and takes over the
// totals after it. One at a time: they must not overtake one another.
func (a *Agent) count(d *download, f func() (store.Totals, error)) error {
	a.counting.Lock()
	defer a.counting.Unlock()
	totals, err := f()
	if err != nil {
		return err
	}
	a.mu.Lock()
	d.totals = totals
	a.mu.Unlock()
	return nil
}

// PauseAll pauses every download that is transferring, and says how many.
func (a *Agent) PauseAll(ctx context.Context) (int, error) {
	return a.each(func(d *download) (bool, error) { return a.pause(ctx, d) })
}

// ResumeAll resumes every download that is paused or in a recoverable error, and says how many.
func (a *Agent) ResumeAll(context.Context) (int, error) {
	return a.each(func(d *download) (bool, error) {
		d.op.Lock()
		defer d.op.Unlock()
		a.mu.Lock()
		idle := d.row.State == string(Paused) || d.row.State == string(Failed) && d.row.Recoverable
		a.mu.Unlock()
		if !idle {
			return false, nil
		}
		return true, a.resume(d, func(*store.Download) {})
	})
}

func (a *Agent) each(f func(*download) (bool, error)) (changed int, err error) {
	a.mu.Lock()
	all := make([]*download, 0, len(a.order))
	for _, d := range a.order {
		if !d.row.Deleting {
			all = append(all, d)
		}
	}
	a.mu.Unlock()
	for _, d := range all {
		yes, err := f(d)
		if errors.Is(err, ErrNotFound) {
			continue // it is being deleted
		}
		if err != nil {
			return changed, err
		}
		if yes {
			changed++
		}
	}
	return changed, nil
}
