package masv

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMessage bounds a foreign text that is shown, in characters.
const maxMessage = 300

// clean makes a foreign text fit to be shown to people and written to logs:
// printable, on one line, at most maxMessage characters, the given secrets
// cut out however the server may have escaped them.
func clean(text string, secrets ...Secret) string {
	text = oneLine(text)
	for _, form := range forms(secrets) {
		if !strings.Contains(text, form) {
			continue
		}
		// Cutting "ab" out of every word would tell what was cut, and leave
		// nothing to read.
		if utf8.RuneCountInString(form) < 4 {
			return ""
		}
		text = strings.ReplaceAll(text, form, masked)
	}
	if utf8.RuneCountInString(text) > maxMessage {
		text = string([]rune(text)[:maxMessage-1]) + "…"
	}
	return text
}

// forms returns the secrets as a server may echo them, longest first: one may
// be a part of another, which must go as a whole.
func forms(secrets []Secret) []string {
	var all []string
	for _, s := range secrets {
		text := s.Reveal()
		all = append(all, text, oneLine(text), url.QueryEscape(text), url.PathEscape(text))
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return s == "" })
}

// oneLine drops what cannot be printed (control characters, and those that
// turn the direction of writing) and makes every white space one blank.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, text)
	return strings.Join(strings.Fields(text), " ")
}
