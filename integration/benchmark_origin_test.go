package integration

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// An originKind is how the server treats those who download from it. It goes
// to the server's process as JSON.
type originKind struct {
	TLS   bool
	Rate  int64 // bytes per second and connection; 0: no limit
	Stall bool  // one connection in four stalls for stallTime
}

// own reports whether no other than this program's server can do that: the
// limit of nginx is one of each request, however short.
func (k originKind) own() bool { return k.Rate != 0 || k.Stall }

// A stalling connection sends nothing for stallTime after so many bytes.
const (
	stallTime  = 30 * time.Second
	stallAfter = miB
)

// originSetup is what the origin's own process is told.
type originSetup struct {
	originKind
	Folder, Address, Certificate, Key string
}

// origin starts the server that everybody downloads from, and returns the URL
// of the folder and what serves it.
func (s *stage) origin(tb testing.TB, kind originKind, folder string, at *line) (base, server string) {
	tb.Helper()
	host := "127.0.0.1"
	if at != nil {
		host = farAddress
	}
	scheme := "http"
	if kind.TLS {
		scheme = "https"
	}
	if s.nginx != "" && !kind.own() {
		address := net.JoinHostPort(host, s.port(tb, at))
		if err := s.startNginx(tb, kind, folder, address, at); err == nil {
			return scheme + "://" + address + "/", version(s.nginx)
		} else {
			s.say("nginx is not used, as it does not start: %v", err)
			s.nginx = ""
		}
	}
	setup := originSetup{kind, folder, net.JoinHostPort(host, "0"), s.certificate, s.key}
	var address string
	s.serve(tb, "origin", setup, at.far(), &address)
	return scheme + "://" + address + "/", "the file server of Go"
}

// port is a free one; at the far end of a line all are free.
func (s *stage) port(tb testing.TB, at *line) string {
	if at != nil {
		return "8000"
	}
	return freePort(tb)
}

const nginxConfig = `daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
%[2]s
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  default_type application/octet-stream;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server { listen %[3]s; root %[4]s; autoindex on; %[5]s }
}
`

func (s *stage) startNginx(tb testing.TB, kind originKind, folder, address string, at *line) error {
	dir := s.scratch(tb)
	user, tlsLines := "", ""
	if os.Geteuid() == 0 {
		user = "user root;" // the folders here are private
	}
	if kind.TLS {
		address += " ssl"
		tlsLines = fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s; ssl_session_cache shared:s:1m;", s.certificate, s.key)
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, dir, user, address, folder, tlsLines)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := at.far().command(context.Background(), s.nginx, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", config)
	log := new(syncBuffer)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	stop := func() { cmd.Process.Signal(syscall.SIGTERM); <-exited }
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-exited:
			return fmt.Errorf("%w: %s", errors.New("it ended"), log)
		default:
		}
		// The pid file comes after the sockets are open.
		if _, err := os.Stat(filepath.Join(dir, "nginx.pid")); err == nil {
			tb.Cleanup(stop)
			return nil
		}
		if time.Now().After(end) {
			stop()
			return errors.New("it does not listen")
		}
	}
}

// serve starts this test program as a server, which lives as long as tb, and
// decodes its first line, which says where it is.
func (s *stage) serve(tb testing.TB, what string, setup any, at *netns, answer any) {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := at.command(context.Background(), self)
	cmd.Env = append(os.Environ(), readerVariable+"="+what)
	log := new(syncBuffer)
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("the %s: %v: %s", what, err, log)
		}
	})
	if err := json.NewEncoder(in).Encode(setup); err != nil {
		tb.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, answer)
	}
	if err != nil {
		tb.Fatalf("the %s does not start: %v: %s", what, err, log)
	}
}

// served is the other side of serve: it runs until its input ends, which it
// does with the process that started it.
func served[T any](start func(setup T) (answer any, err error)) func([]string) error {
	return func([]string) error {
		var setup T
		in := json.NewDecoder(os.Stdin)
		if err := in.Decode(&setup); err != nil {
			return err
		}
		answer, err := start(setup)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
			return err
		}
		io.Copy(io.Discard, os.Stdin)
		return nil
	}
}

// serveOrigin serves a folder.
func serveOrigin(setup originSetup) (any, error) {
	l, err := net.Listen("tcp", setup.Address)
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if setup.own() {
		l = &strictListener{Listener: l, kind: setup.originKind}
	}
	files := http.FileServer(http.Dir(setup.Folder))
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if info, err := os.Stat(filepath.Join(setup.Folder, filepath.FromSlash(r.URL.Path))); err == nil && info.Mode().IsRegular() {
				w.Header().Set("Etag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
			}
			files.ServeHTTP(w, r)
		}),
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // as nginx: HTTP/1.1
	}
	go func() {
		if setup.TLS {
			err = server.ServeTLS(l, setup.Certificate, setup.Key)
		} else {
			err = server.Serve(l)
		}
		fmt.Fprintln(os.Stderr, err)
	}()
	return address, nil
}

// strictListener accepts connections that send as slowly as it is told.
type strictListener struct {
	net.Listener
	kind     originKind
	accepted atomic.Int64
}

func (l *strictListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := l.accepted.Add(1)
	return &strictConn{Conn: c, rate: l.kind.Rate, stalls: l.kind.Stall && n%4 == 0}, nil
}

type strictConn struct {
	net.Conn
	rate   int64
	due    time.Time // when what was sent is paid for; time that is not used is lost
	stalls bool
	sent   int64
}

func (c *strictConn) Write(p []byte) (n int, err error) {
	for err == nil && n < len(p) {
		part := p[n:min(n+128*kiB, len(p))]
		if c.rate > 0 {
			time.Sleep(time.Until(c.due))
			if now := time.Now(); c.due.Before(now) {
				c.due = now
			}
			c.due = c.due.Add(time.Duration(len(part)) * time.Second / time.Duration(c.rate))
		}
		if c.stalls && c.sent >= stallAfter {
			c.stalls = false
			time.Sleep(stallTime)
		}
		var m int
		m, err = c.Conn.Write(part)
		n, c.sent = n+m, c.sent+int64(m)
	}
	return n, err
}

// A sharing is what the cloud's own process is told.
type sharing struct {
	Address string
	TLS     bool
	Delay   time.Duration // before each answer
	Parcels []parcel
	Base    string // URL of the folder of all packages
}

// A cloud is what masvfs has to know of it.
type cloud struct {
	API   string
	CA    []byte // PEM
	Links []string
}

// serveCloud runs an embedded cloud that shares the packages, whose files lie
// at the origin.
func serveCloud(setup sharing) (any, error) {
	options := []masvtest.Option{masvtest.WithAPIAddr(setup.Address)}
	if setup.TLS {
		options = append(options, masvtest.WithTLS())
	}
	server, err := masvtest.Listen(options...)
	if err != nil {
		return nil, err
	}
	if setup.Delay != 0 {
		late := &masvtest.Fault{Latency: setup.Delay}
		server.Fault(func(masvtest.Request) *masvtest.Fault { return late })
	}
	c := cloud{API: server.URL, CA: server.CA}
	modified := time.Now()
	for _, p := range setup.Parcels {
		link := server.AddPackage(masvtest.Package{Name: p.Name, Count: p.count(), RateInterval: -1, Generate: func(i int) masvtest.File {
			folder, name := p.file(i)
			return masvtest.File{Name: name, Path: folder, Size: p.size(i), LastModified: modified, URL: setup.Base + p.path(p.object(i))}
		}})
		c.Links = append(c.Links, link.URL())
	}
	return c, nil
}

// makeCertificate writes a certificate authority of the benchmark's own and a
// certificate under it for the addresses where origins listen.
func (s *stage) makeCertificate() error {
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "benchmark's authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "benchmark's origin"},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		IPAddresses: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(farAddress)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	write := func(name, kind string, der []byte, err error) error {
		if err != nil {
			return err
		}
		return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	if err := write(s.ca, "CERTIFICATE", der, err); err != nil {
		return err
	}
	der, err = x509.CreateCertificate(rand.Reader, leaf, authority, &key.PublicKey, authorityKey)
	if err := write(s.certificate, "CERTIFICATE", der, err); err != nil {
		return err
	}
	der, err = x509.MarshalECPrivateKey(key)
	return write(s.key, "EC PRIVATE KEY", der, err)
}

// findNginx returns nginx's path, "" if there is none. Where it is installed
// may not be in the path of ordinary users.
func findNginx() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
