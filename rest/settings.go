package rest

import (
	"net/http"

	"masvfs/fetch"
	"masvfs/rest/api"
)

func (s *server) settings(w *answer, _ call) error {
	limit := s.agent.RateLimit()
	return w.json(http.StatusOK, api.Settings{DownloadRateLimit: &limit})
}

// set changes the settings that the body names, until the agent ends.
func (s *server) set(w *answer, c call) error {
	var body api.Settings
	if err := fetch.DecodeStrict(c.body, &body); err != nil {
		return err
	}
	if limit := body.DownloadRateLimit; limit != nil {
		if *limit < 0 {
			return invalidField("download_rate_limit", "must be bytes per second, or 0 for no limit")
		}
		s.agent.SetRateLimit(*limit)
	}
	return s.settings(w, c)
}
