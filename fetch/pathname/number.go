package pathname

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxExtension is the longest ending, in bytes and with its dot, that is taken
// for an extension rather than for a name with a dot in it.
const maxExtension = 16

// Numbered returns the n-th name for what would have been called name, from 2
// on: "a.txt" gives "a (2).txt". The number stands before the extension; a
// folder (dir) has none, so there it stands at the end. The result is at most
// 255 bytes long, and clean if name is.
func Numbered(name string, n int, dir bool) string {
	extension := ""
	if !dir {
		extension = Extension(name)
	}
	suffix := " (" + strconv.Itoa(n) + ")" + extension
	return cut(name[:len(name)-len(extension)], maxName-len(suffix)) + suffix
}

// Number is the inverse of Numbered: it returns the n of which name is the
// numbered name, and 1 if there is none.
func Number(base, name string, dir bool) int {
	end := name
	if !dir {
		end = name[:len(name)-len(Extension(name))]
	}
	end, ok := strings.CutSuffix(end, ")")
	open := strings.LastIndexByte(end, '(')
	if !ok || open < 0 {
		return 1
	}
	n, err := strconv.Atoi(end[open+1:])
	if err != nil || n < 2 || Numbered(base, n, dir) != name {
		return 1
	}
	return n
}

// Extension returns the extension of a file's name with its dot, or "" if it
// has none. A dot at the beginning or at the end makes no extension, and
// neither does one before a space or before a long ending.
func Extension(name string) string {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || strings.Trim(name[:dot], ".") == "" {
		return ""
	}
	extension := name[dot:]
	if len(extension) < 2 || len(extension) > maxExtension || strings.ContainsRune(extension, ' ') {
		return ""
	}
	return extension
}

// shorten cuts a name that is too long, before its extension.
func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	extension := Extension(name)
	return cut(name[:len(name)-len(extension)], maxName-len(extension)) + extension
}

// cut returns at most limit bytes of s, and no part of a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
