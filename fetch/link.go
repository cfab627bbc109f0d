package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"masvfs/fetch/masv"
	"masvfs/fetch/pathname"
	"masvfs/fetch/store"
	"masvfs/fetch/transfer"
)

// resolve makes the link call, unless its result is known from before. A
// link's access limit counts calls, so it is made once, and kept.
func (a *Agent) resolve(ctx context.Context, d *download) error {
	if a.row(d).PackageID != "" {
		return nil
	}
	a.mu.Lock()
	pkg := d.pkg
	a.mu.Unlock()
	if pkg == nil {
		answer, err := a.askLink(ctx, d)
		if err != nil {
			return err
		}
		pkg = &answer
		// Until it is stored it is kept here, so that a database that fails
		// does not cost another call.
		a.mu.Lock()
		d.pkg = pkg
		a.mu.Unlock()
	}
	name, key := a.takeName(d, pathname.CleanDownload(pkg.Name, a.cfg.Names))
	err := a.change(d, func(row *store.Download) error {
		row.PackageID, row.PackageName, row.PackageSize = pkg.ID, pkg.Name, pkg.Size
		row.Token, row.ExpiresAt, row.SenderEmail = pkg.Token, pkg.ExpiresAt, pkg.SenderEmail
		row.Name, row.NameKey = name, key
		return nil
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		d.pkg = nil
	} else if key != d.row.NameKey {
		delete(a.names, key)
	}
	return err
}

// linkGrace is how long a link call that is under way when its download is
// stopped may still take. Its answer is wanted: the call cannot be made again
// for nothing.
const linkGrace = 5 * time.Second

// askLink makes the link call, again and again while time may help.
func (a *Agent) askLink(ctx context.Context, d *download) (masv.Package, error) {
	var pkg masv.Package
	row := a.row(d)
	err := a.persist(ctx, d, "link call", func() error {
		select {
		case a.linking <- struct{}{}:
			defer func() { <-a.linking }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		call, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(linkGrace, cancel) })()
		var err error
		pkg, err = a.cfg.Cloud.Link(call, masv.Link{ID: row.LinkID, Secret: row.LinkSecret}, row.Password)
		return err
	})
	if err != nil && ctx.Err() == nil {
		return pkg, linkProblem(err, row.Password != "", row.ExpiresAt)
	}
	return pkg, err
}

// persist calls f until it succeeds or fails in a way that time does not mend.
func (a *Agent) persist(ctx context.Context, d *download, what string, f func() error) error {
	backoff := transfer.Backoff{Min: a.cfg.MinBackoff, Max: a.cfg.MaxBackoff}
	for {
		err := f()
		if err == nil || !masv.Temporary(err) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := backoff.Next(masv.RetryAfter(err))
		a.log.Info("cloud does not answer as hoped; trying again", "download", d.id, "what", what, "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// access is the right to a package's files: a token, which is renewed when it
// no longer works. It is safe for concurrent use.
type access struct {
	agent *Agent
	d     *download

	mu      sync.Mutex // one renewal at a time
	renewed time.Time
}

// refusedSoon is how soon after a renewal a refusal is not the token's fault.
const refusedSoon = time.Minute

// with calls f with the package's token, and once more with a new token if the
// first one turns out not to work any longer.
func (x *access) with(ctx context.Context, f func(packageID string, token masv.Secret) error) error {
	row := x.agent.row(x.d)
	err := f(row.PackageID, row.Token)
	if !errors.Is(err, masv.ErrDenied) {
		return err
	}
	token, rerr := x.renew(ctx, row.Token, err)
	if rerr != nil {
		return rerr
	}
	return f(row.PackageID, token)
}

// renew returns a token that works in place of refused. It returns err, the
// refusal, if the token is not to blame.
func (x *access) renew(ctx context.Context, refused masv.Secret, err error) (masv.Secret, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	row := x.agent.row(x.d)
	if row.Token != refused {
		return row.Token, nil // somebody else has renewed it meanwhile
	}
	// A token that says that it has expired may do so soon after it was issued.
	exp, known := masv.TokenExpiry(refused)
	if expired := known && !time.Now().Before(exp); !expired && time.Since(x.renewed) < refusedSoon {
		return "", err
	}
	// The link call counts as one more use of the link, so it is made only if
	// the cloud itself says that the token is dead. By this machine's clock,
	// which may be a day ahead, every token may be.
	switch cerr := x.agent.cfg.Cloud.CheckToken(ctx, row.PackageID, refused); {
	case cerr == nil:
		return "", err
	case !errors.Is(cerr, masv.ErrDenied):
		return "", cerr
	}
	x.agent.log.Info("package token no longer works; asking for another", "download", x.d.id)
	pkg, lerr := x.agent.askLink(ctx, x.d)
	if lerr != nil {
		return "", lerr
	}
	if pkg.ID != row.PackageID {
		return "", stop(CodeListingRefused, false, nil, "The link now leads to another package than it did; add it again to download that one.")
	}
	x.renewed = time.Now()
	cerr := x.agent.change(x.d, func(row *store.Download) error {
		row.Token = pkg.Token
		return nil
	})
	return pkg.Token, cerr
}

// source asks the cloud where one file's bytes are; it is the transfer's Source.
type source struct {
	access    *access
	fileID    string
	senseless int // answers in a row that made no sense
}

// senselessToFail is how many of them are the end of a file: a proxy that
// garbles one goes away again.
const senselessToFail = 5

// URL implements transfer.Source.
func (s *source) URL(ctx context.Context, _ string) (string, error) {
	var url masv.Secret
	err := s.access.with(ctx, func(packageID string, token masv.Secret) (err error) {
		url, err = s.access.agent.cfg.Cloud.FileURL(ctx, packageID, token, s.fileID)
		return err
	})
	if errors.Is(err, masv.ErrInvalid) {
		s.senseless++
	} else {
		s.senseless = 0
	}
	switch {
	case err == nil:
		return url.Reveal(), nil
	case s.senseless >= senselessToFail:
		return "", transfer.Permanent(&fileError{CodeFileGone, fmt.Sprintf("MASV's answer about where this file is makes no sense (%v).", err), err})
	case s.senseless > 0:
		return "", err
	case errors.As(err, new(*stopError)):
		return "", transfer.Abort(err)
	case masv.Temporary(err):
		return "", later{err, masv.RetryAfter(err)}
	case ctx.Err() != nil:
		return "", err
	case errors.Is(err, masv.ErrNotFound):
		return "", transfer.Permanent(&fileError{CodeFileGone, fmt.Sprintf("MASV no longer has this file%s.", quoted(err)), err})
	default:
		return "", transfer.Permanent(&fileError{CodeFileGone, fmt.Sprintf("MASV refuses this file%s.", quoted(err)), err})
	}
}

// later is an error that says when to try again, as transfer asks for it.
type later struct {
	error
	after time.Duration
}

func (l later) Unwrap() error             { return l.error }
func (l later) RetryAfter() time.Duration { return l.after }

// fileError says why one file failed for good.
type fileError struct {
	code    Code
	message string // a sentence
	err     error
}

func (e *fileError) Error() string { return fmt.Sprintf("%s: %v", e.code, e.err) }
func (e *fileError) Unwrap() error { return e.err }
