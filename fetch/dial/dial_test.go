package dial_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"masvfs/fetch/dial"
)

// door is a server that listens on all addresses of this machine, and counts
// who comes.
type door struct {
	port  string
	calls atomic.Int32
}

func newDoor(t testing.TB) *door {
	t.Helper()
	l, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		if l, err = net.Listen("tcp", "0.0.0.0:0"); err != nil {
			t.Fatal(err)
		}
	}
	d := &door{}
	_, d.port, _ = net.SplitHostPort(l.Addr().String())
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { d.calls.Add(1) })}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return d
}

// get asks for a host at the door's port, and returns why that failed.
func (d *door) get(t testing.TB, transport http.RoundTripper, host string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+net.JoinHostPort(strings.Trim(host, "[]"), d.port)+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(r)
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// names has all names resolved as f says, until the test is over.
func names(t testing.TB, f func(name string) netip.Addr) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			conn.WriteTo(resolved(buf[:n], f), from)
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = before; conn.Close() })
}

// resolved answers a DNS query (RFC 1035, section 4) for A records.
func resolved(query []byte, f func(name string) netip.Addr) []byte {
	var labels []string
	at := 12
	for query[at] != 0 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
		at += 1 + int(query[at])
	}
	at++
	kind := binary.BigEndian.Uint16(query[at:])
	answer := append([]byte(nil), query[:at+4]...)
	answer[2], answer[3] = 0x81, 0x80
	copy(answer[6:12], make([]byte, 6))
	if kind == 1 {
		answer[7] = 1
		ip := f(strings.Join(labels, ".")).As4()
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		answer = append(answer, ip[:]...)
	}
	return answer
}

func TestNothingThatLivesHereIsReached(t *testing.T) {
	d := newDoor(t)
	api, storage := dial.Transports(dial.Config{API: "https://api.massive.app/v1"})
	names(t, func(name string) netip.Addr {
		if strings.HasPrefix(name, "metadata") {
			return netip.MustParseAddr("169.254.169.254")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	for _, host := range []string{
		"127.0.0.1", "127.1.2.3", "localhost", "LOCALHOST.", "a.localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
		"0.0.0.0", "0.1.2.3", "[::]", "[::ffff:0.0.0.0]", "[64:ff9b::7f00:1]",
		"169.254.169.254", "169.254.1.1", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[fe80::1]", "[fe80::1%25lo]", "[fd00:ec2::254]",
		"255.255.255.255", "224.0.0.1", "[ff02::1]",
		"rebound.example", "metadata.example", "api.massive.app",
	} {
		for name, transport := range map[string]http.RoundTripper{"API": api, "storage": storage} {
			var forbidden interface{ Forbidden() bool }
			if err := d.get(t, transport, host); !errors.As(err, &forbidden) {
				t.Errorf("%s, as the %s: %v", host, name, err)
			}
		}
	}
	if n := d.calls.Load(); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}

func TestANameThatLeadsElsewhereTheSecondTimeIsNotFollowedHere(t *testing.T) {
	d := newDoor(t)
	outside := outsideAddress(t)
	var asked atomic.Int32
	names(t, func(string) netip.Addr {
		if asked.Add(1) == 1 {
			return outside
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	_, storage := dial.Transports(dial.Config{API: "https://api.massive.app/v1"})
	storage.DisableKeepAlives = true
	if err := d.get(t, storage, "rebinding.example"); err != nil {
		t.Errorf("at first: %v", err)
	}
	var forbidden interface{ Forbidden() bool }
	if err := d.get(t, storage, "rebinding.example"); !errors.As(err, &forbidden) {
		t.Errorf("then: %v", err)
	}
	if n := d.calls.Load(); n != 1 {
		t.Errorf("%d requests came through", n)
	}
}

// outsideAddress returns an address of this machine that others have for it.
func outsideAddress(t testing.TB) netip.Addr {
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
	if os.Getenv("MASVFS_TEST_NO_SKIP") != "" {
		t.Fatal("this machine is on no network")
	}
	t.Skip("this machine is on no network")
	return netip.Addr{}
}

func TestAnAPIThatLivesHereMayHaveItsStorageHere(t *testing.T) {
	d := newDoor(t)
	for _, api := range []string{"http://127.0.0.1:9/v1", "http://localhost:9/v1", "http://[::1]:9", "https://127.9.9.9", "http://masv.localhost"} {
		_, storage := dial.Transports(dial.Config{API: api})
		if err := d.get(t, storage, "127.0.0.1"); err != nil {
			t.Errorf("with %s: %v", api, err)
		}
		// That opens nothing else.
		var forbidden interface{ Forbidden() bool }
		if err := d.get(t, storage, "169.254.169.254"); !errors.As(err, &forbidden) {
			t.Errorf("with %s, to the line: %v", api, err)
		}
	}
	names(t, func(string) netip.Addr { return netip.MustParseAddr("127.0.0.1") })
	_, storage := dial.Transports(dial.Config{API: "http://api.example"})
	var forbidden interface{ Forbidden() bool }
	if err := d.get(t, storage, "127.0.0.1"); !errors.As(err, &forbidden) {
		t.Errorf("the word of a name server opens this machine: %v", err)
	}
}

func TestPrivateNetworksAreReached(t *testing.T) {
	d := newDoor(t)
	_, storage := dial.Transports(dial.Config{API: "https://api.massive.app/v1"})
	if err := d.get(t, storage, outsideAddress(t).String()); err != nil {
		t.Error(err)
	}
}

// TestProxies runs itself: the environment is read once in a process's life.
func TestProxies(t *testing.T) {
	const variable = "MASVFS_TEST_PROXY_PORT"
	if port := os.Getenv(variable); port != "" {
		behindProxy(t, &door{port: port})
		return
	}
	d := newDoor(t)
	run := func(name string, env ...string) {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestProxies$", "-test.v")
		cmd.Env = append(os.Environ(), append(env, variable+"="+d.port)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if strings.Contains(string(out), "pr0xyPass") {
			t.Errorf("%s: the password is told:\n%s", name, out)
		}
	}
	run("a proxy here", "HTTP_PROXY=http://user:pr0xyPass@127.0.0.1:"+d.port)
	run("an address that is none", "HTTP_PROXY=http://user:pr0xyPass@127.0.0.1:port", "MASVFS_TEST_PROXY_BROKEN=1")
	if d.calls.Load() != 1 {
		t.Errorf("the proxy was asked %d times", d.calls.Load())
	}
}

func behindProxy(t *testing.T, d *door) {
	_, storage := dial.Transports(dial.Config{API: "https://api.massive.app/v1"})
	for _, name := range []string{"HTTP_PROXY", "http_proxy"} {
		if v, ok := os.LookupEnv(name); ok {
			t.Errorf("children would inherit %s=%s", name, v)
		}
	}
	err := d.get(t, storage, "storage.example")
	if os.Getenv("MASVFS_TEST_PROXY_BROKEN") != "" {
		fmt.Println(err)
		if err == nil || !strings.Contains(err.Error(), "proxy") {
			t.Errorf("got %v", err)
		}
		return
	}
	if err != nil {
		t.Errorf("through the proxy: %v", err)
	}
	var forbidden interface{ Forbidden() bool }
	for _, host := range []string{"127.0.0.1", "localhost", "169.254.169.254", "[fe80::1]", "0.0.0.0"} {
		if err := d.get(t, storage, host); !errors.As(err, &forbidden) {
			t.Errorf("%s: %v", host, err)
		}
	}
}
