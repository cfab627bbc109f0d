package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestTheStorageIsReachedOverHTTP1AndTheAPIOverWhatItOffers(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Protocol", r.Proto)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, data, 0o600); err != nil {
		t.Fatal(err)
	}
	api, storage, err := transports(ca, 4)
	if err != nil {
		t.Fatal(err)
	}
	for want, transport := range map[string]*http.Transport{"HTTP/2.0": api, "HTTP/1.1": storage} {
		req, err := http.NewRequest("GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		resp.Body.Close()
		if got := resp.Header.Get("X-Protocol"); got != want {
			t.Errorf("%s is spoken, not %s", got, want)
		}
		transport.CloseIdleConnections()
	}
}
