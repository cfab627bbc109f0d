package fusefs

import "strings"

// verb is what can be ordered by writing it to state.
type verb string

const (
	nothing verb = ""
	pause   verb = "pause"
	resume  verb = "resume"
)

// maxOrder bounds an order with the white space around it, in bytes.
const maxOrder = 4096

// white is the white space that may stand around an order.
const white = " \t\r\n"

// order collects what is written to state, until it is an order.
type order struct {
	text  string
	given bool // text is an order that add has returned
}

// add takes in more text, and returns the order that is complete by it, if
// any. It is not ok when the text can no longer become an order. White space
// after an order is part of it; anything else must be on a new line.
func (o *order) add(data []byte) (v verb, ok bool) {
	more := string(data)
	if o.given {
		if strings.Trim(more, white) == "" {
			o.text += more
			return nothing, len(o.text) <= maxOrder
		}
		if !strings.HasSuffix(o.text, "\n") {
			return nothing, false
		}
		*o = order{}
	}
	o.text += more
	if len(o.text) > maxOrder {
		return nothing, false
	}
	switch v := verb(strings.Trim(o.text, white)); v {
	case pause, resume:
		o.given = true
		return v, true
	case nothing:
		return nothing, true
	}
	// White space after part of a word would have ended it.
	part := strings.TrimLeft(o.text, white)
	ok = strings.HasPrefix(string(pause), part) || strings.HasPrefix(string(resume), part)
	return nothing, ok
}

// begun reports whether there is part of an order, which is none yet.
func (o *order) begun() bool {
	return !o.given && strings.Trim(o.text, white) != ""
}
