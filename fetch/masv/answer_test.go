package masv_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"masvfs/fetch/masv"
)

func openLink(t testing.TB, body string) (masv.Package, error) {
	t.Helper()
	return answering(t, 200, http.Header{"Content-Type": {"application/json"}}, body).
		Link(t.Context(), masv.Link{ID: linkID, Secret: linkSecret}, password)
}

func TestALinkOpensItsPackage(t *testing.T) {
	expires := time.Date(2019, 2, 13, 21, 33, 50, 944e6, time.UTC)
	must := `"package_id":"` + packageID + `","package_token":"` + token + `"`
	for _, tt := range []struct {
		name, body string
		want       masv.Package
	}{
		{"as documented", linkAnswer, masv.Package{ID: packageID, Name: "MASV Package", Size: 28176354, Token: token, ExpiresAt: expires, SenderEmail: "a@example.com"}},
		{"what must be there alone", `{` + must + `}`, masv.Package{ID: packageID, Token: token}},
		{"nulls", `{` + must + `,"name":null,"package_size":null,"expiry":null,"sender_email":null}`, masv.Package{ID: packageID, Token: token}},
		{"an expiry without a fraction, elsewhere", `{` + must + `,"expiry":"2019-02-13T23:33:50+02:00"}`, masv.Package{ID: packageID, Token: token, ExpiresAt: expires.Truncate(time.Second)}},
		{"no expiry, in Go's way", `{` + must + `,"expiry":"0001-01-01T00:00:00Z"}`, masv.Package{ID: packageID, Token: token}},
		{"an expiry that is none", `{` + must + `,"expiry":12}`, masv.Package{ID: packageID, Token: token}},
		{"white space around it", "\r\n {" + must + "} \n", masv.Package{ID: packageID, Token: token}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := openLink(t, tt.body)
			if err != nil || got != tt.want {
				t.Errorf("Link = %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestALinkAnswerThatMakesNoSenseIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		class      error
	}{
		{"an array", `[]`, masv.ErrInvalid},
		{"a string", `"` + linkSecret + `"`, masv.ErrInvalid},
		{"null", `null`, masv.ErrInvalid},
		{"no JSON", `secret=` + linkSecret, masv.ErrInvalid},
		{"no package", `{"package_token":"` + token + `"}`, masv.ErrInvalid},
		{"no token", `{"package_id":"x"}`, masv.ErrInvalid},
		{"a token that no header can hold", `{"package_id":"x","package_token":"` + token + `\n"}`, masv.ErrInvalid},
		{"a negative size", `{"package_id":"x","package_token":"` + token + `","package_size":-1}`, masv.ErrInvalid},
		{"a size that is a text", `{"package_id":"x","package_token":"` + token + `","package_size":"` + linkSecret + `"}`, masv.ErrInvalid},
		{"more after its end", linkAnswer + `{}`, masv.ErrInvalid},
		{"more than 1 MiB", `{"x":"` + strings.Repeat("x", 1<<20) + `",` + linkAnswer[1:], masv.ErrInvalid},
		{"nothing", ``, masv.ErrUnavailable},
		{"a half", linkAnswer[:50], masv.ErrUnavailable},
		{"a page", "\n<html>sign in to the hotel's network</html>", masv.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := openLink(t, tt.body)
			e := mustBe(t, err, tt.class)
			if got != (masv.Package{}) || e.Status != 200 || !strings.Contains(e.Error(), linkID) {
				t.Errorf("Link = %v, %v", got, e)
			}
		})
	}
}

func TestAPageInPlaceOfAnAnswerIsTemporary(t *testing.T) {
	for _, header := range []http.Header{{"Content-Type": {"Text/HTML; charset=utf-8"}}, {"Content-Type": {"application/xhtml+xml"}}} {
		for _, call := range calls {
			mustBe(t, call.do(t.Context(), answering(t, 200, header, call.answer)), masv.ErrUnavailable)
		}
	}
}

func TestFileURLTakesABodyOrARedirect(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		ok        bool
	}{
		{"https", storage, true},
		{"plain http", "http://127.0.0.1:9/x?" + signedQuery, true},
		{"capitals", "HTTPS://Storage.Example/x", true},
		{"nothing", "", false},
		{"a path", "/object?" + signedQuery, false},
		{"no scheme", "//storage.example/object?" + signedQuery, false},
		{"no host", "https:///object?" + signedQuery, false},
		{"another scheme", "file:///etc/passwd?" + signedQuery, false},
		{"no address", "https://[::1/?" + signedQuery, false},
		{"too long", storage + strings.Repeat("x", 16<<10), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range []*masv.Client{
				answering(t, 200, nil, `{"url":"`+tt.url+`","more":1}`),
				answering(t, 302, http.Header{"Location": {tt.url}}, "moved"),
				answering(t, 307, http.Header{"Location": {tt.url}, "Content-Type": {"text/html"}}, "<html>"),
			} {
				got, err := c.FileURL(t.Context(), packageID, token, fileID)
				if tt.ok {
					if err != nil || got.Reveal() != tt.url {
						t.Errorf("FileURL: %v, as sent: %t", err, got.Reveal() == tt.url)
					}
					continue
				}
				if mustBe(t, err, masv.ErrInvalid); got != "" {
					t.Error("an address came with the error")
				}
			}
		})
	}
	for body, class := range map[string]error{`{}`: masv.ErrInvalid, `{"url":null}`: masv.ErrInvalid, `{"url":1}`: masv.ErrInvalid, `["` + storage + `"]`: masv.ErrInvalid, `{"url":"` + storage: masv.ErrUnavailable} {
		_, err := answering(t, 200, nil, body).FileURL(t.Context(), packageID, token, fileID)
		mustBe(t, err, class)
	}
}

func TestTokenExpiryReadsTheClaim(t *testing.T) {
	jwt := func(payload string) masv.Secret {
		return masv.Secret("e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln")
	}
	at := time.Date(2019, 2, 13, 21, 33, 50, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		token masv.Secret
		want  time.Time
	}{
		{"whole seconds", jwt(`{"exp":1550093630,"sub":"x"}`), at},
		{"a fraction", jwt(`{"exp":1550093630.75}`), at},
		{"padding, which is not allowed", jwt(`{"exp":1550093630}`)[:4] + masv.Secret(base64.URLEncoding.EncodeToString([]byte(`{"exp":1550093630}`))) + ".c2ln", at},
		{"no claim", jwt(`{"sub":"x"}`), time.Time{}},
		{"null", jwt(`{"exp":null}`), time.Time{}},
		{"a text", jwt(`{"exp":"1550093630"}`), time.Time{}},
		{"a time before there was time", jwt(`{"exp":-5}`), time.Time{}},
		{"a time beyond all calendars", jwt(`{"exp":1e300}`), time.Time{}},
		{"no JSON", jwt(`exp`), time.Time{}},
		{"no base64", "e30.*.c2ln", time.Time{}},
		{"two parts", "e30.e30", time.Time{}},
		{"no JWT", "token", time.Time{}},
		{"nothing", "", time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := masv.TokenExpiry(tt.token)
			if ok == tt.want.IsZero() || !got.Equal(tt.want) {
				t.Errorf("TokenExpiry = %v, %t, want %v", got, ok, tt.want)
			}
		})
	}
}
