package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

// use gives the site another cloud.
func (s *site) use(opts ...masvtest.Option) {
	s.cloud.Close()
	s.cloud = masvtest.NewServer(opts...)
	s.t.Cleanup(s.cloud.Close)
}

// callCloud has the agent reach the API, and with it the storage, under a name.
func (s *site) callCloud(name string) {
	u, err := url.Parse(s.cloud.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	u.Host = net.JoinHostPort(name, u.Port())
	s.cloud.URL = u.String()
}

// anywhere has the cloud's storage be where the API is.
var anywhere = masvtest.WithStorageAddr("0.0.0.0:0")

// twoFiles are enough to be interrupted at.
var twoFiles = []masvtest.File{{Name: "a.bin", Size: 24 << 20}, {Name: "b.txt", Size: 1000}}

// all finds a download of twoFiles complete and right, its link opened once.
func (s *site) all(id string, link masvtest.Link) {
	s.t.Helper()
	tree := s.waitFor(id, "complete").Path
	for i := range twoFiles {
		f := s.cloud.File(link, i)
		sameContent(s.t, filepath.Join(tree, f.Name), f)
	}
	if n := s.cloud.LinkStats(link).Initiated; n != 1 {
		s.t.Errorf("the link was opened %d times", n)
	}
	s.signal(syscall.SIGTERM)
}

// proxy is a forward proxy, for which every name is this machine.
type proxy struct {
	*httptest.Server
	asked atomic.Int64

	mu      sync.Mutex // guards tunnels
	tunnels []net.Conn
}

// die ends the proxy, and whatever goes through it.
func (p *proxy) die() {
	p.Listener.Close()
	p.CloseClientConnections()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.tunnels {
		c.Close()
	}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	here := net.JoinHostPort("127.0.0.1", port)
	if r.Method != http.MethodConnect {
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Host = "", here
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
		return
	}
	to, err := net.Dial("tcp", here)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	p.mu.Lock()
	p.tunnels = append(p.tunnels, from, to)
	p.mu.Unlock()
	fmt.Fprint(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { io.Copy(to, from); to.Close() }()
	io.Copy(from, to)
}

// TestAProxyIsUsedAndItsDeathWaitedOut downloads through a proxy, over HTTP and
// HTTPS, which dies meanwhile and comes back.
func TestAProxyIsUsedAndItsDeathWaitedOut(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for scheme, c := range map[string]struct {
		variable, name string
		opts           []masvtest.Option
	}{
		"http":  {"HTTP_PROXY", "masv.test", []masvtest.Option{anywhere}},
		"https": {"HTTPS_PROXY", own, []masvtest.Option{anywhere, masvtest.WithTLS()}},
	} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, false)
			s.use(c.opts...)
			s.callCloud(c.name)
			if s.cloud.CA != nil {
				ca := filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(ca, s.cloud.CA, 0o600); err != nil {
					t.Fatal(err)
				}
				s.extra = append(s.extra, "--ca-file", ca)
			}
			p := new(proxy)
			p.Server = httptest.NewServer(p)
			t.Cleanup(func() { p.Server.Close() })
			address := p.Listener.Addr().String()
			s.env = []string{c.variable + "=http://" + address, "NO_PROXY=", "no_proxy="}
			link := s.cloud.AddPackage(masvtest.Package{Name: "Proxied", Files: twoFiles})
			s.cloud.SetRate(256 << 10)
			s.start()
			id := s.add(link, "")
			s.until("bytes arrive", func() bool { return s.get(id).BytesDone > 1<<20 })
			if p.asked.Load() < 3 {
				t.Errorf("the proxy was asked %d times", p.asked.Load())
			}
			p.die()
			s.until("nobody is connected", func() bool {
				http.DefaultTransport.(*http.Transport).CloseIdleConnections() // the proxy's own
				return s.cloud.Stats().Objects.Open == 0
			})
			if d := s.get(id); d.State != "transferring" {
				t.Errorf("without its proxy it is %s: %+v", d.State, d.Error)
			}
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			again := &http.Server{Handler: p}
			t.Cleanup(func() { again.Close() })
			go again.Serve(l)
			s.cloud.SetRate(0)
			s.all(id, link)
		})
	}
}

// TestAnotherHostsCertificateIsWaitedOut puts a login page in front of cloud
// and storage, under a certificate of its own: nothing is sent to it, and the
// download goes on when it is gone.
func TestAnotherHostsCertificateIsWaitedOut(t *testing.T) {
	t.Parallel()
	s := newSite(t, false)
	s.use(masvtest.WithTLS())
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.cloud.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	s.extra = append(s.extra, "--ca-file", ca)
	link := s.cloud.AddPackage(masvtest.Package{Name: "Trusted", Files: twoFiles})
	s.cloud.SetRate(256 << 10)
	s.start()
	id := ""
	for _, when := range []string{"before the link is opened", "while bytes arrive"} {
		if err := s.cloud.SetRefusing(true); err != nil {
			t.Fatal(err)
		}
		var met atomic.Int64
		var pages []*httptest.Server
		for _, address := range []string{s.cloud.URL, s.cloud.StorageURL} {
			u, _ := url.Parse(address)
			page := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				t.Errorf("%s: a server that is not trusted was asked for something", when)
			}))
			page.Config.ConnState = func(net.Conn, http.ConnState) { met.Add(1) }
			page.Config.ErrorLog = log.New(io.Discard, "", 0)
			page.Listener.Close()
			var err error
			if page.Listener, err = net.Listen("tcp", u.Host); err != nil {
				t.Fatal(err)
			}
			page.StartTLS()
			pages = append(pages, page)
		}
		if id == "" {
			id = s.add(link, "")
		}
		s.until("the page was met", func() bool { return met.Load() > 4 })
		if d := s.get(id); d.State != "transferring" {
			t.Errorf("%s: it is %s: %+v", when, d.State, d.Error)
		}
		for _, page := range pages {
			page.Close()
		}
		if err := s.cloud.SetRefusing(false); err != nil {
			t.Fatal(err)
		}
		s.until("bytes arrive", func() bool { return s.get(id).BytesDone > 1<<20 })
	}
	s.cloud.SetRate(0)
	s.all(id, link)
}

// nameServer answers questions for names: all of them have one address, or it
// fails, or it says nothing.
type nameServer struct {
	conn  net.PacketConn
	is    netip.Addr // what all names are
	state atomic.Int32
	asked atomic.Int64
}

const (
	answers int32 = iota
	fails
	silent
)

// newNameServer starts one at an address of its own.
func newNameServer(t *testing.T, address string, is netip.Addr) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		skip(t, "port 53 of a loopback address cannot be had: "+err.Error())
	}
	t.Cleanup(func() { conn.Close() })
	n := &nameServer{conn: conn, is: is}
	go func() {
		var b [512]byte
		for {
			size, from, err := conn.ReadFrom(b[:])
			if err != nil {
				return
			}
			n.asked.Add(1)
			if a := n.answer(b[:size]); a != nil {
				conn.WriteTo(a, from)
			}
		}
	}()
	return n
}

// answer answers a question, as RFC 1035 has it.
func (n *nameServer) answer(q []byte) []byte {
	state := n.state.Load()
	if len(q) < 12 || state == silent {
		return nil
	}
	end := 12 + bytes.IndexByte(q[12:], 0) + 5 // the name, its type and class
	if end > len(q) {
		return nil
	}
	a := bytes.Clone(q[:end])
	a[2], a[3] = 0x81, 0x80 // an answer, of one who asks others
	copy(a[6:12], []byte{0, 0, 0, 0, 0, 0})
	switch kind := binary.BigEndian.Uint16(q[end-4:]); {
	case state == fails:
		a[3] |= 2
	case kind == 1: // an address of IPv4; there is none of IPv6
		a[7] = 1
		a = append(append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), n.is.AsSlice()...)
	}
	return a
}

// ownAddress returns an address of this machine that others reach it by: where
// a name server leads to 127.0.0.1, the agent does not follow.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return netip.AddrFrom4([4]byte(n.IP.To4()))
		}
	}
	skip(t, "this machine is on no network")
	return netip.Addr{}
}

// TestNamesThatCannotBeResolvedAreWaitedFor has the name server fail and come
// back, before anything is known and while bytes arrive.
func TestNamesThatCannotBeResolvedAreWaitedFor(t *testing.T) {
	if os.Geteuid() != 0 {
		skip(t, "another resolv.conf needs root")
	}
	need(t, "unshare")
	t.Parallel()
	const address = "127.0.0.77"
	own := ownAddress(t)
	names := newNameServer(t, address+":53", own)
	s := newSite(t, false)
	s.use(masvtest.WithAPIAddr(netip.AddrPortFrom(own, 0).String()), anywhere)
	s.callCloud("masv.test")
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver "+address+"\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.under = []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, conf}
	link := s.cloud.AddPackage(masvtest.Package{Name: "Named", Files: twoFiles})
	s.cloud.SetRate(256 << 10)
	names.state.Store(fails)
	s.start()
	id := s.add(link, "")
	for _, state := range []int32{fails, silent} {
		names.state.Store(state)
		s.cloud.SetDown(true) // whoever is connected has to ask again
		s.cloud.SetDown(false)
		asked := names.asked.Load()
		s.until("it has asked", func() bool { return names.asked.Load() > asked+4 })
		if d := s.get(id); d.State != "transferring" {
			t.Errorf("it is %s: %+v", d.State, d.Error)
		}
		before := s.get(id).BytesDone
		names.state.Store(answers)
		s.until("bytes arrive", func() bool { return s.get(id).BytesDone > before+1<<20 })
	}
	if !strings.Contains(s.log.String(), "masv.test") {
		t.Errorf("the log does not say which name it was:\n%s", s.log)
	}
	s.cloud.SetRate(0)
	s.all(id, link)
}
