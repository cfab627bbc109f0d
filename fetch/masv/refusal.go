package masv

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxRefusal    = 64 << 10  // bytes read of an error's body
	maxRetryAfter = time.Hour // longer waits are a server's mistake
)

// answered reports whether an answer of this status has a body that counts. A
// 202, 204, 205 or 206 does not: there is nothing yet, nothing, or a part.
func answered(status int) bool {
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusNonAuthoritativeInfo:
		return true
	}
	return false
}

// redirects reports whether a status asks for another address to be asked.
func redirects(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// classOf returns the class of an answer that is none.
func classOf(status int) error {
	switch status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusGone:
		return ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrDenied
	case http.StatusAccepted, http.StatusConflict, http.StatusLocked:
		return ErrNotReady
	case http.StatusTooManyRequests:
		return ErrRateLimited
	case http.StatusProxyAuthRequired, http.StatusRequestTimeout:
		return ErrUnavailable
	}
	if status >= 500 && status < 600 {
		return ErrUnavailable
	}
	return ErrInvalid
}

// refused makes the error of a call that the server answered with a status
// other than wanted.
func (k *call) refused() *Error {
	// An error's body is an extra: what cannot be read of it is done without,
	// and the time that runs bounds how long that takes.
	body, _ := io.ReadAll(io.LimitReader(k.resp.Body, maxRefusal))
	if err := k.caller.Err(); err != nil {
		return k.fail(nil, err)
	}
	e := k.fail(classOf(k.resp.StatusCode), nil)
	e.RetryAfter = retryAfter(k.resp.Header, time.Now())
	if !k.isPage() {
		said := message(body)
		e.Message = clean(said, k.secrets()...)
		if e.Class == ErrDenied && asksForSignIn(said) {
			e.Class = ErrSignIn
		}
	}
	if e.Status == http.StatusProxyAuthRequired {
		e.Err = errors.New("the proxy asks for a password")
	}
	return e
}

// message returns what the body of an error says to people: its message, its
// error, or all of it if it is plain text; otherwise nothing.
func message(body []byte) string {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || !utf8.Valid(body) {
		return ""
	}
	var text string
	switch body[0] {
	case '<':
		return ""
	case '{':
		var fields struct{ Message, Error json.RawMessage }
		if json.Unmarshal(body, &fields) != nil {
			return ""
		}
		if text = textOf(fields.Message); text == "" {
			text = textOf(fields.Error)
		}
	case '[', '"':
		return ""
	default:
		text = string(body)
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }) {
			return ""
		}
	}
	if strings.HasPrefix(strings.TrimSpace(text), "<") {
		return ""
	}
	return text
}

// textOf returns the text of a field that is a string, or an object with a message.
func textOf(field json.RawMessage) string {
	var text string
	if json.Unmarshal(field, &text) == nil {
		return text
	}
	var object struct{ Message string }
	if json.Unmarshal(field, &object) == nil {
		return object.Message
	}
	return ""
}

// The API has no status of its own for a link whose recipient must be signed
// in, so the words of the refusal decide: they name a sign-in, and a need.
var (
	signIn = regexp.MustCompile(`(?i)\b(sign(ed|ing)?|log(ged|ging)?)[ -]?in\b`)
	need   = regexp.MustCompile(`(?i)\b(must|needs?|needed|requir(e|es|ed|ing)|please|have to|has to|only|first|before|not)\b`)
)

func asksForSignIn(said string) bool {
	said = strings.ReplaceAll(said, "_", " ")
	return signIn.MatchString(said) && need.MatchString(said)
}

// retryAfter returns how long the server asks to be left alone: a number of
// seconds, or a moment by its own clock. What cannot be read is 0.
// Source: RFC 9110, section 10.2.3.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter // err: more than an int64 holds
		}
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date // two moments of one clock, whatever this machine's says
	}
	return min(max(0, until.Sub(now)), maxRetryAfter)
}
