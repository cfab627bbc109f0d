package transfer

import (
	"net/http"
	"sync/atomic"
	"testing"
)

func TestABrokenAnswerIsContinuedWhereItBroke(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	p.add(1, s.add(1, 3*mib))
	var n atomic.Int64
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		if n.Add(1) == 1 {
			o.part(w, r, 1_234_567)
		}
		return false
	})
	p.run(newEngine(t, Config{Connections: 1}))
	p.verify()
	if got := s.ranges(1); len(got) != 2 || got[1] != "bytes=1234567-3145727" {
		t.Errorf("requests: %q", got)
	}
}

func TestAReplacedObjectIsFetchedFromItsStart(t *testing.T) {
	for _, tt := range []struct{ name, etag1, modified1, etag2, modified2 string }{
		{name: "told by the tag", etag1: `"one"`, etag2: `"two"`},
		{name: "told by the date", modified1: "Mon, 02 Nov 2026 10:00:00 GMT", modified2: "Tue, 03 Nov 2026 10:00:00 GMT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStorage(t)
			p := newTape(t, s)
			old := s.add(1, 20*mib)
			old.etag, old.lastModified = tt.etag1, tt.modified1
			f := p.add(1, old)
			renewed := &object{content: content(99, 20*mib), etag: tt.etag2, lastModified: tt.modified2}
			f.Source.(*source).o = renewed // what verify compares with
			var n atomic.Int64
			s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
				if n.Add(1) > 2 {
					s.serve(w, r, renewed)
					return true
				}
				return false
			})
			p.run(newEngine(t, Config{Connections: 1, CheckpointBytes: 1}))
			p.verify()
			emptied := false
			for _, a := range p.checkpoints[1] {
				if len(a.Spans) == 0 {
					emptied = true
				} else if emptied && a.ETag != tt.etag2+tt.modified2 {
					t.Errorf("a checkpoint after the change names the version %q", a.ETag)
				}
			}
			if !emptied {
				t.Error("the old bytes were overwritten while the record still held them")
			}
		})
	}
}

func TestAWholeObjectSkipsWhatArrivedUnderTheSameTag(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 12*mib))
	var written atomic.Int64
	f.Sink = &countingSink{disk: f.Sink.(*disk), written: &written}
	p.onDone = func(f *File, err error) { f.Sink = f.Sink.(*countingSink).disk }
	var n atomic.Int64
	s.misbehave(func(w http.ResponseWriter, r *http.Request, o *object) bool {
		if n.Add(1) == 1 {
			return false
		}
		o.whole(w)
		return true
	})
	p.run(newEngine(t, Config{Connections: 1}))
	p.verify()
	if got := written.Load(); got != 12*mib {
		t.Errorf("%d bytes were written of %d", got, 12*mib)
	}
}

type countingSink struct {
	*disk
	written *atomic.Int64
}

func (c *countingSink) WriteAt(p []byte, off int64) (int, error) {
	c.written.Add(int64(len(p)))
	return c.disk.WriteAt(p, off)
}
