package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// A gate lets connections out to the addresses that they may go to.
type gate struct {
	here bool // the API lives on this machine, by the operator's word
	line bool // or on its own line
}

// Forbidden is why an address is not dialled.
type Forbidden struct{ text string }

func (e *Forbidden) Error() string { return e.text }

// Forbidden tells this error from those that time may mend.
func (e *Forbidden) Forbidden() bool { return true }

// newGate opens what the operator's own word about the API opens: the address
// as it is written, or as this machine's own list of hosts has it. What the
// network says of a name is the word of whoever owns the name.
func newGate(api string) *gate {
	g := new(gate)
	u, err := url.Parse(api)
	if err != nil {
		return g
	}
	for _, a := range listed(u.Hostname()) {
		g.here = g.here || here(a)
		g.line = g.line || line(a)
	}
	return g
}

// listed returns the addresses that a host has by itself, or by /etc/hosts.
func listed(host string) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{bare(a)}
	}
	if isLocalhost(host) {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	files := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("no name server is asked")
	}}
	all, err := files.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for i := range all {
		all[i] = bare(all[i])
	}
	return all
}

// isLocalhost reports whether a name means this machine to everybody.
// Source: RFC 6761, section 6.3.
func isLocalhost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// control is called with every address before it is dialled.
func (g *gate) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Forbidden{"what is to be dialled is no address"}
	}
	return g.check(a.Addr())
}

// check returns why an address may not be dialled, or nil.
func (g *gate) check(a netip.Addr) error {
	a = bare(a)
	switch {
	case here(a) && !g.here:
		return &Forbidden{fmt.Sprintf("%s is this machine itself, where MASV has no business (should its API live there, say so with --api-url)", a)}
	case line(a) && !g.line:
		return &Forbidden{fmt.Sprintf("%s is an address of this machine's own line, where MASV has no business (should its API live there, say so with --api-url)", a)}
	}
	return nil
}

// here reports whether an address is always this machine. All of 0.0.0.0/8
// is: RFC 1122, section 3.2.1.3.
func here(a netip.Addr) bool {
	return a.IsLoopback() || a.IsUnspecified() || a.Is4() && a.As4()[0] == 0
}

// metadata is where machines that are rented ask who they are, and for keys,
// if they do so over IPv6. Over IPv4 it is a link-local address.
var metadata = netip.MustParseAddr("fd00:ec2::254")

// line reports whether an address is one of the line that this machine is on,
// which nobody else means by it.
func line(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || a == metadata
}

// nat64 is the prefix below which networks without IPv4 reach it: RFC 6052.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// bare returns the address that is meant, where one stands in the form of another.
func bare(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if b := a.As16(); nat64.Contains(a) {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}
