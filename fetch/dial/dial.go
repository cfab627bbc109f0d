// Package dial reaches the MASV cloud and its storage hosts over the network:
// which addresses may be dialled, through which proxy, whom to trust, and how
// long and how much is waited for.
//
// What the cloud answers chooses where the next request goes, so it could send
// the agent to servers that only this machine can see. The package promises
// that no address of this machine itself or of its own line is dialled, by
// whatever name, unless the operator has said that the API lives there. It is
// the address that counts, at the moment when it is dialled: a name can lead
// elsewhere the next time it is looked up. Private networks (10.0.0.0/8 and
// their kin) may be dialled: private clouds live there.
//
// It knows nothing of links, packages and files.
package dial

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"
)

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 64 << 10

// Config says what is to be reached.
type Config struct {
	API         string         // address of the API, as the operator has given it
	Roots       *x509.CertPool // whom to trust; nil: whom the system trusts
	Connections int            // to a host, that are kept
}

// Transports returns how the API and the storage hosts are reached, through
// the proxies that the usual environment variables name. They are read here,
// and taken out of the environment, which children would inherit: a proxy's
// address may hold a password.
func Transports(cfg Config) (api, storage *http.Transport) {
	g := newGate(cfg.API)
	p := newProxies(g)
	plain := net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	guarded := plain
	guarded.ControlContext = g.control
	d := dialer{plain: &plain, guarded: &guarded, proxies: p}
	api, storage = d.transport(cfg), d.transport(cfg)
	// Over HTTP/2 all ranges would share one connection, and its congestion window.
	storage.Protocols = new(http.Protocols)
	storage.Protocols.SetHTTP1(true)
	storage.ForceAttemptHTTP2 = false
	storage.TLSNextProto = nil
	storage.ReadBufferSize = 64 << 10
	return api, storage
}

// transport returns a transport of its own that dials with d.
func (d dialer) transport(cfg Config) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = d.proxies.choose
	t.OnProxyConnectResponse = answered
	t.DialContext = d.dial
	// Not what the clone has: that would go on offering HTTP/2, also where it
	// is not spoken.
	t.TLSClientConfig = &tls.Config{RootCAs: cfg.Roots}
	t.TLSHandshakeTimeout = 15 * time.Second
	t.MaxIdleConnsPerHost = cfg.Connections
	t.MaxResponseHeaderBytes = maxHeader
	// What grows when it is unpacked has no size that could be bounded.
	t.DisableCompression = true
	return t
}

// authority returns where a connection for u goes, as host:port.
func authority(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
