package masv

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// linkHost is the host of the links that MASV sends today.
const linkHost = "get.massive.io"

// maxLink bounds the text of a link, tracking parameters included, in bytes.
const maxLink = 8 << 10

// Link is a MASV download link: the name of a package, and the secret that
// opens it. The zero Link names nothing.
type Link struct {
	ID     string // a ULID, in upper case
	Secret Secret
}

// String returns the link with its secret masked.
func (l Link) String() string {
	if l.ID == "" {
		return ""
	}
	return "https://" + linkHost + "/" + l.ID + "?secret=" + masked
}

// URL returns the whole link, as people get it.
func (l Link) URL() Secret {
	return Secret("https://" + linkHost + "/" + l.ID + "?secret=" + url.QueryEscape(l.Secret.Reveal()))
}

// ParseLink reads a link as people paste it: white space and angle brackets
// around it, tracking parameters, a fragment, http and the older host
// get.massive.app are tolerated. The error is a sentence that says what is
// wrong and how a right link looks; it quotes nothing of the text, for any
// part of it may be the secret.
func ParseLink(text string) (Link, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") {
		text = strings.TrimSpace(text[1 : len(text)-1])
	}
	text, _, _ = strings.Cut(text, "#")
	switch {
	case text == "":
		return Link{}, notALink("it is empty")
	case len(text) > maxLink:
		return Link{}, notALink("it is longer than %d bytes", maxLink)
	}
	u, err := url.Parse(text)
	if err != nil {
		return Link{}, notALink("it is not a web address; a line break or a stray character may have got into it")
	}
	switch host := strings.ToLower(u.Hostname()); {
	case u.Scheme != "https" && u.Scheme != "http":
		return Link{}, notALink("it does not begin with https://")
	case u.User != nil:
		return Link{}, notALink("it has a user name in front of its host")
	case host != linkHost && host != "get.massive.app":
		return Link{}, notALink("its host is neither get.massive.io nor get.massive.app")
	case strings.Contains(u.Host, ":"):
		return Link{}, notALink("it has a port after its host")
	}
	id, err := linkID(strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/"))
	if err != nil {
		return Link{}, err
	}
	secret, err := linkSecret(u.RawQuery)
	if err != nil {
		return Link{}, err
	}
	return Link{ID: id, Secret: secret}, nil
}

// linkID checks that path is a ULID and returns it in upper case.
// Source: github.com/ulid/spec, which is stricter than Crockford's base32: I,
// L and O do not stand for digits, and 128 bits leave 0 to 7 for the first.
func linkID(path string) (string, error) {
	const length = 26
	if path == "" {
		return "", notALink("the identifier of %d letters and digits after the host is missing", length)
	}
	if strings.Contains(path, "/") {
		return "", notALink("more than an identifier follows the host")
	}
	for _, r := range path {
		if r >= utf8.RuneSelf || !strings.ContainsRune("0123456789ABCDEFGHJKMNPQRSTVWXYZ", unicode.ToUpper(r)) {
			return "", notALink("its identifier has a character that cannot be in one (digits, and letters but I, L, O and U, can)")
		}
	}
	if len(path) != length {
		return "", notALink("its identifier has %d characters in place of %d", len(path), length)
	}
	if path[0] > '7' {
		return "", notALink("its identifier does not begin with a digit from 0 to 7")
	}
	return strings.ToUpper(path), nil
}

// linkSecret finds the secret among the parameters of a link.
func linkSecret(query string) (Secret, error) {
	var secret string
	var found bool
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if key, err := url.QueryUnescape(key); err != nil || key != "secret" {
			continue
		}
		// A '+' stands for itself: no secret holds a space, one may hold a '+'
		// that nobody escaped.
		value, err := url.PathUnescape(value)
		switch {
		case err != nil, !utf8.ValidString(value), strings.ContainsFunc(value, unprintable), strings.ContainsAny(value, `<>"`):
			return "", notALink("its secret has a character that cannot be in one")
		case found && value != secret:
			return "", notALink("it has two different secrets")
		}
		secret, found = value, true
	}
	switch {
	case !found:
		return "", notALink("its secret is missing; was the link cut off when it was copied?")
	case secret == "":
		return "", notALink("its secret is empty; was the link cut off when it was copied?")
	}
	return Secret(secret), nil
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }

// notALink says what is wrong with a text, and how a right one looks.
func notALink(format string, args ...any) error {
	return errors.New("this is not a MASV link: " + fmt.Sprintf(format, args...) +
		" (a link looks like https://" + linkHost + "/01D2TMG9F5GHMHX8RWZ453VA35?secret=SECRET)")
}
