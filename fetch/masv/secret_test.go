package masv_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"masvfs/fetch/masv"
)

// Texts that must never be seen. They are recognisable, and hold what needs escaping.
const (
	linkSecret  = "bqkBtnPw+vmkg/JpHN"
	password    = "correct horse & battery"
	token       = "eyJhbGciOiJub25lIn0.eyJleHAiOjE1NTAwOTM2MzB9.c2lnbmF0dXJl"
	signedQuery = "X-Amz-Signature=d3adb33fcafe"
)

// mustHide fails the test where a text lets a secret through, also in part or escaped.
func mustHide(t testing.TB, what, text string) {
	t.Helper()
	for _, piece := range []string{"bqkBtnPw", "JpHN", "horse", "battery", "c2lnbmF0dXJl", "eyJleHAi", "d3adb33fcafe"} {
		if strings.Contains(text, piece) {
			t.Errorf("%s lets a secret through (%q): %s", what, piece, text)
		}
	}
}

func TestASecretCannotBePrinted(t *testing.T) {
	type holder struct {
		Name   string
		Secret masv.Secret
		Ptr    *masv.Secret
		List   []masv.Secret
		Map    map[string]masv.Secret
	}
	s := masv.Secret(password)
	h := holder{"n", s, &s, []masv.Secret{s}, map[string]masv.Secret{"k": s}}
	link := masv.Link{ID: "01D2TMG9F5GHMHX8RWZ453VA35", Secret: linkSecret}
	pkg := masv.Package{ID: "p", Token: token}
	wrapped := fmt.Errorf("use %s: %w", s, errors.New("no"))
	for _, v := range []any{s, &s, h, &h, []any{s}, link, &link, link.URL(), pkg, wrapped, error(&masv.Error{Op: "x", Err: wrapped})} {
		// All verbs there are but %T, which prints no value, and %p and %w, of which the type's comment speaks.
		for _, verb := range "vtbcdoOqxXUeEfFgGs!" {
			for _, flags := range []string{"", "+", "#", "-40", "040", " ", ".3", "+#"} {
				format := "%" + flags + string(verb)
				mustHide(t, fmt.Sprintf("%s of %T", format, v), fmt.Sprintf(format, v))
			}
		}
		mustHide(t, fmt.Sprintf("Sprint of %T", v), fmt.Sprint(v)+fmt.Sprintln(v))
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		mustHide(t, fmt.Sprintf("JSON of %T", v), string(data))
		for _, options := range []*slog.HandlerOptions{nil, {AddSource: true, Level: slog.LevelDebug}} {
			var out bytes.Buffer
			for _, h := range []slog.Handler{slog.NewTextHandler(&out, options), slog.NewJSONHandler(&out, options)} {
				slog.New(h).With("with", v).WithGroup("group").Warn("message", "key", v, slog.Group("inner", "value", v))
			}
			mustHide(t, fmt.Sprintf("a log line with %T", v), out.String())
			if !strings.Contains(out.String(), "message") {
				t.Fatal("nothing was logged")
			}
		}
	}
	data, err := xml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	mustHide(t, "XML", string(data))
}

func TestASecretIsStillOfUse(t *testing.T) {
	if got := masv.Secret(password).Reveal(); got != password {
		t.Errorf("Reveal = %q", got)
	}
	if got := fmt.Sprintf("[%v] [%v]", masv.Secret(""), masv.Secret("x")); got != "[] [***]" {
		t.Errorf("an empty secret is told from a masked one by printing it: got %s", got)
	}
	var in struct{ Password masv.Secret }
	if err := json.Unmarshal([]byte(`{"password":"hunter2"}`), &in); err != nil || in.Password != "hunter2" {
		t.Errorf("a secret read from JSON: %v, the right one: %t", err, in.Password == "hunter2")
	}
}
