package rest

import (
	"path/filepath"
	"time"

	"masvfs/fetch"
	"masvfs/rest/api"
)

// download puts a download into its form on the wire.
func (s *server) download(d fetch.Download) api.Download {
	w := api.Download{
		ID:             d.ID,
		Name:           d.Name,
		URL:            d.Link.String(), // masks the secret
		State:          string(d.State),
		DstFolder:      d.DstFolder,
		Path:           d.Path,
		BytesDone:      d.BytesDone,
		BytesTotal:     d.BytesTotal,
		FilesDone:      d.FilesDone,
		FilesTotal:     d.FilesTotal,
		BytesPerSecond: d.BytesPerSecond,
		ETASeconds:     seconds(d.ETA),
		Priority:       d.Priority,
		QueuePosition:  d.QueuePosition,
		CompletedAt:    instant(d.CompletedAt),
		ExpiresAt:      instant(d.ExpiresAt),
		SenderEmail:    d.SenderEmail,
		Error:          failure(d.Problem),
	}
	if c := d.Connections; c.Why != "" {
		w.Connections = &api.Connections{InUse: c.InUse, Allowed: c.Allowed, Why: c.Why}
	}
	if t := instant(d.CreatedAt); t != nil {
		w.CreatedAt = *t
	}
	if s.mount != "" {
		w.MountPath = filepath.Join(s.mount, d.Name)
	}
	return w
}

// file puts a file into its form on the wire.
func file(f fetch.File) api.File {
	return api.File{
		ID:           f.ID,
		Path:         f.Path,
		OriginalPath: f.OriginalPath,
		Size:         f.Size,
		BytesDone:    f.BytesDone,
		State:        string(f.State),
		Error:        failure(f.Problem),
	}
}

func failure(p *fetch.Problem) *api.Error {
	if p == nil {
		return nil
	}
	return &api.Error{
		Code:        string(p.Code),
		Message:     p.Message,
		Recoverable: p.Recoverable,
		RetryAt:     instant(p.RetryAt),
	}
}

// instant returns t in UTC to the millisecond, nil for the zero time. A year
// that RFC 3339 cannot write, which a link's expiry may have if a server says
// so, counts as unknown: it would make the whole answer impossible to encode.
func instant(t time.Time) *time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return &t
}

// seconds rounds up, so that 0 means now; nil for the negative, the unknown.
func seconds(d time.Duration) *int64 {
	if d < 0 {
		return nil
	}
	n := int64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	return &n
}
