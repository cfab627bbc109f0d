// Package linkfile reads the files that people drop into the inbox: the
// product's own .masvlink, plain or JSON, and the link files that browsers
// and desktops make when a link is dragged into a folder.
//
// It owns the forms and their line numbers. What a field may hold is decided
// by fetch.DecodeRequest alone: every form is turned into the JSON form first,
// so that a link file and a REST call are refused for the same reasons.
//
// It promises bounded work on any input, and errors that name a line but
// never quote a link, a password or anything else that may be one. It reads no
// file, removes no duplicates and knows nothing of the inbox.
package linkfile

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"masvfs/fetch"
)

// MaxSize is the most that a link file may hold, in bytes. With it goes the
// bound on the number of links: each takes some 60 bytes.
const MaxSize = 1 << 20

// Item is one link of a file.
type Item struct {
	Line    int // where the link, or its JSON object, begins; from 1; 0 in a binary file
	Request fetch.Request

	fields map[string]int // line of each option that was given
}

// FieldLine returns the line that gave a field of the request, by its name in
// the JSON form, or the line of the item itself where none did.
func (i Item) FieldLine(field string) int {
	if line, ok := i.fields[field]; ok {
		return line
	}
	return i.Line
}

// Error says what is wrong with a link file.
type Error struct {
	Line    int    // from 1; 0: the file as a whole
	Message string // for people, without secrets
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Message)
}

func wrong(line int, format string, args ...any) *Error {
	return &Error{Line: line, Message: fmt.Sprintf(format, args...)}
}

// ErrNotOurs means that a desktop's link file holds no MASV link: it is
// somebody else's and none of our business.
var ErrNotOurs = errors.New("holds no MASV link")

// forms are the readers of link files, by extension.
var forms = map[string]func(data []byte) ([]Item, error){
	".masvlink": parseOwn,
	".url":      parseURL,
	".webloc":   parseWebloc,
	".desktop":  parseDesktop,
}

// Named reports whether a file of this name can be a link file. Case does
// not matter. What editors and browsers call their unfinished files (dot
// names, and .part, .tmp or ~ at the end) never is one.
func Named(name string) bool {
	_, ok := forms[extension(name)]
	return ok && !strings.HasPrefix(name, ".")
}

// Own reports whether a name is that of the product's own link files.
func Own(name string) bool { return Named(name) && extension(name) == ".masvlink" }

func extension(name string) string { return strings.ToLower(filepath.Ext(name)) }

// Parse reads the link file of the given name. It returns at least one item,
// or an *Error, or ErrNotOurs.
func Parse(name string, data []byte) ([]Item, error) {
	form, ok := forms[extension(name)]
	if !ok {
		return nil, ErrNotOurs
	}
	if len(data) > MaxSize {
		return nil, TooLarge()
	}
	return form(data)
}

// TooLarge is the error of a file that holds more than MaxSize bytes.
func TooLarge() *Error {
	return wrong(0, "a link file holds at most 1 MiB, this one is larger")
}

// byteOrderMark starts a UTF-8 file of some Windows programs.
const byteOrderMark = "\ufeff"

// parseOwn reads a .masvlink, whose form its first non-blank character tells.
func parseOwn(data []byte) ([]Item, error) {
	text, err := decodeText(data)
	if err != nil {
		return nil, err
	}
	switch start := strings.TrimSpace(text); {
	case start == "":
		return nil, wrong(1, "the file is empty: write the link that MASV sent into it")
	case start[0] == '{' || start[0] == '[':
		return parseJSON(text)
	default:
		return parsePlain(text)
	}
}

// decodeText checks the encoding. It keeps every line break, so that line
// numbers are the ones that an editor shows.
func decodeText(data []byte) (string, error) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return "", wrong(1, "the file is UTF-16 text: save it as UTF-8")
	}
	for rest, line := data, 1; len(rest) > 0; line++ {
		var one []byte
		one, rest, _ = bytes.Cut(rest, []byte{'\n'})
		if !utf8.Valid(one) {
			return "", wrong(line, "this is not UTF-8 text: save the file as UTF-8")
		}
		// NUL is valid UTF-8, but nobody writes it: UTF-16 without its mark.
		if bytes.IndexByte(one, 0) >= 0 {
			return "", wrong(line, "this is not plain text: save the file as UTF-8")
		}
	}
	return strings.TrimPrefix(string(data), byteOrderMark), nil
}
