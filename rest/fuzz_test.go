package rest_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	"masvfs/fetch"
	"masvfs/rest"
	"masvfs/rest/api"
)

// FuzzCall makes arbitrary calls: method, path and query, headers and body.
// Each is answered with what it asked for or with a problem that says what is
// wrong, none is the agent's own failure, and what a web page could have sent
// changes nothing.
func FuzzCall(f *testing.F) {
	const downloads = api.Prefix + "/downloads"
	body := `{"url": "` + link + `", "dst_folder": "/srv/media", "password": "hunter2hunter2", "priority": -1, "file_ids": ["a"], "uid": 5, "publish": "file"}`
	const js = "Content-Type: application/json"
	for _, seed := range [][3]string{
		{"POST " + downloads, js, body}, {"POST " + downloads, "Content-Type: text/plain", body}, {"POST " + downloads, js + "\nOrigin: null", body},
		{"POST " + downloads, js + "\nHost: evil.example", body}, {"POST " + downloads, "Content-Type: application/json; charset=utf-7", body},
		{"POST " + downloads, js + "\nContent-Encoding: gzip", body}, {"POST " + downloads, js, `{"URL":"x"}`}, {"POST " + downloads, js, `{"url":1}`}, {"POST " + downloads, js, `{"url":"x","url":"y"}`},
		{"POST " + downloads, js, "[]"}, {"POST " + downloads, js, "null"}, {"POST " + downloads, js, `{"uid":4294967295,"url":"` + link + `"}`}, {"POST " + downloads, js, `{"file_ids":[1]}`},
		{"POST " + downloads + "/" + id + "/pause", "", ""}, {"POST " + downloads + "/" + id + "/resume", js, `{"password":"` + secret + `"}`},
		{"POST " + downloads + "/all/pause", "", ""}, {"POST " + downloads + "/all/pause", "Origin: http://localhost", ""}, {"DELETE " + downloads + "/" + id, js, `{"remove_files":true}`},
		{"DELETE " + downloads + "/" + id, js, `{"remove_files":"yes"}`}, {"PATCH " + api.Prefix + "/settings", js, `{"download_rate_limit":1e400}`}, {"PATCH " + api.Prefix + "/settings", js, `{"download_rate_limit":"x"}`},
		{"GET " + downloads + "?state=paused", "", ""}, {"GET " + downloads + "?state=paused&state=x", "", ""}, {"GET " + downloads + "?" + secret, "", ""}, {"HEAD " + downloads + "/" + id + "?files=false", "", ""},
		{"GET " + downloads + "/" + id + "%2f..", "", ""}, {"OPTIONS *", "", ""}, {"GET //" + downloads, "", ""}, {"CONNECT evil.example:80", "", ""}, {"GET http://evil.example" + downloads, "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, line, head, body string) {
		method, target, _ := strings.Cut(line, " ")
		u, err := url.ParseRequestURI(target)
		if err != nil || method == "" || strings.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' }) {
			return // net/http takes no such request
		}
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method, r.URL, r.RequestURI, r.Host = method, u, target, "localhost:8080"
		for line := range strings.SplitSeq(head, "\n") {
			switch name, value, _ := strings.Cut(line, ": "); http.CanonicalHeaderKey(name) {
			case "Host":
				r.Host = value
			case "":
			default:
				r.Header.Add(name, value)
			}
		}
		m := &memory{files: 1, all: []fetch.Download{{ID: id, Name: "x", State: fetch.Paused}}}
		before := slices.Clone(m.all)
		w := httptest.NewRecorder()
		rest.New(rest.Config{Agent: m, MountPath: "/live", Hosts: []string{"localhost"}, Log: slog.New(slog.DiscardHandler)}).ServeHTTP(w, r)

		text := w.Body.String()
		var p api.Problem
		resuming := method == "POST" && u.Path == api.Prefix+"/downloads/all/resume" // in which this agent fails
		if w.Code >= 500 && !resuming {
			t.Errorf("%s answers %d: %s", line, w.Code, text)
		}
		if w.Code >= 400 {
			if err := json.Unmarshal([]byte(text), &p); err != nil || w.Header().Get("Content-Type") != api.ProblemType || p.Status != w.Code || p.Title == "" || p.Detail == "" || p.Code == "" {
				t.Errorf("%s answers %d without a problem document: %q, %v", line, w.Code, text, err)
			}
			if strings.ContainsFunc(p.Detail, unicode.IsControl) || len(p.Detail) > 1<<12 {
				t.Errorf("%s: %q is not fit to be shown", line, p.Detail)
			}
			if strings.Contains(p.Detail, "must be a string, but is of type string") {
				t.Errorf("%s with %q: %s", line, body, p.Detail)
			}
		} else if method != "HEAD" && w.Code != http.StatusNoContent && !json.Valid([]byte(text)) {
			t.Errorf("%s answers %q", line, text)
		}
		// A field may be refused by its name, whatever that is.
		if strings.Contains(text, "hunter2hunter2") && !strings.Contains(p.Field, "hunter2hunter2") && !strings.Contains(u.String(), "hunter2hunter2") {
			t.Errorf("%s shows a password: %s", line, text)
		}
		changed := !slices.EqualFunc(before, m.all, func(a, b fetch.Download) bool { return a.ID == b.ID && a.State == b.State }) || m.limit.Load() != 0
		fromAPage := r.Header.Get("Origin") != "" && r.Header.Get("Origin") != "http://"+r.Host
		if changed && (fromAPage || w.Code >= 400 || method == "GET" || method == "HEAD" || strings.TrimSpace(body) != "" && !strings.Contains(strings.ToLower(r.Header.Get("Content-Type")), "json")) {
			t.Errorf("%s with %v changed something, and answers %d", line, r.Header, w.Code)
		}
		if m.first.Link.ID != "" && (method != "POST" || u.Path != api.Prefix+"/downloads") {
			t.Errorf("%s queued a download", line)
		}
	})
}
