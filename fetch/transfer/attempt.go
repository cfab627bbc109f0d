package transfer

import (
	"context"
	"io"
	"net/http"
	"time"
)

// attempt makes one request for what is left of the claim and writes what it
// gives. A nil error means that the request did its part, not that the claim
// has all its bytes: what it leaves is claimed again.
func (e *Engine) attempt(c *claim) error {
	// From dialling on, somebody watches over the bytes.
	c.listen()
	defer c.heard()

	e.mu.Lock()
	want := Span{c.done, c.end}
	version := c.file.version
	e.mu.Unlock()

	resp, err := e.get(c.ctx, c.url, want, version)
	if err != nil {
		return because(c.ctx, err)
	}
	defer resp.Body.Close()
	c.heard()
	e.mu.Lock()
	e.gauge.answered(time.Since(c.began))
	e.mu.Unlock()
	a, err := read(resp, want, c.file.Size)
	if err != nil {
		c.listen() // the rest of a refusal may not come either
		drain(resp)
		return err
	}
	if err := c.accept(&a); err != nil {
		return err
	}
	return e.receive(c, resp, a)
}

// because gives the reason for which ctx was cancelled in place of the error
// that came of it, and every other error a text that can be shown.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return sayable(err)
}

// accept compares the version of the object that an answer comes from with
// the one that is known, and makes an answer with the whole object the only
// stream of the file.
func (c *claim) accept(a *answer) error {
	f, e := c.file, c.file.job.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.dropped {
		return errDropped
	}
	if f.known && a.version != "" && a.version != f.version {
		return errOtherVersion
	}
	if a.whole {
		same := f.known && f.version != "" && a.version == f.version
		if !same && !f.untouched() {
			return errUnguarded
		}
		f.single = true
		for _, d := range f.claims {
			if d != c {
				d.drop()
			}
		}
		c.start, c.done, c.taken, c.end = 0, 0, 0, f.Size
	}
	if !f.known {
		f.version, f.known = a.version, true
	}
	c.proven = a.counted || !a.whole
	return nil
}

// untouched says that no byte of the file has been written, nor is being.
func (f *file) untouched() bool {
	for _, c := range f.claims {
		if c.taken > c.start {
			return false
		}
	}
	return f.bytes == 0
}

// receive writes the body of an answer until the claim has what it needs, or
// the body ends. What arrived before an error is written.
func (e *Engine) receive(c *claim, resp *http.Response, a answer) error {
	whole := e.buffers.Get().(*[bufferSize]byte)
	defer e.buffers.Put(whole)

	at, n := a.Start, 0 // buf[:n] is what begins at the offset at
	var first time.Time // when buf[0] arrived
	may := allowance{e: e}
	for at < a.End {
		buf := whole[at%pageSize:]
		room := int(min(int64(len(buf)), a.End-at))
		m, err := may.take(c.ctx, room-n)
		if err == nil {
			c.listen()
			m, err = resp.Body.Read(buf[n : n+m])
			c.heard()
			may.spend(m)
		}
		if n == 0 {
			first = time.Now()
		}
		n += m
		last := at+int64(n) == a.End
		switch {
		case err == io.EOF && last:
			err = nil
		case err == io.EOF:
			err = a.short(resp, at+int64(n))
		case err != nil:
			err = because(c.ctx, err)
		case last && !a.counted:
			if err = a.finish(c, resp.Body); err != nil {
				return because(c.ctx, err) // so the last bytes are not to be trusted
			}
		case n < room && time.Since(first) < gatherFor:
			continue
		}
		if n > 0 {
			c.store()
			more, err := c.put(at, buf[:n])
			c.stored()
			if err != nil || !more {
				return err
			}
		}
		at, n = at+int64(n), 0
		if err != nil {
			return err
		}
	}
	return nil
}
