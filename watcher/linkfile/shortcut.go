package linkfile

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// parseURL reads a Windows shortcut. Its other entries may be in whatever
// encoding that machine has, so the file as a whole need not be UTF-8.
func parseURL(data []byte) ([]Item, error) {
	for e := range entries(data, "InternetShortcut") {
		if strings.EqualFold(e.key, "URL") {
			return parseShortcut(e.value, e.line)
		}
	}
	return nil, ErrNotOurs
}

// parseDesktop reads a link of the freedesktop.org Desktop Entry
// Specification. KDE writes the key as URL[$e].
func parseDesktop(data []byte) ([]Item, error) {
	var isLink bool
	var at entry
	for e := range entries(data, "Desktop Entry") {
		switch e.key {
		case "Type":
			isLink = e.value == "Link"
		case "URL", "URL[$e]":
			at = e
		}
	}
	if !isLink {
		return nil, ErrNotOurs
	}
	return parseShortcut(at.value, at.line)
}

// entry is one "key=value" line.
type entry struct {
	key, value string
	line       int
}

// entries yields the entries of one section of an INI file.
func entries(data []byte, section string) func(yield func(entry) bool) {
	return func(yield func(entry) bool) {
		inside := false
		line := 0
		for s := range strings.Lines(strings.TrimPrefix(string(data), byteOrderMark)) {
			line++
			s = strings.TrimSpace(s)
			if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
				inside = strings.EqualFold(s[1:len(s)-1], section)
				continue
			}
			key, value, ok := strings.Cut(s, "=")
			if !inside || !ok || s[0] == '#' || s[0] == ';' {
				continue
			}
			if !yield(entry{strings.TrimSpace(key), strings.TrimSpace(value), line}) {
				return
			}
		}
	}
}

// parseShortcut reads the one link of a desktop's link file. One to another
// place is not ours; one to MASV's place that is no link is an error.
func parseShortcut(link string, line int) ([]Item, error) {
	if !utf8.ValidString(link) {
		return nil, ErrNotOurs
	}
	item, err := decodeFields(map[string]any{"url": link}, line, nil)
	if err == nil {
		return []Item{item}, nil
	}
	if !hostOfLinks(link) {
		return nil, ErrNotOurs
	}
	return nil, err
}

// hostOfLinks reports whether a link leads to where MASV's links lead.
func hostOfLinks(link string) bool {
	u, err := url.Parse(link)
	if err != nil {
		return false
	}
	switch strings.ToLower(u.Hostname()) {
	case "get.massive.io", "get.massive.app":
		return true
	}
	return false
}
