package masv_test

import (
	"bufio"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"masvfs/fetch/masv"
)

// recited is a server that answers every request with the same bytes.
type recited struct {
	t      testing.TB
	answer string
	asked  int
}

func (r *recited) RoundTrip(req *http.Request) (*http.Response, error) {
	if r.asked++; r.asked > 6 {
		r.t.Fatalf("%d requests for one call", r.asked)
	}
	if req.URL.Scheme != "https" || !strings.EqualFold(req.URL.Host, "api.example") {
		r.t.Errorf("the secrets went to %s://%s", req.URL.Scheme, req.URL.Host)
	}
	return http.ReadResponse(bufio.NewReader(strings.NewReader(r.answer)), req)
}

// FuzzAnswer has each call answered with arbitrary bytes: status, header and
// body. What comes of it can be used, or is an error of a class, fit to be
// shown, and no secret is told to anybody.
func FuzzAnswer(f *testing.F) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
	for _, seed := range []string{
		ok + linkAnswer, ok + listAnswer, ok + urlAnswer, ok + linkAnswer[:60], ok + linkAnswer + "}", ok + "null", ok + `{"url":"file:///etc/shadow"}`,
		ok + `{"package_id":"..","package_token":"a\r\nX-Evil: 1","package_size":-1,"name":"\u202e\u0000"}`,
		"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", ok + "<html>", "HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: https://api.exAmple/elsewhere\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: https://api.example/elsewhere\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: https://evil.example/" + linkSecret + "\r\n\r\n", "HTTP/1.1 307 x\r\nLocation: //evil.example\r\n\r\n",
		"HTTP/1.1 301 x\r\nLocation: file:///etc/shadow\r\n\r\n", "HTTP/1.1 308 x\r\nLocation: https://api.example:444/\r\n\r\n",
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 139\r\n\r\n" + `{"message":"` + linkSecret + ` ` + token + ` ` + password + `"}`,
		"HTTP/1.1 403 Forbidden\r\n\r\n" + `{"error":{"message":"please sign in\u0000\u202e"}}`,
		"HTTP/1.1 429 x\r\nRetry-After: 99999999999999999999\r\nDate: x\r\n\r\nslow\x1b[31m down", "HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n",
		"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", "HTTP/1.1 500 x\r\nContent-Length: 9999999999999\r\n\r\nshort", "HTTP/1.1 407 x\r\n\r\n",
		"HTTP/1.1 999 x\r\n\r\n", "nonsense", "HTTP " + linkSecret,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		fresh := func() *masv.Client {
			return client(t, masv.Config{BaseURL: "https://api.example/v1", Transport: &recited{t: t, answer: answer}})
		}
		pkg, err := fresh().Link(t.Context(), masv.Link{ID: linkID, Secret: linkSecret}, password)
		if err != nil {
			fitToBeShown(t, err, linkSecret, password)
		} else if pkg.ID == "" || pkg.Token == "" || pkg.Size < 0 || strings.ContainsFunc(pkg.Token.Reveal(), func(r rune) bool { return r < ' ' && r != '\t' }) {
			t.Errorf("a package that is of no use: %+v", pkg)
		}
		entries, err := list(t.Context(), fresh())
		if err != nil {
			fitToBeShown(t, err, token)
		}
		for _, e := range entries {
			if e.ID == "" || e.Size < 0 || !utf8.ValidString(e.Name) {
				t.Errorf("an entry that is of no use: %+v", e)
			}
		}
		where, err := fresh().FileURL(t.Context(), packageID, token, fileID)
		if err != nil {
			fitToBeShown(t, err, token)
		} else if u, err := url.Parse(where.Reveal()); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || len(where) > 16<<10 {
			t.Errorf("an address that is of no use: %q", where.Reveal())
		}
		if err := fresh().CheckToken(t.Context(), packageID, token); err != nil {
			fitToBeShown(t, err, token)
		}
	})
}

// fitToBeShown checks the error of a call that was given those secrets.
func fitToBeShown(t *testing.T, err error, secrets ...string) {
	t.Helper()
	e, ok := errors.AsType[*masv.Error](err)
	if !ok || e.Class == nil || e.Op == "" {
		t.Fatalf("an error of no class: %v", err)
	}
	text := err.Error()
	for _, secret := range secrets {
		if strings.Contains(text, secret) || strings.Contains(text, url.QueryEscape(secret)) {
			t.Errorf("a secret is shown: %q", text)
		}
	}
	if len(text) > 4<<10 || utf8.RuneCountInString(e.Message) > 300 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("not fit to be shown: %q", text)
	}
	if wait := masv.RetryAfter(err); wait < 0 || wait > time.Hour {
		t.Errorf("it asks to wait for %v", wait)
	}
}
