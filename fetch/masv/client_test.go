package masv_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"masvfs/fetch/masv"
)

const (
	packageID = "01D2TMG9F0J6JD5SJ55NY27MXJ"
	fileID    = "01D2TMGA09VHKVW6G3MJH2EP57"
	storage   = "https://storage.example/object?" + signedQuery

	linkAnswer = `{"id":"` + linkID + `","name":"MASV Package","package_id":"` + packageID + `","package_size":28176354,` +
		`"package_token":"` + token + `","expiry":"2019-02-13T21:33:50.944Z","sender_email":"a@example.com","branding":{"x":[1]}}`
	listAnswer = `[{"id":"` + fileID + `","kind":"file","name":"Hawaii.jpg","path":"Day 1/Cam A","size":14914472,` +
		`"last_modified":"2019-02-03T21:34:13.000Z","virus_detected":false}]`
	urlAnswer = `{"url":"` + storage + `"}`
)

// apiCall is one of the four calls, with an answer that it understands.
type apiCall struct {
	name, path, answer string
	do                 func(context.Context, *masv.Client) error
}

var calls = []apiCall{
	{"Link", "/links/" + linkID, linkAnswer, func(ctx context.Context, c *masv.Client) error {
		_, err := c.Link(ctx, masv.Link{ID: linkID, Secret: linkSecret}, password)
		return err
	}},
	{"Files", "/packages/" + packageID + "/files", listAnswer, func(ctx context.Context, c *masv.Client) error {
		_, err := list(ctx, c)
		return err
	}},
	{"FileURL", "/packages/" + packageID + "/files/" + fileID + "/download", urlAnswer, func(ctx context.Context, c *masv.Client) error {
		_, err := c.FileURL(ctx, packageID, token, fileID)
		return err
	}},
	{"CheckToken", "/packages/" + packageID + "/files", listAnswer, func(ctx context.Context, c *masv.Client) error {
		return c.CheckToken(ctx, packageID, token)
	}},
}

// list ranges over the package's files to the end.
func list(ctx context.Context, c *masv.Client) ([]masv.Entry, error) {
	var entries []masv.Entry
	for e, err := range c.Files(ctx, packageID, token) {
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// serve starts an API and returns its address.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// client returns a Client with connections of its own.
func client(t testing.TB, cfg masv.Config) *masv.Client {
	t.Helper()
	if cfg.Transport == nil {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		cfg.Transport = transport
	}
	c, err := masv.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answering returns a client of a server that answers everything the same way.
func answering(t testing.TB, status int, header http.Header, body string) *masv.Client {
	t.Helper()
	return client(t, masv.Config{BaseURL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		for key, values := range header {
			w.Header()[key] = values
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})})
}

// classes are all classes of errors.
var classes = []error{
	masv.ErrNotFound, masv.ErrDenied, masv.ErrSignIn, masv.ErrNotReady,
	masv.ErrRateLimited, masv.ErrUnavailable, masv.ErrInvalid,
}

// mustBe fails the test where err is not an *Error of just that class, or
// lets a secret through anywhere.
func mustBe(t testing.TB, err, class error) *masv.Error {
	t.Helper()
	e, ok := errors.AsType[*masv.Error](err)
	if !ok {
		t.Fatalf("error = %v, want one of class %q", err, class)
	}
	for _, other := range classes {
		if errors.Is(err, other) != (other == class) {
			t.Errorf("error = %v, of class %q: %t, want one of class %q only", err, other, other != class, class)
		}
	}
	mustHideAll(t, err)
	return e
}

// mustHideAll looks for secrets in an error and in all that it wraps.
func mustHideAll(t testing.TB, err error) {
	t.Helper()
	mustHide(t, "error", fmt.Sprintf("%v %+v %#v", err, err, err))
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		if inner := err.Unwrap(); inner != nil {
			mustHideAll(t, inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range err.Unwrap() {
			mustHideAll(t, inner)
		}
	}
}

func TestNewClientRefusesWhatIsNoAddress(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"api.massive.app/v1", "must begin with https://"},
		{"ftp://api.massive.app", "must begin with https://"},
		{"unix:///run/x", "must begin with https://"},
		{"https:///v1", "no host"},
		{"https://user:d3adb33fcafe@api.massive.app", "user name"},
		{"https://api.massive.app/v1?key=d3adb33fcafe", "'?'"},
		{"https://api.massive.app/v1?", "'?'"},
		{"https://api.massive.app/v1#d3adb33fcafe", "'#'"},
		{"https://api.massive.app/\x7f?key=d3adb33fcafe", "control character"},
	} {
		_, err := masv.NewClient(masv.Config{BaseURL: tt.address})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewClient of %q: %v, want an error with %q", tt.address, err, tt.want)
			continue
		}
		mustHide(t, "error", err.Error())
	}
	if _, err := masv.NewClient(masv.Config{UserAgent: "a\r\nb: c"}); err == nil {
		t.Error("a user agent with a line break was taken")
	}
	if _, err := masv.NewClient(masv.Config{Timeout: -time.Second}); err == nil {
		t.Error("a negative time-out was taken")
	}
	if _, err := masv.NewClient(masv.Config{}); err != nil {
		t.Errorf("the zero Config: %v", err)
	}
}

func TestCallsAreAsDocumented(t *testing.T) {
	for _, prefix := range []string{"", "/", "/v1", "/v1/", "/a%2Fb/v1//"} {
		for _, call := range calls {
			t.Run(call.name+" below "+prefix, func(t *testing.T) {
				var got *http.Request
				base := serve(t, func(w http.ResponseWriter, r *http.Request) {
					got = r
					fmt.Fprint(w, call.answer)
				})
				c := client(t, masv.Config{BaseURL: base + prefix, UserAgent: "test/1"})
				if err := call.do(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if want := strings.TrimRight(prefix, "/") + call.path; got.Method != "GET" || got.URL.EscapedPath() != want {
					t.Errorf("asked %s %s, want GET %s", got.Method, got.URL.EscapedPath(), want)
				}
				want := map[string]string{"Accept": "application/json", "User-Agent": "test/1", "Referer": "", "Cookie": "", "Authorization": ""}
				if call.name == "Link" {
					want["X-Link-Password"], want["X-Package-Token"] = password, ""
					if q := got.URL.Query(); len(q) != 1 || q.Get("secret") != linkSecret {
						t.Errorf("query = %v", q)
					}
				} else {
					want["X-Link-Password"], want["X-Package-Token"] = "", token
					if got.URL.RawQuery != "" {
						t.Errorf("query = %q, want none", got.URL.RawQuery)
					}
				}
				for key, value := range want {
					if got.Header.Get(key) != value {
						t.Errorf("%s = %q, want %q", key, got.Header.Get(key), value)
					}
				}
			})
		}
	}
}

func TestALinkWithoutAPasswordSendsNoPasswordHeader(t *testing.T) {
	var header http.Header
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		fmt.Fprint(w, linkAnswer)
	})
	if _, err := client(t, masv.Config{BaseURL: base}).Link(t.Context(), masv.Link{ID: linkID, Secret: linkSecret}, ""); err != nil {
		t.Fatal(err)
	}
	if _, ok := header["X-Link-Password"]; ok {
		t.Error("an empty password was sent")
	}
}

func TestIdentifiersCannotLeadElsewhere(t *testing.T) {
	var path string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.EscapedPath()
		fmt.Fprint(w, urlAnswer)
	})
	c := client(t, masv.Config{BaseURL: base + "/v1"})
	if _, err := c.FileURL(t.Context(), "a/../b?x#y", token, "%2e ü\n"); err != nil {
		t.Fatal(err)
	}
	if want := "/v1/packages/a%2F..%2Fb%3Fx%23y/files/%252e%20%C3%BC%0A/download"; path != want {
		t.Errorf("asked for %s, want %s", path, want)
	}
	path = ""
	for _, id := range []string{"", ".", ".."} {
		_, err := c.FileURL(t.Context(), packageID, token, id)
		mustBe(t, err, masv.ErrInvalid)
	}
	if path != "" {
		t.Errorf("asked for %s", path)
	}
}

func TestWhatCannotBeSentIsNotSent(t *testing.T) {
	c := client(t, masv.Config{BaseURL: serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a call was made") })})
	_, err := c.Link(t.Context(), masv.Link{ID: linkID, Secret: linkSecret}, password+"\r\nX-Evil: 1")
	if e := mustBe(t, err, masv.ErrDenied); !strings.Contains(e.Error(), "password has a character that cannot be sent") {
		t.Errorf("error = %v", e)
	}
	err = c.CheckToken(t.Context(), packageID, token+"\n")
	mustBe(t, err, masv.ErrInvalid)
}
