package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"masvfs/fetch/dest"
	"masvfs/fetch/pathname"
	"masvfs/fetch/store"
)

// Add queues the download that r asks for. One of the same link that is there
// already and not complete is returned in its place, with created false; if
// it is in error, it is tried again with the password now given. What is
// wrong with the request itself is an *InvalidError.
func (a *Agent) Add(ctx context.Context, r Request) (d Download, created bool, err error) {
	got, err := a.accept(ctx, "", []Request{r})
	if err != nil {
		return Download{}, false, err
	}
	return a.snapshot(got[0].download), got[0].created, nil
}

// Accept queues all that reqs ask for, or nothing. It records origin, which
// names what the requests came from, in the same step: given the same origin
// again, it does nothing.
func (a *Agent) Accept(ctx context.Context, origin string, reqs []Request) error {
	_, err := a.accept(ctx, origin, reqs)
	return err
}

// Taken reports whether Accept has been given origin.
func (a *Agent) Taken(ctx context.Context, origin string) (bool, error) {
	return a.store.Taken(ctx, origin)
}

// Forget drops an origin that will not come again.
func (a *Agent) Forget(ctx context.Context, origin string) error {
	return a.store.ForgetOrigin(ctx, origin)
}

// Origins returns all origins that are remembered.
func (a *Agent) Origins(ctx context.Context) ([]string, error) { return a.store.Origins(ctx) }

// accepted is what became of one request.
type accepted struct {
	download *download
	created  bool
}

func (a *Agent) accept(ctx context.Context, origin string, reqs []Request) ([]accepted, error) {
	for i := range reqs {
		if err := a.admit(&reqs[i]); err != nil {
			var inv *InvalidError
			if errors.As(err, &inv) {
				inv.Index = i
			}
			return nil, err
		}
	}
	if a.ctx.Err() != nil {
		return nil, ErrClosed
	}
	a.adding.Lock()
	defer a.adding.Unlock()

	result := make([]accepted, len(reqs))
	var fresh []*download
	var rows []*store.Download
	for i, r := range reqs {
		d := a.unfinished(r.Link.ID)
		if d == nil {
			if j := slices.IndexFunc(fresh, func(f *download) bool { return f.row.LinkID == r.Link.ID }); j >= 0 {
				d = fresh[j]
			}
		}
		if d == nil {
			d = a.newFrom(r)
			fresh, rows = append(fresh, d), append(rows, &d.row)
			result[i].created = true
		}
		result[i].download = d
	}
	err := a.store.Add(ctx, origin, rows)
	if err != nil {
		a.mu.Lock()
		for _, d := range fresh {
			delete(a.names, d.row.NameKey)
		}
		a.mu.Unlock()
		if errors.Is(err, store.ErrTaken) {
			return result, nil
		}
		return nil, fmt.Errorf("record downloads: %w", err)
	}
	for _, d := range fresh {
		d.seq = d.row.Seq
		a.mu.Lock()
		a.insert(d)
		a.mu.Unlock()
		a.log.Info("download accepted", "download", d.id, "link", d.row.LinkID)
		// Told before anything else can happen to it.
		a.hub.tell(Event{Kind: Added, ID: d.id, Seq: d.seq, Name: a.row(d).Name, State: Transferring, Was: Transferring})
		a.mu.Lock()
		if !d.row.Deleting && d.row.State == string(Transferring) && d.run == nil {
			a.start(d)
		}
		a.mu.Unlock()
	}
	for i, r := range reqs {
		if result[i].created {
			continue
		}
		if err := a.again(result[i].download, r); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// admit finds what is wrong with a request here and now, and fills in defaults.
func (a *Agent) admit(r *Request) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.DstFolder == "" {
		r.DstFolder = a.cfg.Roots[0]
	}
	if err := a.roots.Check(r.DstFolder); err != nil {
		var not *dest.NotAllowedError
		if errors.As(err, &not) {
			return invalid("dst_folder", "%v", err)
		}
		return err
	}
	for _, k := range a.cfg.KeepOut {
		if rel, err := filepath.Rel(k, r.DstFolder); err == nil && filepath.IsLocal(rel) {
			return invalid("dst_folder", "%s lies inside %s, which the agent needs for itself; choose another folder", r.DstFolder, k)
		}
	}
	if r.Publish == "" {
		r.Publish = a.cfg.Publish
		if r.NoPackageFolder {
			r.Publish = PublishFile
		}
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if r.UID != nil && *r.UID != os.Geteuid() {
		return invalid("uid", "this agent may not give files to another user; run it as root, or leave uid out")
	}
	if r.GID != nil && *r.GID != os.Getegid() {
		if groups, err := os.Getgroups(); err != nil || !slices.Contains(groups, *r.GID) {
			return invalid("gid", "this agent may not give files to that group; run it as root or as a member, or leave gid out")
		}
	}
	return nil
}

// unfinished returns the download of a link that is there and not complete.
func (a *Agent) unfinished(linkID string) *download {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.order {
		if d.row.LinkID == linkID && d.row.State != string(Complete) && !d.row.Deleting {
			return d
		}
	}
	return nil
}

// newFrom makes the download that r asks for; it is not known to anybody yet.
func (a *Agent) newFrom(r Request) *download {
	now := time.Now()
	d := &download{id: uuid.NewString()}
	name := r.Name
	if name == "" {
		name = r.Link.ID
	}
	d.row = store.Download{
		ID:               d.id,
		LinkID:           r.Link.ID,
		LinkSecret:       r.Link.Secret,
		Password:         r.Password,
		GivenName:        r.Name,
		State:            string(Transferring),
		DstFolder:        r.DstFolder,
		FileIDs:          r.FileIDs,
		NoPackageFolder:  r.NoPackageFolder,
		RefuseQuarantine: r.RefuseQuarantine,
		Publish:          string(r.Publish),
		UID:              r.UID,
		GID:              r.GID,
		Priority:         r.Priority,
		CreatedAt:        now,
		UpdatedAt:        now,
	}
	d.row.Name, d.row.NameKey = a.takeName(d, pathname.CleanDownload(name, a.cfg.Names))
	return d
}

// again tries a download that is in error once more, with the secrets of r.
func (a *Agent) again(d *download, r Request) error {
	d.op.Lock()
	defer d.op.Unlock()
	a.mu.Lock()
	failed := d.row.State == string(Failed) && !d.row.Deleting
	a.mu.Unlock()
	if !failed {
		return nil
	}
	return a.resume(d, func(row *store.Download) {
		if r.Password != "" {
			row.Password = r.Password
		}
		if row.PackageID == "" {
			row.LinkSecret = r.Link.Secret // the one before may have been mistyped
		}
		if !row.Listed {
			row.RefuseQuarantine = r.RefuseQuarantine
		}
	})
}
