package masvtest

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// listener is a TCP listener that can be out of order: it then resets what it
// accepts, or refuses connections. It knows the connections that are open.
type listener struct {
	addr net.Addr     // stays the same while refusing
	rate atomic.Int64 // bytes per second of each connection; 0: unlimited

	mu      sync.Mutex
	changed sync.Cond        // inner or closed has changed
	inner   *net.TCPListener // nil while refusing
	down    bool
	closed  bool
	open    map[*conn]struct{}
	stats   ConnStats
}

func listen(addr string) (*listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	inner, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err // it names the address
	}
	l := &listener{addr: inner.Addr(), inner: inner.(*net.TCPListener), open: map[*conn]struct{}{}}
	l.changed.L = &l.mu
	return l, nil
}

// Accept implements net.Listener; it outlasts every outage.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		for l.inner == nil && !l.closed {
			l.changed.Wait()
		}
		inner, closed := l.inner, l.closed
		l.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		tcp, err := inner.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			continue // closed by Close or setRefusing
		}
		if err != nil {
			return nil, err
		}
		c := &conn{TCPConn: tcp, listener: l, gone: make(chan struct{})}
		if l.admit(c) {
			return c, nil
		}
		c.reset()
	}
}

// admit registers a connection, unless the server is out of order.
func (l *listener) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Accepted++
	if l.down || l.closed || l.inner == nil {
		return false
	}
	l.open[c] = struct{}{}
	l.stats.Peak = max(l.stats.Peak, len(l.open))
	return true
}

func (l *listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

// setDown makes connections be accepted and reset, those that are open too.
func (l *listener) setDown(down bool) {
	l.mu.Lock()
	l.down = down
	l.mu.Unlock()
	if down {
		l.resetAll()
	}
}

// setRefusing closes the port, or opens it again.
func (l *listener) setRefusing(refusing bool) error {
	l.mu.Lock()
	if refusing {
		if l.inner != nil {
			l.inner.Close()
			l.inner = nil
		}
		l.mu.Unlock()
		l.resetAll()
		return nil
	}
	defer l.mu.Unlock()
	if l.inner != nil || l.closed {
		return nil
	}
	inner, err := relisten(l.addr.String())
	if err != nil {
		return err
	}
	l.inner = inner
	l.changed.Broadcast()
	return nil
}

// relisten takes a port again. Another program's outgoing connection may hold
// it for a moment, as it is free for all meanwhile.
func relisten(addr string) (*net.TCPListener, error) {
	for attempt := 0; ; attempt++ {
		inner, err := net.Listen("tcp", addr)
		if err == nil {
			return inner.(*net.TCPListener), nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || attempt == 100 {
			return nil, fmt.Errorf("take %s again: %w", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (l *listener) resetAll() {
	l.mu.Lock()
	open := make([]*conn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		c.reset()
	}
}

func (l *listener) connStats() ConnStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	stats := l.stats
	stats.Open = len(l.open)
	return stats
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.inner != nil {
		l.inner.Close()
	}
	l.changed.Broadcast()
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }
