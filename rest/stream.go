package rest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
)

// writeBuffer is how much of a streamed answer is gathered before it is sent.
// An answer that fails before it holds as much becomes a problem instead.
const writeBuffer = 32 << 10

// turns are what long answers take, in turn, while they are being made: so
// many of them may use the processor at once, and what is short, and the
// transfers, find it free. Nobody has a turn while a client takes its time.
type turns chan struct{}

// newTurns gives long answers half of the processors.
func newTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// array streams a JSON array, an element a line, in constant memory.
type array struct {
	answer  *answer
	turn    bool // it has one
	ending  bool // what is written now is the last
	to      *bufio.Writer
	encoder *json.Encoder
	count   int
	tail    string
	head    bool  // nobody wants the elements
	err     error // the first one
}

// array begins a JSON array, alone if object is nil, else as the last member
// of that object, under the given name. The caller must rest when it is done.
func (a *answer) array(object any, name string) *array {
	a.Header().Set("Content-Type", "application/json")
	s := &array{answer: a, tail: "]\n", head: a.request.Method == http.MethodHead}
	to := bufio.NewWriterSize(s, writeBuffer)
	s.to, s.encoder = to, json.NewEncoder(to)
	s.encoder.SetEscapeHTML(false) // names hold & more often than browsers read this
	if object != nil {
		b, err := json.Marshal(object)
		s.err = err
		fmt.Fprintf(to, "%s,%q:", bytes.TrimSuffix(b, []byte("}")), name)
		s.tail = "]}\n"
	}
	to.WriteString("[\n")
	return s
}

// Write implements io.Writer for what is gathered in to. An answer that is
// longer than that goes on when it has a turn.
func (s *array) Write(p []byte) (int, error) {
	s.rest()
	n, err := s.answer.Write(p)
	if err != nil || s.ending {
		return n, err
	}
	select {
	case s.answer.turns <- struct{}{}:
		s.turn = true
		return n, nil
	case <-s.answer.request.Context().Done():
		return n, context.Cause(s.answer.request.Context())
	}
}

// rest gives the turn back, if it has one.
func (s *array) rest() {
	if s.turn {
		s.turn = false
		<-s.answer.turns
	}
}

// add writes one element. It fails when the client is gone.
func (s *array) add(v any) error {
	if s.err != nil || s.head {
		return s.err
	}
	if s.count > 0 {
		s.to.WriteByte(',')
	}
	s.count++
	s.err = s.encoder.Encode(v)
	return s.err
}

// end writes what is left.
func (s *array) end() error {
	if s.err != nil {
		return s.err
	}
	s.to.WriteString(s.tail)
	s.ending = true
	return s.to.Flush()
}
