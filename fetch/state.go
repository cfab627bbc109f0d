package fetch

import (
	"errors"
	"fmt"
)

// transitions is the table of legal changes of state, each with why it exists.
var transitions = map[State]map[State]string{
	Transferring: {
		Paused:   "somebody paused it",
		Complete: "everything that will come is durable on disk",
		Failed:   "it cannot go on by itself",
	},
	Paused: {
		Transferring: "somebody resumed it",
	},
	Failed: {
		Transferring: "somebody, or time, tries again",
	},
	Complete: {}, // for good
}

// transition returns an error if a download may not go from one state to the other.
func transition(from, to State) error {
	if _, ok := transitions[from][to]; !ok {
		return fmt.Errorf("a download that is %s cannot become %s", from, to)
	}
	return nil
}

// errUnchanged is what a change is refused with when there is nothing to change.
var errUnchanged = errors.New("nothing to change")
