package masvtest

import "time"

// An Option sets up a Server.
type Option func(*settings)

type settings struct {
	apiAddr, storageAddr string
	tls                  bool
	now                  func() time.Time
	rate                 int64
}

// WithAPIAddr makes the API listen on a TCP address, "host:port"; the default
// is a free port of 127.0.0.1.
func WithAPIAddr(addr string) Option { return func(s *settings) { s.apiAddr = addr } }

// WithStorageAddr does the same for the storage. Where its host is empty or
// unspecified (0.0.0.0), storage URLs name the host under which the client
// called the API.
func WithStorageAddr(addr string) Option { return func(s *settings) { s.storageAddr = addr } }

// WithTLS makes both listeners speak TLS, with HTTP/2 and HTTP/1.1 to choose
// from, under a certificate authority of the server's own: see Server.CA.
func WithTLS() Option { return func(s *settings) { s.tls = true } }

// WithClock replaces the clock by which links, tokens and storage URLs expire
// and calls are too frequent.
func WithClock(now func() time.Time) Option { return func(s *settings) { s.now = now } }

// WithRate holds each storage connection to so many bytes per second; it is
// what Server.SetRate changes later.
func WithRate(bytesPerSecond int64) Option { return func(s *settings) { s.rate = bytesPerSecond } }
