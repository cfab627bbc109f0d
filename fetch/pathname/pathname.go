// Package pathname turns the names that a sender chose into names that this
// disk can hold.
//
// Senders are not trusted, and their systems allow what ours does not. So a
// path is first split into its components ([Split]), and each component is
// cleaned by itself ([Clean]): nothing is ever resolved, ".." becomes a name
// like any other, and what is joined from cleaned components lies inside the
// folder that it is joined to. Two names that the disk cannot tell apart have
// the same [Key]; the one that comes second gets a number ([Numbered]).
//
// Everything here is a pure function of its arguments, so the same listing
// gives the same tree each time. The package knows nothing of disks,
// databases or downloads.
package pathname

import "fmt"

// Rules say which names a disk can hold.
type Rules int

const (
	// Linux changes only what no Linux file system can hold.
	Linux Rules = iota
	// Portable gives names that exFAT, NTFS and SMB shares hold as well, and
	// that do not rely on case or on the form of Unicode to be told apart.
	Portable
)

// maxName is the longest name, in bytes: NAME_MAX of Linux. A name within it
// is within the 255 UTF-16 units of exFAT and NTFS too, for UTF-8 never takes
// fewer bytes than UTF-16 takes units.
const maxName = 255

// ParseRules returns the rules called "linux" or "portable".
func ParseRules(text string) (Rules, error) {
	switch text {
	case "linux":
		return Linux, nil
	case "portable":
		return Portable, nil
	default:
		return Linux, fmt.Errorf(`names must be "linux" or "portable", not %q`, text)
	}
}

// String returns what ParseRules reads.
func (r Rules) String() string {
	if r == Portable {
		return "portable"
	}
	return "linux"
}
