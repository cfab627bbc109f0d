package pathname

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Clean returns the name under which the disk can hold a component of a path:
// never empty, "." or "..", without '/' and NUL, valid UTF-8, and at most 255
// bytes long. A name that the disk can hold is returned as it is, so cleaning
// twice is cleaning once.
func Clean(component string, r Rules) string {
	if r == Portable {
		return settle(component, cleanPortable)
	}
	return cleanLinux(component)
}

// CleanDownload returns the name of a download's folder in the mount. It is
// cleaned, and fit to be shown by terminals and file managers: it has no
// control characters, does not begin with a dot, and neither begins nor ends
// with a space.
func CleanDownload(name string, r Rules) string {
	return settle(name, func(name string) string {
		name = strings.TrimSpace(name)
		name = replace(name, func(c rune) bool { return unicode.IsControl(c) || reorders(c) })
		rest := strings.TrimLeft(name, ".")
		return Clean(strings.Repeat("_", len(name)-len(rest))+rest, r)
	})
}

// settle applies a step until it changes nothing more. One rule may undo
// another (cutting a name can leave a space at its end), so a single pass
// would not always be the last word.
func settle(name string, step func(string) string) string {
	for {
		next := step(name)
		if next == name {
			return name
		}
		name = next
	}
}

func cleanLinux(name string) string {
	name = replace(name, func(c rune) bool { return c == 0 || c == '/' })
	switch name {
	case "", ".":
		return "_"
	case "..":
		return "__"
	}
	return shorten(name)
}

func cleanPortable(name string) string {
	name = replace(name, func(c rune) bool {
		return unicode.IsControl(c) || strings.ContainsRune(`<>:"/\|?*`, c)
	})
	name = shorten(norm.NFC.String(name))
	if name == "" {
		return "_"
	}
	// Windows drops dots and spaces from the end of a name, silently.
	rest := strings.TrimRight(name, ". ")
	return markDevice(rest + strings.Repeat("_", len(name)-len(rest)))
}

// replace puts '_' in place of every character that is bad, and of every byte
// that is not part of valid UTF-8.
func replace(name string, bad func(rune) bool) string {
	clean := func(s string) (c rune, width int, ok bool) {
		c, width = utf8.DecodeRuneInString(s)
		return c, width, !bad(c) && (c != utf8.RuneError || width > 1)
	}
	// Nearly every name is good, and is to cost no memory.
	i := 0
	for i < len(name) {
		_, width, ok := clean(name[i:])
		if !ok {
			break
		}
		i += width
	}
	if i == len(name) {
		return name
	}
	var b strings.Builder
	b.Grow(len(name))
	b.WriteString(name[:i])
	for i < len(name) {
		c, width, ok := clean(name[i:])
		if !ok {
			c = '_'
		}
		b.WriteRune(c)
		i += width
	}
	return b.String()
}

// reorders reports whether a character makes what follows it be shown in
// another order or on another line, so that a name could pass for a different one.
func reorders(c rune) bool {
	return c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069 || c == 0x2028 || c == 0x2029
}

// markDevice gives a '_' to a name that Windows takes for a device. It does so
// whatever the extension, in any case, and with spaces before the extension.
func markDevice(name string) string {
	stem, _, _ := strings.Cut(name, ".")
	if !device(strings.ToUpper(strings.TrimRight(stem, " "))) {
		return name
	}
	return stem + "_" + name[len(stem):]
}

// device reports whether Windows reserves a name, given in upper case; see
// "Naming Files, Paths, and Namespaces" in Microsoft's documentation.
func device(name string) bool {
	switch name {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	digit, ok := strings.CutPrefix(name, "COM")
	if !ok {
		digit, ok = strings.CutPrefix(name, "LPT")
	}
	if !ok || utf8.RuneCountInString(digit) != 1 {
		return false
	}
	return strings.Contains("0123456789¹²³", digit)
}
