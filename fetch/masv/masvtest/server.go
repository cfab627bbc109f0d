package masvtest

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Server is an embedded MASV cloud. All its methods may be called at any
// time from any goroutine.
type Server struct {
	URL        string // of the API, ending in /v1
	StorageURL string // of the storage; its host is what URLs of files name
	CA         []byte // PEM of the certificate authority; nil without TLS

	now     func() time.Time
	signer  signer
	api     *endpoint
	storage *endpoint
	anyHost bool // the storage listens on all addresses
	closing chan struct{}
	faults  atomic.Pointer[FaultFunc]
	counts  counts
	once    sync.Once

	mu       sync.Mutex         // guards what follows
	links    map[string]*shared // by link ID
	packages map[string]*shared // by package ID
}

// endpoint is one of the two HTTP servers.
type endpoint struct {
	listener *listener
	http     *http.Server
	served   chan struct{} // closed when Serve has returned
	active   sync.WaitGroup
	mu       sync.Mutex // guards closed, and orders active.Add before Wait
	closed   bool
}

// NewServer starts a server on loopback, to be closed with Close. It panics if
// it cannot listen, as httptest.NewServer does.
func NewServer(opts ...Option) *Server {
	s, err := Listen(opts...)
	if err != nil {
		panic("masvtest: " + err.Error())
	}
	return s
}

// Listen is NewServer for callers with addresses of their own, which may be taken.
func Listen(opts ...Option) (*Server, error) {
	set := settings{now: time.Now}
	for _, opt := range opts {
		opt(&set)
	}
	s := &Server{
		now:      set.now,
		closing:  make(chan struct{}),
		links:    map[string]*shared{},
		packages: map[string]*shared{},
	}
	rand.Read(s.signer.key[:])
	var config *tls.Config
	scheme := "http"
	if set.tls {
		authority, certificate, err := newCertificate()
		if err != nil {
			return nil, fmt.Errorf("make certificate: %w", err)
		}
		s.CA, scheme = authority, "https"
		config = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	api, err := listen(set.apiAddr)
	if err != nil {
		return nil, err
	}
	storage, err := listen(set.storageAddr)
	if err != nil {
		api.Close()
		return nil, err
	}
	storage.rate.Store(set.rate)
	s.anyHost = storage.addr.(*net.TCPAddr).IP.IsUnspecified()
	s.URL = scheme + "://" + reachable(api.addr) + "/v1"
	s.StorageURL = scheme + "://" + reachable(storage.addr)
	s.api = serve(api, config, s.serveAPI)
	s.storage = serve(storage, config, s.serveStorage)
	return s, nil
}

// reachable is the address under which this machine itself calls a listener.
func reachable(addr net.Addr) string {
	tcp := *addr.(*net.TCPAddr)
	if tcp.IP.IsUnspecified() {
		tcp.IP = net.IPv4(127, 0, 0, 1)
	}
	return tcp.String()
}

// serve starts an endpoint.
func serve(l *listener, config *tls.Config, handle http.HandlerFunc) *endpoint {
	e := &endpoint{listener: l, served: make(chan struct{})}
	e.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !e.enter() {
				panic(http.ErrAbortHandler)
			}
			defer e.active.Done()
			handle(w, r)
		}),
		TLSConfig:         config.Clone(), // net/http adds to it; nil stays nil
		ReadHeaderTimeout: 30 * time.Second,
		ConnContext:       withConn,
		ErrorLog:          log.New(panicsOnly{}, "masvtest: ", 0),
	}
	go func() {
		defer close(e.served)
		if config != nil {
			e.http.ServeTLS(l, "", "")
		} else {
			e.http.Serve(l)
		}
	}()
	return e
}

func (e *endpoint) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.active.Add(1)
	}
	return !e.closed
}

func (e *endpoint) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.http.Close()
	<-e.served
	e.active.Wait()
}

// panicsOnly drops what net/http logs about clients that hang up or do not
// trust the certificate, which is their business here.
type panicsOnly struct{}

func (panicsOnly) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic")) {
		return os.Stderr.Write(p)
	}
	return len(p), nil
}

// Close ends stalls, closes all connections and returns when no request is
// being answered any more.
func (s *Server) Close() {
	s.once.Do(func() { close(s.closing) })
	s.api.close()
	s.storage.close()
}

// Client returns a fresh client that trusts this server's certificate
// authority, and is otherwise like http.DefaultClient without a proxy.
func (s *Server) Client() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	if s.CA != nil {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(s.CA)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: transport}
}

// SetRate holds each storage connection to so many bytes per second, from now
// on; 0 is no limit.
func (s *Server) SetRate(bytesPerSecond int64) { s.storage.listener.rate.Store(bytesPerSecond) }

// SetDown begins or ends an outage of both listeners in which connections are
// accepted and reset; those that are open are reset at once.
func (s *Server) SetDown(down bool) {
	s.api.listener.setDown(down)
	s.storage.listener.setDown(down)
}

// SetRefusing begins or ends an outage in which both ports refuse connections;
// those that are open are reset at once. The error is that of taking a port
// again, if another program has it now.
func (s *Server) SetRefusing(refusing bool) error {
	if err := s.api.listener.setRefusing(refusing); err != nil {
		return err
	}
	return s.storage.listener.setRefusing(refusing)
}
