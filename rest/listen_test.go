package rest_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"masvfs/rest"
	"masvfs/rest/client"
)

func TestTheModeOfAUnixSocketIsWhatItsAddressSays(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077} {
		for query, want := range map[string]os.FileMode{"": 0o600, "?mode=0600": 0o600, "?mode=0660": 0o660, "?mode=0666": 0o666} {
			path := filepath.Join(t.TempDir(), "s")
			old := syscall.Umask(umask)
			serve(t, &memory{}, rest.Address{Spec: "unix://" + path + query})
			syscall.Umask(old)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%q with umask %o: %v, %v", query, umask, info, err)
			}
			c, err := client.New(client.Config{Address: "unix://" + path + query})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.List(t.Context(), ""); err != nil {
				t.Errorf("the same address for a client: %v", err)
			}
		}
	}
	for _, query := range []string{"?mode=", "?mode=0777", "?mode=666", "?mode=0640", "?mode=0606", "?mode=0000", "?mode=rw", "?mode=0660&mode=0600", "?mode=0660&x=1", "?Mode=0660", "?0660", "#mode=0660"} {
		if err := (rest.Address{Spec: "unix://" + filepath.Join(t.TempDir(), "s") + query}).Check(); err == nil {
			t.Errorf("%q is taken", query)
		}
	}
	if err := (rest.Address{Spec: "http://127.0.0.1:0?mode=0660"}).Check(); err == nil {
		t.Error("a mode for what has none is taken")
	}
}

func TestWhoWatchesOverTheAgentNeedsNoTokenAndLearnsNothing(t *testing.T) {
	url := "http://" + serve(t, &memory{}, rest.Address{Spec: "http://127.0.0.1:0", Token: "0123456789abcdef"})
	if status, h, body := call(t, "GET", url+"/healthz", ""); status != 200 || body != "ok\n" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
		t.Errorf("%d: %q, %v", status, body, h)
	}
	if status, _, body := call(t, "HEAD", url+"/healthz", ""); status != 200 || body != "" {
		t.Errorf("HEAD: %d: %q", status, body)
	}
	// Nothing else goes without.
	for _, c := range []string{
		"GET /api/v1/downloads", "GET /api/v1/downloads/" + id, "POST /api/v1/downloads", "POST /api/v1/downloads/all/pause", "DELETE /api/v1/downloads/" + id,
		"GET /api/v1/settings", "PATCH /api/v1/settings", "OPTIONS /api/v1/downloads", "GET /", "GET /healthz/", "GET /healthz/x", "GET //healthz", "GET /HEALTHZ", "GET /x",
	} {
		method, path, _ := strings.Cut(c, " ")
		if status, _, body := call(t, method, url+path, ""); status != 401 {
			t.Errorf("%s: %d: %s", c, status, body)
		}
	}
	if status, _, _ := call(t, "GET", url+"/healthz", "", "Host", "evil.example"); status != 403 {
		t.Errorf("a web page is told: %d", status)
	}
}
