package dial_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"

	"masvfs/fetch/dial"
)

func TestTheStorageIsReachedOverHTTP1AndTheAPIOverWhatItOffers(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Protocol", r.Proto)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	api, storage := dial.Transports(dial.Config{API: server.URL, Roots: roots, Connections: 4})
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
