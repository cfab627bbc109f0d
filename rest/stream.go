package rest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// writeBuffer is how much of a streamed answer is gathered before it is sent.
// An answer that fails before it holds as much becomes a problem instead.
const writeBuffer = 32 << 10

// array streams a JSON array, an element a line, in constant memory.
type array struct {
	to      *bufio.Writer
	encoder *json.Encoder
	count   int
	tail    string
	head    bool  // nobody wants the elements
	err     error // the first one
}

// array begins a JSON array, alone if object is nil, else as the last member
// of that object, under the given name.
func (a *answer) array(object any, name string) *array {
	a.Header().Set("Content-Type", "application/json")
	to := bufio.NewWriterSize(a, writeBuffer)
	s := &array{to: to, encoder: json.NewEncoder(to), tail: "]\n", head: a.request.Method == http.MethodHead}
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
	return s.to.Flush()
}
