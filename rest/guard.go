package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"masvfs/fetch/masv"
	"masvfs/rest/api"
)

// guard refuses requests that a local user did not mean to make: a web page
// can have its visitor's browser send requests to any address, and can make
// any name resolve to this machine (DNS rebinding). What it cannot do is to
// forge the Host and Origin headers.
type guard struct {
	token masv.Secret
	hosts []string // lower case
}

func newGuard(token masv.Secret, hosts []string) *guard {
	g := &guard{token: token}
	for _, h := range hosts {
		g.hosts = append(g.hosts, strings.ToLower(h))
	}
	return g
}

// check returns what is wrong with a request, or nil.
func (g *guard) check(r *http.Request) *api.Problem {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	// No web page reaches a Unix socket, and its mode says who may.
	if local == nil || local.Network() != "unix" {
		if !g.knows(r.Host, local) {
			return api.NewProblem(api.ForbiddenHost, "this agent is not called by the name in the Host header; use localhost, or the address that it listens on")
		}
		if !sameSite(r) {
			return api.NewProblem(api.ForbiddenOrigin, "web pages of other sites may not call this agent")
		}
	}
	if g.token != "" && r.URL.Path != healthPath && !g.bears(r.Header.Get("Authorization")) {
		return api.NewProblem(api.Unauthorized, "this agent asks for its access token; send the header Authorization: Bearer TOKEN")
	}
	return nil
}

// knows reports whether a Host header names this machine: by a loopback name,
// by the address that the client has connected to, or by a configured name.
func (g *guard) knows(host string, local net.Addr) bool {
	name := (&url.URL{Host: host}).Hostname()
	if name == "" || strings.Contains(host, "@") {
		return false
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if name == "localhost" || slices.Contains(g.hosts, name) {
		return true
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	if ip.Unmap().IsLoopback() {
		return true
	}
	tcp, ok := local.(*net.TCPAddr)
	return ok && ip.Unmap() == tcp.AddrPort().Addr().Unmap()
}

// sameSite reports whether a request comes from no web page, or from one that
// this agent itself has served.
func sameSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site": // another port of this machine is another program
		return false
	}
	origins, given := r.Header["Origin"]
	if !given {
		return true
	}
	if len(origins) != 1 {
		return false
	}
	o, err := url.Parse(origins[0])
	if err != nil || o.Host == "" {
		return false // "null" among them
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return o.Scheme == scheme && strings.EqualFold(o.Host, r.Host)
}

// bears compares an Authorization header (RFC 6750, 2.1) with the token. The
// hashes are compared, so that the time that it takes tells not even a length.
func (g *guard) bears(header string) bool {
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(g.token.Reveal()))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
