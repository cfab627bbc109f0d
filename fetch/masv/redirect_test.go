package masv_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"masvfs/fetch/masv"
)

var redirectStatuses = []int{301, 302, 303, 307, 308}

// foreign starts a server that nothing may ever reach.
func foreign(t testing.TB) (host string) {
	t.Helper()
	return strings.TrimPrefix(serve(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the foreign server was asked for %s, with %v", r.URL, r.Header)
	}), "http://")
}

func TestNothingFollowsARedirectToAnotherServer(t *testing.T) {
	other := foreign(t)
	for _, call := range calls {
		for _, status := range redirectStatuses {
			for _, location := range []string{
				"http://" + other + "/v1",
				"//" + other + "/x",
				"http://user:pass@" + other + "/?secret=" + linkSecret,
				"https://" + other + "/",
				"ftp://" + other + "/",
				"javascript:alert(1)",
			} {
				c := answering(t, status, http.Header{"Location": {location}}, "")
				err := call.do(t.Context(), c)
				if call.name == "FileURL" && strings.HasPrefix(location, "http") {
					if err != nil {
						t.Errorf("FileURL: a %d to %s is the answer: %v", status, location, err)
					}
					continue
				}
				mustBe(t, err, masv.ErrInvalid)
			}
		}
	}
}

func TestNothingFollowsARedirectToAnotherScheme(t *testing.T) {
	var host string
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("asked without TLS for %s", r.URL)
	}))
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+host+r.URL.String(), http.StatusFound)
	}))
	defer secure.Close()
	c := client(t, masv.Config{BaseURL: secure.URL, Transport: secure.Client().Transport})
	for _, target := range []string{plain.Listener.Addr().String(), secure.Listener.Addr().String()} {
		host = target
		for _, call := range calls {
			if call.name != "FileURL" {
				mustBe(t, call.do(t.Context(), c), masv.ErrInvalid)
			}
		}
	}
}

func TestARedirectOnTheSameServerIsFollowedWithoutAReferer(t *testing.T) {
	for _, call := range calls {
		if call.name == "FileURL" {
			continue
		}
		for _, status := range redirectStatuses {
			var hops atomic.Int32
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if ref, ok := r.Header["Referer"]; ok {
					t.Errorf("%s: Referer = %q", call.name, ref)
				}
				if r.Header.Get("X-Link-Password")+r.Header.Get("X-Package-Token") == "" || r.Method != "GET" {
					t.Errorf("%s: after a redirect: %s with %v", call.name, r.Method, r.Header)
				}
				switch hops.Add(1) {
				case 1:
					w.Header().Set("Location", "http://"+strings.ToUpper(r.Host)+"/elsewhere?x=1")
				case 2:
					w.Header().Set("Location", "../again#part")
				default:
					if r.URL.Path != "/again" {
						t.Errorf("%s: followed to %s", call.name, r.URL)
					}
					fmt.Fprint(w, call.answer)
					return
				}
				w.WriteHeader(status)
				fmt.Fprint(w, "<a href=there>moved</a>")
			})
			if err := call.do(t.Context(), client(t, masv.Config{BaseURL: base})); err != nil {
				t.Errorf("%s, status %d: %v", call.name, status, err)
			}
		}
	}
}

func TestAPortThatIsTheSchemesOwnMakesNoOtherServer(t *testing.T) {
	for _, tt := range []struct {
		base, location string
		followed       bool
	}{
		{"https://api.example/v1", "https://api.example:443/x", true},
		{"https://api.example:443/v1", "https://API.example/x", true},
		{"http://api.example/v1", "http://api.example:80/x", true},
		{"https://api.example/v1", "https://api.example:80/x", false},
		{"https://api.example/v1", "https://api.example:8443/x", false},
		{"https://api.example/v1", "https://api.example.evil.example/x", false},
	} {
		var asked []string
		c := client(t, masv.Config{BaseURL: tt.base, Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.String())
			answer := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("[]"))}
			if len(asked) == 1 {
				answer.StatusCode, answer.Header = 302, http.Header{"Location": {tt.location}}
			}
			return answer, nil
		})})
		err := c.CheckToken(t.Context(), packageID, token)
		if followed := len(asked) == 2; followed != tt.followed || (err == nil) != tt.followed {
			t.Errorf("from %s to %s: asked %q, %v", tt.base, tt.location, asked, err)
		}
	}
}

func TestAConnectionThatBreaksAfterARedirectHasNoStatus(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			panic(http.ErrAbortHandler)
		}
		http.Redirect(w, r, "/gone", http.StatusFound)
	})
	for _, call := range calls {
		if call.name == "FileURL" {
			continue
		}
		if e := mustBe(t, call.do(t.Context(), client(t, masv.Config{BaseURL: base})), masv.ErrUnavailable); e.Status != 0 {
			t.Errorf("%s: the error gives the redirect's status: %v", call.name, e)
		}
	}
}

func TestRedirectsInACircleEnd(t *testing.T) {
	var asked atomic.Int32
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, r.URL.String(), http.StatusFound)
	})
	for _, call := range calls {
		if call.name == "FileURL" {
			continue
		}
		asked.Store(0)
		mustBe(t, call.do(t.Context(), client(t, masv.Config{BaseURL: base})), masv.ErrInvalid)
		if n := asked.Load(); n > 10 {
			t.Errorf("%s asked %d times", call.name, n)
		}
	}
}

func TestARedirectWithoutATargetIsNoAnswer(t *testing.T) {
	for _, header := range []http.Header{nil, {"Location": {"http://[::1/?secret=" + linkSecret}}} {
		for _, status := range append([]int{300, 304, 305}, redirectStatuses...) {
			c := answering(t, status, header, "")
			for _, call := range calls {
				mustBe(t, call.do(t.Context(), c), masv.ErrInvalid)
			}
		}
	}
}

func TestAnAPIOverTLSGivesNoAddressWithoutIt(t *testing.T) {
	for _, answer := range []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { fmt.Fprint(w, `{"url":"http://storage.example/x?signature=y"}`) },
		func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://storage.example/x?signature=y")
			w.WriteHeader(http.StatusFound)
		},
	} {
		secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w) }))
		defer secure.Close()
		_, err := client(t, masv.Config{BaseURL: secure.URL, Transport: secure.Client().Transport}).FileURL(t.Context(), packageID, token, fileID)
		mustBe(t, err, masv.ErrInvalid)
		plain := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w) })
		if _, err := client(t, masv.Config{BaseURL: plain}).FileURL(t.Context(), packageID, token, fileID); err != nil {
			t.Errorf("an API without TLS: %v", err)
		}
	}
}
