package rest

import (
	"fmt"
	"net/http"

	"masvfs/fetch"
	"masvfs/fetch/masv"
	"masvfs/rest/api"
)

func (s *server) add(w *answer, c call) error {
	req, err := fetch.DecodeRequest(c.body)
	if err != nil {
		return err
	}
	d, created, err := s.agent.Add(c.Context(), req)
	if err != nil {
		return fmt.Errorf("add download: %w", err)
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", api.Prefix+"/downloads/"+d.ID)
	}
	return w.json(status, api.Added{ID: d.ID})
}

func (s *server) list(w *answer, c call) error {
	state := fetch.State(c.query.Get("state"))
	switch state {
	case fetch.Transferring, fetch.Paused, fetch.Complete, fetch.Failed:
	default:
		if c.query.Has("state") {
			return invalidField("state", "must be transferring, paused, complete or error")
		}
	}
	array := w.array(nil, "")
	defer array.rest()
	// A client that is slow to read holds no more of a long list than this.
	const some = 64
	for seq := int64(0); ; {
		page := s.agent.After(seq, some)
		for _, d := range page {
			seq = d.Seq
			if state != "" && d.State != state {
				continue
			}
			if err := array.add(s.download(d)); err != nil {
				return err
			}
		}
		if len(page) < some {
			return array.end()
		}
	}
}

func (s *server) get(w *answer, c call) error {
	files := true
	switch c.query.Get("files") {
	case "true":
	case "false":
		files = false
	default:
		if c.query.Has("files") {
			return invalidField("files", "must be true or false")
		}
	}
	d, err := s.agent.Get(c.id)
	if err != nil {
		return fmt.Errorf("get download %s: %w", c.id, err)
	}
	if !files || c.Method == http.MethodHead {
		return w.json(http.StatusOK, s.download(d))
	}
	array := w.array(s.download(d), "files")
	defer array.rest()
	for f, err := range s.agent.Files(c.Context(), c.id) {
		if err != nil {
			return fmt.Errorf("list files of download %s: %w", c.id, err)
		}
		if err := array.add(file(f)); err != nil {
			return err
		}
	}
	return array.end()
}

func (s *server) pause(w *answer, c call) error {
	if err := decodeOptional(c.body, &struct{}{}); err != nil {
		return err
	}
	d, err := s.agent.Pause(c.Context(), c.id)
	if err != nil {
		return fmt.Errorf("pause download %s: %w", c.id, err)
	}
	return w.json(http.StatusOK, s.download(d))
}

func (s *server) pauseAll(w *answer, c call) error {
	if err := decodeOptional(c.body, &struct{}{}); err != nil {
		return err
	}
	n, err := s.agent.PauseAll(c.Context())
	if err != nil {
		return fmt.Errorf("pause all downloads: %w", err)
	}
	return w.json(http.StatusOK, api.Changed{Count: n})
}

func (s *server) resume(w *answer, c call) error {
	var body struct {
		Password masv.Secret `json:"password"`
	}
	if err := decodeOptional(c.body, &body); err != nil {
		return err
	}
	d, err := s.agent.Resume(c.Context(), c.id, body.Password)
	if err != nil {
		return fmt.Errorf("resume download %s: %w", c.id, err)
	}
	return w.json(http.StatusOK, s.download(d))
}

func (s *server) resumeAll(w *answer, c call) error {
	if err := decodeOptional(c.body, &struct{}{}); err != nil {
		return err
	}
	n, err := s.agent.ResumeAll(c.Context())
	if err != nil {
		return fmt.Errorf("resume all downloads: %w", err)
	}
	return w.json(http.StatusOK, api.Changed{Count: n})
}

func (s *server) remove(w *answer, c call) error {
	var body api.Removal
	if err := decodeOptional(c.body, &body); err != nil {
		return err
	}
	if err := s.agent.Delete(c.Context(), c.id, body.RemoveFiles); err != nil {
		return fmt.Errorf("delete download %s: %w", c.id, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
