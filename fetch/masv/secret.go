package masv

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// masked stands wherever a Secret would have been printed.
const masked = "***"

// Secret is a text that must not be seen: a link's secret, a password, a
// package token, a pre-signed URL. Printed, logged or encoded, it comes out
// masked; only Reveal gives the text itself, so a search for Reveal finds
// every place where a secret leaves the program.
//
// Three things get past the mask, because the standard library asks no method
// of the value there: the verbs %p and %w (which go vet refuses), a key of a
// map given to encoding/json, and package fmt printing a struct that holds a
// Secret in, or below, an unexported field. So secrets belong in exported
// fields, and a struct that hides one deeper is not to be printed.
type Secret string

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// String returns a mask, or nothing where there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format implements fmt.Formatter, so that no verb, %x included, gets past the mask.
func (s Secret) Format(f fmt.State, verb rune) { fmt.Fprint(f, s.String()) }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
