package linkfile

import (
	"regexp"
	"strconv"
	"strings"
)

// link is a link of a plain file, with the options below it.
type link struct {
	line   int
	values map[string]any
	fields map[string]int
}

func (l *link) item() (Item, error) { return decodeFields(l.values, l.line, l.fields) }

// convert holds the options of a plain file, each with how its text becomes a
// JSON value. Whether the value makes sense is not decided here.
var convert = map[string]func(text string) (value any, wants string){
	"password":                  word,
	"dst_folder":                word,
	"name":                      word,
	"publish":                   word,
	"priority":                  number,
	"uid":                       number,
	"gid":                       number,
	"create_package_folder":     truth,
	"bypass_package_quarantine": truth,
	"file_ids":                  list,
}

func word(s string) (any, string) { return s, "" }

func number(s string) (any, string) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil, "must be a whole number"
	}
	return n, ""
}

func truth(s string) (any, string) {
	switch strings.ToLower(s) {
	case "true":
		return true, ""
	case "false":
		return false, ""
	}
	return nil, "must be true or false"
}

func list(s string) (any, string) {
	ids := strings.Split(s, ",")
	for i := range ids {
		ids[i] = strings.TrimSpace(ids[i])
	}
	return ids, ""
}

// scheme is how a line begins that is meant as a link.
var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// parsePlain reads one link a line, comments, and options of the link above.
func parsePlain(text string) ([]Item, error) {
	var items []Item
	var open *link
	finish := func() error {
		if open == nil {
			return nil
		}
		item, err := open.item()
		if err == nil {
			items = append(items, item)
		}
		return err
	}
	line := 0
	for s := range strings.Lines(text) {
		line++
		s = strings.TrimSpace(s)
		if s == "" || s[0] == '#' {
			continue
		}
		key, value := option(s)
		name := strings.ToLower(key)
		if to, ok := convert[name]; ok {
			if err := open.set(line, name, value, to); err != nil {
				return nil, err
			}
			continue
		}
		if !scheme.MatchString(s) {
			// What it is instead may be a password, so nothing of it is repeated.
			return nil, wrong(line, "this is neither a link, which starts with https://, nor an option; the options are %s", options)
		}
		if err := finish(); err != nil {
			return nil, err
		}
		open = &link{line: line, values: map[string]any{"url": s}, fields: map[string]int{}}
	}
	if open == nil {
		return nil, wrong(max(line, 1), "the file holds comments only: write the link that MASV sent into it")
	}
	if err := finish(); err != nil {
		return nil, err
	}
	return items, nil
}

// option splits "key = value" or "key: value" at whichever sign comes first.
func option(s string) (key, value string) {
	at := strings.IndexAny(s, "=:")
	if at < 0 {
		return "", ""
	}
	return strings.TrimSpace(s[:at]), strings.TrimSpace(s[at+1:])
}

// set gives the link one of its options.
func (l *link) set(line int, key, value string, to func(string) (any, string)) error {
	if l == nil {
		return wrong(line, "%s stands before any link: options follow the link that they are for", key)
	}
	if before, ok := l.fields[key]; ok {
		return wrong(line, "%s is given twice for one link, on line %d too", key, before)
	}
	v, wants := to(value)
	if wants != "" {
		return wrong(line, "%s %s", key, wants)
	}
	l.values[key], l.fields[key] = v, line
	return nil
}
