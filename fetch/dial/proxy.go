package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// A dialer dials guarded, but for the proxies, which are the operator's own
// choice and may well live here.
type dialer struct {
	plain, guarded *net.Dialer
	proxies        *proxies
}

func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.proxies.are(address) {
		return d.plain.DialContext(ctx, network, address)
	}
	return d.guarded.DialContext(ctx, network, address)
}

// proxies are those that the environment names.
type proxies struct {
	gate *gate
	at   []string // host:port
}

// newProxies reads the environment, and takes what names a proxy out of it.
func newProxies(g *gate) *proxies {
	p := &proxies{gate: g}
	for _, scheme := range []string{"http", "https"} {
		// The environment is read when it is first asked, and never again.
		r := &http.Request{URL: &url.URL{Scheme: scheme, Host: "proxied.invalid"}}
		if u, err := http.ProxyFromEnvironment(r); err == nil && u != nil {
			p.at = append(p.at, authority(u))
		}
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		_ = os.Unsetenv(name) // only a malformed name fails
	}
	return p
}

// are reports whether a proxy is at an address.
func (p *proxies) are(address string) bool {
	for _, a := range p.at {
		if strings.EqualFold(a, address) {
			return true
		}
	}
	return false
}

// choose returns the proxy for a request, nil for none.
//
// Behind a proxy it is the proxy that looks names up, so only addresses that
// are written as such can be refused here. A request to the proxy itself is:
// it would be dialled unguarded.
func (p *proxies) choose(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		// The error quotes the address, and with it the password.
		return nil, errors.New("the proxy that the environment names has no address that could be used")
	}
	if u == nil {
		if p.are(authority(r.URL)) {
			return nil, &Forbidden{"this is the proxy itself, where MASV has no business"}
		}
		return nil, nil
	}
	if a, err := netip.ParseAddr(r.URL.Hostname()); err == nil {
		if err := p.gate.check(a); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// answered judges what a proxy says to CONNECT. Its own words are not repeated.
func answered(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return errors.New("the proxy asks for a password, or for another one")
	}
	return fmt.Errorf("the proxy refuses to connect (HTTP %d)", resp.StatusCode)
}
