package pathname

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Key returns what tells a name apart from others: two names with equal keys
// cannot both stand in one folder. Under Linux rules that is the name itself.
// Under Portable rules it is the name without difference of case and of
// Unicode form (Unicode 16, definition D145, canonical caseless match).
func Key(name string, r Rules) string {
	if r != Portable {
		return name
	}
	if ascii(name) {
		return strings.ToLower(name)
	}
	return norm.NFC.String(cases.Fold().String(norm.NFD.String(name)))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
