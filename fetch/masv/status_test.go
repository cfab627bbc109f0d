package masv_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"masvfs/fetch/masv"
)

// classOf is the table of statuses; nil: an answer.
func classOf(status int) error {
	switch status {
	case 200, 201, 203:
		return nil
	case 400, 404, 410:
		return masv.ErrNotFound
	case 401, 403:
		return masv.ErrDenied
	case 202, 409, 423:
		return masv.ErrNotReady
	case 429:
		return masv.ErrRateLimited
	case 407, 408:
		return masv.ErrUnavailable
	}
	if status >= 500 && status <= 599 {
		return masv.ErrUnavailable
	}
	return masv.ErrInvalid
}

func TestEveryStatusAtEveryCallIsOfItsClass(t *testing.T) {
	for _, call := range calls {
		t.Run(call.name, func(t *testing.T) {
			var status int
			c := client(t, masv.Config{BaseURL: serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				if classOf(status) == nil {
					fmt.Fprint(w, call.answer)
				} else {
					fmt.Fprint(w, `{"message":"Because."}`)
				}
			})})
			for status = 200; status <= 605; status++ {
				err := call.do(t.Context(), c)
				want := classOf(status)
				if want == nil {
					if err != nil {
						t.Errorf("status %d: %v", status, err)
					}
					continue
				}
				e := mustBe(t, err, want)
				if e.Status != status || !strings.Contains(e.Error(), strconv.Itoa(status)) {
					t.Errorf("status %d: the error says %d: %v", status, e.Status, e)
				}
				if temporary := want == masv.ErrNotReady || want == masv.ErrRateLimited || want == masv.ErrUnavailable; masv.Temporary(err) != temporary {
					t.Errorf("status %d: Temporary = %t", status, !temporary)
				}
				if status >= 400 && e.Message != "Because." {
					t.Errorf("status %d: message = %q", status, e.Message)
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

func TestTheServersWordsAreShown(t *testing.T) {
	html := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	for _, tt := range []struct {
		name   string
		header http.Header
		body   string
		want   string
	}{
		{"a message", nil, `{"message":"Wrong password"}`, "Wrong password"},
		{"an error", nil, `{"error":"Wrong password"}`, "Wrong password"},
		{"an error that is an object", nil, `{"error":{"code":7,"message":"Wrong password"}}`, "Wrong password"},
		{"a message that is an object", nil, `{"message":{"message":"Wrong password"}}`, "Wrong password"},
		{"a message before an error", nil, `{"error":"no","message":"Wrong password"}`, "Wrong password"},
		{"an error beside an empty message", nil, `{"error":"no","message":null}`, "no"},
		{"plain text", http.Header{"Content-Type": {"text/plain"}}, "Too bad,\n try again\n", "Too bad, try again"},
		{"nothing", nil, "", ""},
		{"an object without a message", nil, `{"code":7}`, ""},
		{"a message of another kind", nil, `{"message":[1,2],"error":5}`, ""},
		{"an object cut short", nil, `{"message":"Wrong`, ""},
		{"an array", nil, `["Wrong password"]`, ""},
		{"a page", html, "<html><body>Wrong</body></html>", ""},
		{"a page that says it is JSON", http.Header{"Content-Type": {"application/json"}}, "\n <!DOCTYPE html>", ""},
		{"text that says it is a page", html, "Wrong", ""},
		{"a page in a message", nil, `{"message":" <html>Wrong"}`, ""},
		{"bytes", nil, "\x00\x01\x02", ""},
		{"text that is not UTF-8", nil, "Wrong \xff", ""},
		{"control characters, and such that turn the direction", nil, `{"message":"a\u0000b\u001b[31mc\r\nd\u202ee\u200bf"}`, "ab[31mc def"},
		{"299 characters and more", nil, `{"message":"` + strings.Repeat("ä", 500) + `"}`, strings.Repeat("ä", 299) + "…"},
		{"300 characters", nil, `{"message":"` + strings.Repeat("ä", 300) + `"}`, strings.Repeat("ä", 300)},
		{"a body that does not end", nil, `{"message":"x","more":"` + strings.Repeat("y", 1<<20) + `"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := answering(t, 400, tt.header, tt.body)
			for _, call := range calls {
				if e := mustBe(t, call.do(t.Context(), c), masv.ErrNotFound); e.Message != tt.want {
					t.Errorf("%s: message = %q, want %q", call.name, e.Message, tt.want)
				}
			}
		})
	}
}

func TestSecretsAreCutOutOfTheServersWords(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query().Get("secret")
		head := r.Header.Get("X-Link-Password") + r.Header.Get("X-Package-Token")
		split := "" // control characters between the letters, which cleaning joins again
		for _, c := range q + head {
			split += string(c) + "\u200b"
		}
		body := fmt.Sprintf("Asked %s with %s and %s, %s; %s", r.URL, q, head, strings.ReplaceAll(head, " ", "  "), split)
		w.WriteHeader(500)
		fmt.Fprintf(w, `{"message":%q}`, strings.Repeat(".", len(r.URL.Path)%7)+body)
	}
	c := client(t, masv.Config{BaseURL: serve(t, echo)})
	for _, call := range calls {
		e := mustBe(t, call.do(t.Context(), c), masv.ErrUnavailable)
		if !strings.Contains(e.Message, "Asked") || !strings.Contains(e.Message, "***") {
			t.Errorf("%s: message = %q", call.name, e.Message)
		}
	}
	// At the bound of what is shown, no first half of a secret is left over.
	for before := 270; before < 300; before++ {
		c := answering(t, 500, nil, fmt.Sprintf(`{"message":"%s%s"}`, strings.Repeat("x", before), linkSecret))
		mustBe(t, calls[0].do(t.Context(), c), masv.ErrUnavailable)
	}
}

func TestAPasswordThatStartsTheSecretIsCutOutWithIt(t *testing.T) {
	c := answering(t, 500, nil, `{"message":"got abcdefgh and abcd"}`)
	_, err := c.Link(t.Context(), masv.Link{ID: linkID, Secret: "abcdefgh"}, "abcd")
	if e := mustBe(t, err, masv.ErrUnavailable); e.Message != "got *** and ***" {
		t.Errorf("message = %q", e.Message)
	}
}

func TestAShortPasswordIsNotToldByWhereItWasCut(t *testing.T) {
	c := answering(t, 403, nil, `{"message":"Wrong password"}`)
	_, err := c.Link(t.Context(), masv.Link{ID: linkID, Secret: linkSecret}, "o")
	if e := mustBe(t, err, masv.ErrDenied); e.Message != "" {
		t.Errorf("message = %q, want none", e.Message)
	}
}

func TestSignInIsToldFromAWrongPassword(t *testing.T) {
	for said, want := range map[string]error{
		"You must be logged in to download this package": masv.ErrSignIn,
		"Please sign in to continue":                     masv.ErrSignIn,
		"Sign-in required":                               masv.ErrSignIn,
		"SIGN_IN_REQUIRED":                               masv.ErrSignIn,
		"This link requires its recipient to log in":     masv.ErrSignIn,
		"Login required":                                 masv.ErrSignIn,
		"user is not signed in":                          masv.ErrSignIn,
		"Signing in is required":                         masv.ErrSignIn,
		"Password required":                              masv.ErrDenied,
		"Wrong password":                                 masv.ErrDenied,
		"Required: a password, given in the header":      masv.ErrDenied,
		"This catalog in use needs a password":           masv.ErrDenied,
		"":                                               masv.ErrDenied,
	} {
		for _, status := range []int{401, 403} {
			c := answering(t, status, nil, fmt.Sprintf(`{"error":%q}`, said))
			for _, call := range calls {
				mustBe(t, call.do(t.Context(), c), want)
			}
		}
	}
	mustBe(t, calls[0].do(t.Context(), answering(t, 404, nil, `{"error":"Login required"}`)), masv.ErrNotFound)
}

func TestRetryAfterIsWhatTheServerAskedFor(t *testing.T) {
	const date = "Tue, 03 Nov 2026 10:00:00 GMT"
	for _, tt := range []struct {
		name, value string
		header      http.Header
		want        time.Duration
	}{
		{"absent", "", nil, 0},
		{"seconds", "5", nil, 5 * time.Second},
		{"zero", "0", nil, 0},
		{"white space around it", " 7 ", nil, 7 * time.Second},
		{"more than an hour", "86400", nil, time.Hour},
		{"more than fits", strings.Repeat("9", 40), nil, time.Hour},
		{"negative", "-5", nil, 0},
		{"a fraction", "1.5", nil, 0},
		{"garbage", "soon", nil, 0},
		{"a date by the server's clock", "Tue, 03 Nov 2026 10:01:30 GMT", http.Header{"Date": {date}}, 90 * time.Second},
		{"an RFC 850 date", "Tuesday, 03-Nov-26 10:00:09 GMT", http.Header{"Date": {date}}, 9 * time.Second},
		{"a date in the past", "Tue, 03 Nov 2026 09:00:00 GMT", http.Header{"Date": {date}}, 0},
		{"a date far away", "Tue, 03 Nov 2099 09:00:00 GMT", http.Header{"Date": {date}}, time.Hour},
		{"a date far away, and no clock", "Tue, 03 Nov 2099 09:00:00 GMT", http.Header{"Date": nil}, time.Hour},
		{"a date in the past, and no clock", "Tue, 03 Nov 2009 09:00:00 GMT", http.Header{"Date": {"now"}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := tt.header.Clone()
			if header == nil {
				header = http.Header{}
			}
			if tt.value != "" {
				header.Set("Retry-After", tt.value)
			}
			for _, status := range []int{429, 503, 409} {
				err := calls[0].do(t.Context(), answering(t, status, header, ""))
				if err == nil || masv.RetryAfter(err) != tt.want {
					t.Errorf("RetryAfter of %v = %v, want %v", err, masv.RetryAfter(err), tt.want)
				}
			}
		})
	}
	if masv.RetryAfter(errors.New("other")) != 0 || masv.RetryAfter(nil) != 0 || masv.Temporary(nil) {
		t.Error("an error that is not from here asks for a wait, or no error is temporary")
	}
}
