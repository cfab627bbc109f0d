package masv

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
)

// maxAnswer bounds an answer that is one object, in bytes.
const maxAnswer = 1 << 20

// decode reads the answer, one JSON object, into v. Errors are *Error.
func (k *call) decode(v any) error {
	const what = "the answer"
	if k.isPage() {
		return k.undecodable(what, errPage)
	}
	body, err := io.ReadAll(io.LimitReader(k.resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return k.undecodable(what, err)
	case len(body) > maxAnswer:
		return k.undecodable(what, shapeError("is longer than 1 MiB"))
	case bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		return k.undecodable(what, errPage)
	}
	// A Decoder tells an object that is cut short from one that is malformed.
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(v); err != nil {
		return k.undecodable(what, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return k.undecodable(what, shapeError("goes on after its end"))
	}
	return nil
}

// moment is a time in an answer. It is zero where there is none, or none that
// can be read: no time is worth losing a download for.
type moment struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler. It returns no error.
func (m *moment) UnmarshalJSON(data []byte) error {
	*m = moment{}
	var text string
	if json.Unmarshal(data, &text) != nil {
		return nil
	}
	// RFC3339 takes a fraction of a second too. Year 1 is how MASV says unknown.
	if t, err := time.Parse(time.RFC3339, text); err == nil && t.Year() > 1 {
		m.Time = t.UTC()
	}
	return nil
}
