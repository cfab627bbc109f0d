package masvtest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

func TestOutageResetsConnections(t *testing.T) {
	outage(t, func(c *cloud, on bool) error { c.SetDown(on); return nil }, func(err error) bool {
		// which of them depends on how far the client is when the RST arrives
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.EOF)
	})
}

func TestOutageRefusesConnections(t *testing.T) {
	outage(t, func(c *cloud, on bool) error { return c.SetRefusing(on) }, func(err error) bool {
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

func outage(t *testing.T, set func(*cloud, bool) error, expected func(error) bool) {
	c := start(t)
	l, u := c.one(masvtest.File{Name: "a", Size: size, Seed: seed})
	c.Fault(masvtest.Times(1, masvtest.On(masvtest.CallStorage, masvtest.StallAfter(100, nil))))
	resp, err := c.client.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()

	for range 2 {
		if err := set(c, true); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err == nil || n > 100 {
			t.Errorf("the answer under way went on: %d bytes, %v", n, err)
		}
		for _, u := range []string{u, c.linkURL(l)} {
			if r := c.get(u); !expected(r.err) {
				t.Errorf("during the outage: %v", r.err)
			}
		}
		if err := set(c, false); err != nil {
			t.Fatal(err)
		}
		c.token(l)
		c.get(u).want(t, 200)
	}
}

func TestCloseEndsStalls(t *testing.T) {
	s := masvtest.NewServer()
	l := s.AddPackage(masvtest.Package{})
	s.Fault(masvtest.On(masvtest.CallLink, masvtest.Stall()))
	ended := make(chan error)
	go func() {
		_, err := http.Get(s.URL + "/links/" + l.ID)
		ended <- err
	}()
	eventually(t, "the call to arrive", func() bool { return s.Stats().Link.Calls == 1 })
	s.Close()
	if err := <-ended; err == nil {
		t.Error("the call was answered")
	}
	s.Close() // twice is no harm
}

func TestTLSNeedsTheServersAuthority(t *testing.T) {
	c := start(t, masvtest.WithTLS())
	_, u := c.one(masvtest.File{Name: "a", Size: size, Seed: seed})
	if !strings.HasPrefix(c.URL, "https://") || !strings.HasPrefix(u, "https://") {
		t.Errorf("URLs %s, %s", c.URL, u)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := http.Get(u); !errors.As(err, &unknown) {
		t.Errorf("a client that does not know it: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.CA) {
		t.Fatalf("CA %q", c.CA)
	}
	for proto, protocols := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2.0": func(p *http.Protocols) { p.SetHTTP2(true) },
	} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols)}
		protocols(transport.Protocols)
		c.client = &http.Client{Transport: transport}
		r := c.get(u, "Range: bytes=5-").want(t, 206)
		if r.proto != proto || string(r.body) != content(seed, 5, size-5) {
			t.Errorf("%s: %s, %d bytes", proto, r.proto, len(r.body))
		}
		for name, fault := range map[string]*masvtest.Fault{
			"Reset": masvtest.Reset(), "ResetAfter": masvtest.ResetAfter(1000), "Truncate": masvtest.Truncate(1000),
		} {
			c.Fault(masvtest.On(masvtest.CallStorage, fault))
			if r := c.get(u); r.err == nil || len(r.body) > 1000 {
				t.Errorf("%s over %s: %d bytes, %v", name, proto, len(r.body), r.err)
			}
		}
		c.Fault(masvtest.Times(1, masvtest.On(masvtest.CallStorage, masvtest.StallAfter(1000, nil))))
		resp, err := c.client.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close() // gives up: HTTP/2 resets the stream, HTTP/1.1 closes the connection
		c.Fault(nil)
		c.get(u).want(t, 200)
		transport.CloseIdleConnections()
	}
}

func TestPlainHTTPHasNoAuthority(t *testing.T) {
	if c := start(t); c.CA != nil || !strings.HasPrefix(c.URL, "http://127.0.0.1:") || !strings.HasSuffix(c.URL, "/v1") {
		t.Errorf("%s with an authority %q", c.URL, c.CA)
	}
}

func TestAddressesCanBeChosen(t *testing.T) {
	s, err := masvtest.Listen(masvtest.WithAPIAddr("localhost:0"), masvtest.WithStorageAddr("0.0.0.0:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := &cloud{s, t, s.Client()}
	l := s.AddPackage(masvtest.Package{Files: []masvtest.File{{Name: "a", Size: 3}}})
	c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1)
	u, err := url.Parse(c.object(l, 0))
	if err != nil || u.Hostname() != "localhost" {
		t.Errorf("a storage on all addresses is told as %s: %v", u, err)
	}
	c.get(u.String()).want(t, 200)

	taken := strings.TrimPrefix(s.StorageURL, "http://")
	if second, err := masvtest.Listen(masvtest.WithStorageAddr(taken)); err == nil {
		second.Close()
		t.Error("an address was taken twice")
	} else if !strings.Contains(err.Error(), taken) {
		t.Errorf("the error does not name the address: %v", err)
	}
}

// A rate can only be seen by the clock; here by the least time that it allows,
// which no load on the machine makes shorter.
func TestRateHoldsEachConnection(t *testing.T) {
	const rate, length = 1 << 20, 100 << 10
	for name, opts := range map[string][]masvtest.Option{"in the clear": nil, "over TLS": {masvtest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			c := start(t, append(opts, masvtest.WithRate(rate))...)
			_, u := c.one(masvtest.File{Name: "a", Size: length, Seed: seed})
			least := (length - rate/50*2) * time.Second / rate
			began := time.Now()
			if r := c.get(u).want(t, 200); string(r.body) != content(seed, 0, length) {
				t.Error("wrong content")
			}
			if took := time.Since(began); took < least {
				t.Errorf("took %v, which is faster than %v", took, least)
			}
			c.SetRate(0)
			c.get(u).want(t, 200)
		})
	}
}
