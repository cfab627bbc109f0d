package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	refusalsToFail  = 3 // in a row, each of a fresh URL
	lengthsToFail   = 2 // the same
	senselessToFail = 5 // in a row
	changesToFail   = 5 // more are too many
	failuresToRenew = 3 // in a row, then another URL may help
	failuresToWarn  = 5 // in a row, then somebody may want to know

	// urlFresh is how old a URL may be that is refused the first time it is
	// used, and cannot have expired: MASV's live for minutes at least.
	urlFresh = time.Minute
)

// trouble is what went wrong with a file since bytes last arrived.
type trouble struct {
	backoff   Backoff
	failures  int
	failedAt  time.Time
	notBefore time.Time // no connection is added until then,
	allowed   int       // above this number of them
	refusals  int
	lengths   int
	senseless int
	changes   int // of the object's version; never forgotten
}

// judge decides what follows from the end of an attempt, whose claim is no
// longer there. Called with engine.mu held; the line for the log, if there is
// one, is to be written without.
func (f *file) judge(t try, err error) (note func()) {
	switch {
	case err == nil, f.err != nil, f.job.stopping, f.job.ctx.Err() != nil:
		return nil
	case errors.Is(err, errSilent), errors.Is(err, errYield):
		return nil // nothing has failed
	}
	now := time.Now()
	// What fails at the same time fails for the same reason, and counts once.
	fresh := t.began.After(f.failedAt)

	var (
		abort     *abortError
		permanent *permanentError
		refused   *refusal
		length    *wrongLength
		nonsense  *senseless
	)
	switch {
	case errors.As(err, &abort):
		f.job.stop(err)
		return nil

	case errors.As(err, &permanent):
		f.fail(permanent.err)
		return nil

	case errors.As(err, &refused):
		if t.issue != f.issue {
			return nil // another connection has seen to it
		}
		expired := f.worked || t.began.Sub(f.issued) > urlFresh
		f.renew()
		if expired {
			return nil
		}
		if f.refusals++; f.refusals >= refusalsToFail {
			f.fail(fmt.Errorf("%w: %w", ErrRefused, err))
			return nil
		}

	case errors.As(err, &length):
		if t.issue != f.issue {
			return nil
		}
		f.renew()
		if f.lengths++; f.lengths >= lengthsToFail {
			f.fail(fmt.Errorf("%w: %w", ErrChanged, err))
			return nil
		}

	case errors.Is(err, errOtherVersion):
		f.restart()
		if f.changes++; f.changes > changesToFail {
			f.fail(fmt.Errorf("%w: it was replaced %d times", ErrChanged, f.changes))
			return nil
		}

	case errors.Is(err, errUnguarded):
		f.restart()
		f.single = true
		return nil

	case errors.As(err, &nonsense):
		if fresh {
			f.senseless++
		}
		if f.senseless >= senselessToFail {
			f.fail(fmt.Errorf("%w: %w", ErrInvalid, err))
			return nil
		}
	}

	if fresh {
		f.failures++
		if f.failures%failuresToRenew == 0 && t.url != "" && t.issue == f.issue {
			f.renew()
		}
	}
	f.pause(now, fresh, retryAfter(err))
	level := slog.LevelDebug
	if fresh && f.failures == failuresToWarn {
		level = slog.LevelWarn
	}
	failures, pause := f.failures, f.notBefore.Sub(now)
	return func() {
		f.log().Log(context.Background(), level, "a range was not fetched", "failures", failures, "pause", pause, "error", err)
	}
}

// pause keeps further connections away from the file for a while.
func (f *file) pause(now time.Time, fresh bool, hint time.Duration) {
	pause := hint
	if fresh {
		pause = f.backoff.Next(hint)
	}
	if until := now.Add(pause); until.After(f.notBefore) {
		f.notBefore = until
	}
	f.failedAt = now
	f.allowed = len(f.claims)
}

// progress notes that bytes came from c. Called with engine.mu held.
func (f *file) progress(c *claim) {
	if c.issue == f.issue {
		f.worked = true
		f.refusals = 0
	}
	if c.proven {
		f.lengths = 0
	}
	if c.began.After(f.failedAt) {
		f.failures, f.senseless = 0, 0
		f.backoff.Reset()
	}
	if c.began.After(f.cutAt) {
		f.cuts = 0
	}
}

// renew has the next claim ask for another URL.
func (f *file) renew() {
	f.stale, f.url, f.worked = f.url, "", false
	f.issue++
}

// fail ends the file for good.
func (f *file) fail(err error) {
	f.err = err
	for _, c := range f.claims {
		c.drop()
	}
}

func (f *file) log() *slog.Logger {
	return f.job.engine.cfg.Log.With("job", f.job.Name, "file", f.ID)
}
