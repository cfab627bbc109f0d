package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"masvfs/fetch"
	"masvfs/fetch/masv"
	"masvfs/rest"
	"masvfs/rest/api"
	"masvfs/rest/client"
)

const (
	link   = "https://get.massive.io/01D2TMG9F5GHMHX8RWZ453VA35?secret=bqkBtnPwvmkgJpHN"
	id     = "123e4567-e89b-12d3-a456-426614174000"
	secret = "bqkBtnPwvmkgJpHN"
)

// memory is an agent that holds downloads and does nothing with them.
type memory struct {
	limit   atomic.Int64
	mu      sync.Mutex
	all     []fetch.Download
	files   int
	removed bool
	first   fetch.Request
	panics  bool
}

func (m *memory) Add(_ context.Context, r fetch.Request) (fetch.Download, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.DstFolder == "/etc" {
		return fetch.Download{}, false, &fetch.InvalidError{Field: "dst_folder", Message: "is not allowed"}
	}
	if m.first.Link.ID == "" {
		m.first = r
	}
	for _, d := range m.all {
		if d.Link.ID == r.Link.ID {
			return d, false, nil
		}
	}
	d := fetch.Download{ID: id, Name: "x", Link: r.Link, State: fetch.Transferring, ETA: -1}
	m.all = append(m.all, d)
	return d, true, nil
}

func (m *memory) After(seq int64, limit int) []fetch.Download {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.panics {
		panic("a mistake with " + secret)
	}
	var some []fetch.Download
	for i := int(seq); i < len(m.all) && len(some) < limit; i++ {
		d := m.all[i]
		d.Seq = int64(i) + 1
		some = append(some, d)
	}
	return some
}

func (m *memory) Get(id string) (fetch.Download, error) {
	for _, d := range m.After(0, 1000) {
		if d.ID == id {
			return d, nil
		}
	}
	return fetch.Download{}, fetch.ErrNotFound
}

func (m *memory) Files(context.Context, string) iter.Seq2[fetch.File, error] {
	return func(yield func(fetch.File, error) bool) {
		for i := range m.files {
			if !yield(fetch.File{ID: fmt.Sprint(i), Path: fmt.Sprint("f", i), Size: 7, State: fetch.FilePending}, nil) {
				return
			}
		}
	}
}

func (m *memory) set(id string, s fetch.State) (fetch.Download, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.all {
		if m.all[i].ID == id {
			m.all[i].State = s
			return m.all[i], nil
		}
	}
	return fetch.Download{}, fetch.ErrNotFound
}

func (m *memory) Pause(_ context.Context, id string) (fetch.Download, error) {
	return m.set(id, fetch.Paused)
}

func (m *memory) Resume(_ context.Context, id string, _ masv.Secret) (fetch.Download, error) {
	return m.set(id, fetch.Transferring)
}

func (m *memory) PauseAll(context.Context) (int, error)  { return 3, nil }
func (m *memory) RateLimit() int64                       { return m.limit.Load() }
func (m *memory) SetRateLimit(n int64)                   { m.limit.Store(n) }
func (m *memory) ResumeAll(context.Context) (int, error) { return 0, errors.New("disk on fire") }

func (m *memory) Delete(_ context.Context, id string, remove bool) error {
	if _, err := m.Get(id); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all, m.removed = nil, remove
	return nil
}

// serve serves an agent at an address and returns the one it got.
func serve(t testing.TB, m *memory, a rest.Address) string {
	t.Helper()
	l, err := a.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	h := rest.New(rest.Config{Agent: m, MountPath: "/live", Token: a.Token, Hosts: l.Hosts(), Log: slog.New(slog.DiscardHandler)})
	go func() { done <- rest.Serve(ctx, l, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func call(t testing.TB, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), secret) {
		t.Errorf("%s %s shows a secret: %s", method, url, data)
	}
	return resp.StatusCode, resp.Header, string(data)
}

func TestEveryCallAnswersAsTheContractSays(t *testing.T) {
	const typ, js = "Content-Type", "application/json"
	m := &memory{files: 2}
	base := "http://" + serve(t, m, rest.Address{Spec: "http://127.0.0.1:0"}) + "/api/v1/downloads"
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		holds                    string
	}{
		{"a link is queued", "POST", "", `{"url": "` + link + `", "dst_folder": "/srv/media", "password": "optional"}`, []string{typ, js}, 201, `{"download_id":"` + id + `"}`},
		{"one that is there answers 200", "POST", "", `{"url": "` + link + `"}`, []string{typ, js + "; charset=utf-8"}, 200, id},
		{"all are listed", "GET", "", "", nil, 200, `"url":"https://get.massive.io/01D2TMG9F5GHMHX8RWZ453VA35?secret=***"`},
		{"by state", "GET", "?state=paused", "", nil, 200, "[\n]"},
		{"by a state that there is none of", "GET", "?state=done", "", nil, 400, `"field":"state"`},
		{"one with its files", "GET", "/" + id, "", nil, 200, `"path":"f1"`},
		{"its mount path", "GET", "/" + id, "", nil, 200, `"mount_path":"/live/x"`},
		{"in capitals", "GET", "/" + strings.ToUpper(id), "", nil, 200, id},
		{"a pause without a body", "POST", "/" + id + "/pause", "", nil, 200, `"state":"paused"`},
		{"a pause with a type and no body", "POST", "/" + id + "/pause", "", []string{typ, js}, 200, `"state":"paused"`},
		{"a resume with a password", "POST", "/" + id + "/resume", `{"password": "x"}`, []string{typ, js}, 200, `"state":"transferring"`},
		{"a resume with a misspelt field", "POST", "/" + id + "/resume", `{"passwort": "x"}`, []string{typ, js}, 400, `"field":"passwort"`},
		{"all paused", "POST", "/all/pause", "", nil, 200, `{"changed":3}`},
		{"a failure that is the agent's own", "POST", "/all/resume", "", nil, 500, `"code":"internal"`},
		{"a folder that is not allowed", "POST", "", `{"url": "` + link + `", "dst_folder": "/etc"}`, []string{typ, js}, 400, `"field":"dst_folder"`},
		{"an unknown field", "POST", "", `{"url": "` + link + `", "dst": 1}`, []string{typ, js}, 400, `"field":"dst"`},
		{"no body", "POST", "", "", []string{typ, js}, 400, `"code":"invalid_request"`},
		{"an undeclared body", "POST", "", `{}`, nil, 415, "Content-Type: application/json"},
		{"a form", "POST", "", "url=x", []string{typ, "application/x-www-form-urlencoded"}, 415, `"code":"unsupported_media_type"`},
		{"a body that is too large", "POST", "", strings.Repeat(" ", 1<<20+1) + "{}", []string{typ, js}, 413, `"code":"body_too_large"`},
		{"a foreign host", "GET", "", "", []string{"Host", "evil.example"}, 403, `"code":"forbidden_host"`},
		{"a rebound name with our port", "GET", "", "", []string{"Host", "127.0.0.1.evil.example:8080"}, 403, `"code":"forbidden_host"`},
		{"localhost", "GET", "", "", []string{"Host", "LOCALHOST:8080"}, 200, "["},
		{"a foreign origin", "GET", "", "", []string{"Origin", "http://evil.example"}, 403, `"code":"forbidden_origin"`},
		{"no origin of its own", "POST", "/all/pause", "", []string{"Origin", "null"}, 403, `"code":"forbidden_origin"`},
		{"another port of this machine", "POST", "/all/pause", "", []string{"Origin", "http://127.0.0.1:1"}, 403, `"code":"forbidden_origin"`},
		{"a cross-site request without an origin", "GET", "", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, `"code":"forbidden_origin"`},
		{"a preflight", "OPTIONS", "", "", []string{"Access-Control-Request-Method", "DELETE"}, 405, `"code":"method_not_allowed"`},
		{"another method", "PUT", "", "", nil, 405, `"code":"method_not_allowed"`},
		{"an escaped slash", "POST", "/" + id + "%2fpause", "", nil, 404, `"code":"not_found"`},
		{"an identifier that is none", "GET", "/x", "", nil, 404, `"code":"not_found"`},
		{"all where it makes no sense", "DELETE", "/all", "", nil, 404, `"code":"not_found"`},
		{"another path", "GET", "/" + id + "/more", "", nil, 404, `"code":"not_found"`},
		{"the settings", "GET", "/settings", "", nil, 200, `{"download_rate_limit":0}`},
		{"a new rate limit", "PATCH", "/settings", `{"download_rate_limit": 1000000}`, []string{typ, js}, 200, `{"download_rate_limit":1000000}`},
		{"a rate limit that is none", "PATCH", "/settings", `{"download_rate_limit": -1}`, []string{typ, js}, 400, `"field":"download_rate_limit"`},
		{"a rate limit in words", "PATCH", "/settings", `{"download_rate_limit": "fast"}`, []string{typ, js}, 400, `"field":"download_rate_limit"`},
		{"an unknown setting", "PATCH", "/settings", `{"speed": 1}`, []string{typ, js}, 400, `"field":"speed"`},
		{"a delete with files", "DELETE", "/" + id, `{"remove_files": true}`, []string{typ, js}, 204, ""},
		{"a second delete", "DELETE", "/" + id, "", nil, 404, `"code":"not_found"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, h, body := call(t, test.method, strings.Replace(base+test.path, "/downloads/settings", "/settings", 1), test.body, test.header...)
			if status != test.status || !strings.Contains(body, test.holds) {
				t.Errorf("answers %d: %s", status, body)
			}
			if h.Get("Access-Control-Allow-Origin") != "" || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("header %v", h)
			}
			if status >= 400 {
				var p api.Problem
				if err := json.Unmarshal([]byte(body), &p); err != nil || h.Get("Content-Type") != api.ProblemType || p.Status != status || p.Title == "" || p.Detail == "" || p.Code == "" {
					t.Errorf("no problem document: %s %v", body, err)
				}
			}
		})
	}
	if !m.removed {
		t.Error("remove_files did not reach the agent")
	}
	if m.first.Password.Reveal() != "optional" || m.first.DstFolder != "/srv/media" || m.first.Link.Secret.Reveal() != secret {
		t.Errorf("the agent was asked for %+v", m.first)
	}
}

func TestWithATokenEveryCallAsksForIt(t *testing.T) {
	url := "http://" + serve(t, &memory{}, rest.Address{Spec: "http://127.0.0.1:0", Token: "0123456789abcdef"}) + "/api/v1/downloads"
	for header, want := range map[string]int{"": 401, "Bearer 0123456789abcdee": 401, "0123456789abcdef": 401, "Bearer 0123456789abcdef": 200, "bearer 0123456789abcdef": 200} {
		if status, h, _ := call(t, "GET", url, "", "Authorization", header); status != want || status == 401 && h.Get("WWW-Authenticate") == "" {
			t.Errorf("%q: %d, %v", header, status, h)
		}
	}
}

func TestAnAddressThatOthersReachNeedsAToken(t *testing.T) {
	for _, spec := range []string{"http://0.0.0.0:0", "http://[::]:0", "ftp://127.0.0.1:0", "127.0.0.1:0", "http://127.0.0.1:0/x", "http://127.0.0.1", "http://127.0.0.1:99999", "unix://relative/s", "unix://", "https://127.0.0.1:0"} {
		if l, err := (rest.Address{Spec: spec}).Listen(); err == nil {
			l.Close()
			t.Errorf("listens at %s", spec)
		}
	}
	l, err := (rest.Address{Spec: "http://0.0.0.0:0", Token: "0123456789abcdef"}).Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if _, err := (rest.Address{Spec: "http://127.0.0.1:" + port}).Listen(); err == nil || !strings.Contains(err.Error(), "--listen http://127.0.0.1:8081") {
		t.Errorf("a port in use: %v", err)
	}
}

func TestAUnixSocketIsItsOwnersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	// What a killed agent leaves: a socket that nobody serves.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	serve(t, &memory{}, rest.Address{Spec: "unix://" + path})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	c, err := client.New(client.Config{Address: "unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := c.List(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := (rest.Address{Spec: "unix://" + path}).Listen(); err == nil {
		t.Error("a socket that is served was taken over")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (rest.Address{Spec: "unix://" + file}).Listen(); err == nil {
		t.Error("a file was replaced by a socket")
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

func TestAPanicEndsOneCallOnly(t *testing.T) {
	m := &memory{panics: true}
	url := "http://" + serve(t, m, rest.Address{Spec: "http://127.0.0.1:0"}) + "/api/v1/downloads"
	if status, _, body := call(t, "GET", url, ""); status != 500 || !strings.Contains(body, `"code":"internal"`) {
		t.Errorf("%d: %s", status, body)
	}
	m.mu.Lock()
	m.panics = false
	m.mu.Unlock()
	if status, _, _ := call(t, "GET", url, ""); status != 200 {
		t.Errorf("then %d", status)
	}
}

func TestAHundredThousandFilesAreStreamed(t *testing.T) {
	m := &memory{files: 100_000, all: []fetch.Download{{ID: id, Name: "x"}}}
	c, err := client.New(client.Config{Address: "http://" + serve(t, m, rest.Address{Spec: "http://127.0.0.1:0"})})
	if err != nil {
		t.Fatal(err)
	}
	d, files, err := c.Get(t.Context(), id)
	if err != nil || d.ID != id || len(files) != m.files || files[99_999].Path != "f99999" {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func TestTheClientSaysWhatToDo(t *testing.T) {
	m := &memory{all: []fetch.Download{{ID: id}, {ID: "12400000-e89b-12d3-a456-426614174000"}}}
	c, err := client.New(client.Config{Address: "http://" + serve(t, m, rest.Address{Spec: "http://127.0.0.1:0"})})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Resolve(t.Context(), "123"); err != nil || got != id {
		t.Errorf("%q, %v", got, err)
	}
	yes := true
	if got, created, err := c.Add(t.Context(), api.Request{URL: link, Priority: 3, FileIDs: []string{"f"}, PackageFolder: &yes}); err != nil || !created || got != id || m.first.Priority != 3 || len(m.first.FileIDs) != 1 {
		t.Errorf("%s, created %v, %v: %+v", got, created, err, m.first)
	}
	m.mu.Lock()
	m.all = m.all[:2]
	m.mu.Unlock()
	for prefix, says := range map[string]string{"12": "2 downloads", "9": "no download", "": "no download"} {
		if _, err := c.Resolve(t.Context(), prefix); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	var p *api.Problem
	if _, err := c.Pause(t.Context(), "00000000-0000-0000-0000-000000000000"); !errors.As(err, &p) || p.Code != api.NotFound {
		t.Errorf("got %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	nobody, err := client.New(client.Config{Address: "http://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := nobody.List(ctx, ""); err == nil || !strings.Contains(err.Error(), "masvfs run") {
		t.Errorf("got %v", err)
	}
}
