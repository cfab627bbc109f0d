package masvtest

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"
)

// conn is a connection that its listener knows, and slows down on demand. It
// is a *net.TCPConn in all else, so that files go out by sendfile.
type conn struct {
	*net.TCPConn
	listener *listener
	once     sync.Once
	gone     chan struct{} // closed with the connection
	pace     pacer         // of Write, which net/http and crypto/tls never call twice at once
}

// Close closes the connection in the ordinary way.
func (c *conn) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() {
		close(c.gone)
		c.listener.forget(c)
	})
	return err
}

// reset closes the connection so that the peer sees "connection reset" (a RST
// in place of a FIN), and drops what was not sent yet.
func (c *conn) reset() {
	c.SetLinger(0)
	c.Close()
}

// Write implements net.Conn, at the listener's rate: it waits until what went
// before is paid for.
func (c *conn) Write(p []byte) (n int, err error) {
	for {
		rate := c.listener.rate.Load()
		if rate <= 0 {
			m, err := c.TCPConn.Write(p)
			return n + m, err
		}
		if wait := time.Until(c.pace.due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-c.gone:
				return n, net.ErrClosed
			}
		}
		m, err := c.TCPConn.Write(p[:min(len(p), portion(rate))])
		c.pace.spend(m, rate)
		n, p = n+m, p[m:]
		if err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// ReadFrom implements io.ReaderFrom: sendfile where the rate is unlimited and
// the reader is a file.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if c.listener.rate.Load() <= 0 {
		return c.TCPConn.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// pacer reckons when the next bytes are due. It grants nothing for time that
// was not used, so that a rate holds from the first byte on.
type pacer struct{ due time.Time }

// spend counts n bytes as sent and returns how long to wait before more.
func (p *pacer) spend(n int, bytesPerSecond int64) time.Duration {
	now := time.Now()
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(bytesPerSecond) * float64(time.Second)))
	return p.due.Sub(now)
}

// portion is what is sent at once at that rate: some 20 ms of it.
func portion(bytesPerSecond int64) int {
	return int(min(max(bytesPerSecond/50, 256), 256<<10))
}

type connKey struct{}

// withConn makes the connection known to the handlers of its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(ctx context.Context) *conn {
	return ctx.Value(connKey{}).(*conn)
}
