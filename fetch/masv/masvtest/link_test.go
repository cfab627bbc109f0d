package masvtest_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

func TestLinkIsWhatPeopleGetByMail(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{})
	u, err := url.Parse(l.URL())
	if err != nil || u.Host != "get.massive.io" || u.Path != "/"+l.ID || u.Query().Get("secret") != l.Secret {
		t.Errorf("%s: %v", l.URL(), err)
	}
	for _, id := range []string{l.ID, l.PackageID} {
		if !regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`).MatchString(id) {
			t.Errorf("%s is no ULID", id)
		}
	}
}

func TestLinkAnswersWithThePackage(t *testing.T) {
	at := newClock()
	c := start(t, masvtest.WithClock(at.now))
	l := c.AddPackage(masvtest.Package{
		Name: "MASV Package", SenderEmail: "a@example.org", RecipientEmail: "b@example.org",
		Files: []masvtest.File{
			{Name: "a", Size: 3}, {Kind: "file", Name: "b", Size: 4},
			{Kind: "zip_mac", Name: "z", Size: 7}, {Kind: "directory", Name: "d"},
		},
		Branding: map[string]any{"logo": "x"},
	})
	r := c.get(c.linkURL(l)).want(t, 200)
	if r.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", r.header)
	}
	var got map[string]any
	decode(t, r.body, &got)
	token, _ := got["package_token"].(string)
	delete(got, "package_token")
	want := map[string]any{
		"id": l.ID, "name": "MASV Package", "package_id": l.PackageID, "package_size": 7.0,
		"expiry": "2026-12-04T12:00:00.000Z", "sender_email": "a@example.org", "recipient_email": "b@example.org",
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %v, want %v", key, got[key], value)
		}
	}
	if branding, _ := got["branding"].(map[string]any); branding["logo"] != "x" {
		t.Errorf("branding %v", got["branding"])
	}

	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("token %q is no JWT", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Exp int64 }
	decode(t, payload, &claims)
	if want := at.now().Add(24 * time.Hour).Unix(); claims.Exp != want {
		t.Errorf("exp %d, want %d", claims.Exp, want)
	}
}

func TestLinkIsRefused(t *testing.T) {
	past := time.Now().Add(-time.Minute)
	for name, test := range map[string]struct {
		pkg     masvtest.Package
		headers []string
		url     func(c *cloud, l masvtest.Link) string
		status  int
		message string
	}{
		"that nobody knows":                    {url: func(c *cloud, l masvtest.Link) string { return c.URL + "/links/" + l.PackageID + "?secret=x" }, status: 404, message: "not found"},
		"with a wrong secret":                  {url: func(c *cloud, l masvtest.Link) string { return c.linkURL(l) + "x" }, status: 403, message: "secret"},
		"without its password":                 {pkg: masvtest.Package{Password: "p"}, status: 401, message: "password"},
		"with a wrong password":                {pkg: masvtest.Package{Password: "p"}, headers: []string{"X-Link-Password: q"}, status: 403, message: "password"},
		"that was disabled":                    {pkg: masvtest.Package{Disabled: true}, status: 404, message: "disabled"},
		"that has expired":                     {pkg: masvtest.Package{Expiry: past}, status: 410, message: "expired"},
		"that has expired and is gone":         {pkg: masvtest.Package{Expiry: past, ExpiredStatus: 404}, status: 404, message: "expired"},
		"that is not ready":                    {pkg: masvtest.Package{NotReady: -1}, status: 409, message: "not finalized"},
		"that is not ready, with other status": {pkg: masvtest.Package{NotReady: 1, NotReadyStatus: 423}, status: 423, message: "not finalized"},
		"that asks for a sign-in":              {pkg: masvtest.Package{SignIn: true}, status: 403, message: "sign-in required"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			l := c.AddPackage(test.pkg)
			u := c.linkURL(l)
			if test.url != nil {
				u = test.url(c, l)
			}
			var body struct{ Message string }
			decode(t, c.get(u, test.headers...).want(t, test.status).body, &body)
			if !strings.Contains(body.Message, test.message) {
				t.Errorf("message %q", body.Message)
			}
			if got := c.LinkStats(l).Initiated; got != 0 {
				t.Errorf("the refusal counts as %d downloads begun", got)
			}
		})
	}
}

func TestLinkOpensWithItsPassword(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{Password: "hunter2"})
	c.get(c.linkURL(l), "X-Link-Password: hunter2").want(t, 200)
}

func TestLinkLocksAtItsAccessLimitAndItsPackageGoesOn(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{AccessLimit: 2, Files: []masvtest.File{{Name: "a", Size: 1}}})
	c.token(l)
	token := c.token(l)
	c.get(c.linkURL(l)).want(t, 403)
	c.get(c.listingURL(l), token).want(t, 200)
	c.get(c.fileURL(l, 0), token).want(t, 200)
	if got, want := c.LinkStats(l), (masvtest.LinkStats{Calls: 3, Initiated: 2, Listings: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestLinkBecomesReady(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{NotReady: 2})
	c.get(c.linkURL(l)).want(t, 409)
	c.get(c.linkURL(l)).want(t, 409)
	c.get(c.linkURL(l)).want(t, 200)
	c.Update(l, func(p *masvtest.Package) { p.NotReady = -1 })
	c.get(c.linkURL(l)).want(t, 409)
	c.Update(l, func(p *masvtest.Package) { p.NotReady = 0 })
	c.get(c.linkURL(l)).want(t, 200)
}

func TestDisabledLinkDoesNotEndDownloadsThatHaveBegun(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{Files: []masvtest.File{{Name: "a", Size: 1}}})
	token := c.token(l)
	c.Update(l, func(p *masvtest.Package) { p.Disabled = true })
	c.get(c.linkURL(l)).want(t, 404)
	c.get(c.listingURL(l), token).want(t, 200)
	c.get(c.fileURL(l, 0), token).want(t, 200)
}

func TestTokensAreChecked(t *testing.T) {
	at := newClock()
	c := start(t, masvtest.WithClock(at.now))
	p := masvtest.Package{TokenLife: time.Minute, Files: []masvtest.File{{Name: "a", Size: 1}}}
	l, other := c.AddPackage(p), c.AddPackage(p)
	token := c.token(l)
	both := func(status int, headers ...string) {
		t.Helper()
		for _, u := range []string{c.listingURL(l), c.fileURL(l, 0)} {
			r := c.get(u, headers...).want(t, status)
			var body struct{ Error string }
			if status != 200 {
				decode(t, r.body, &body)
				if !strings.Contains(body.Error, "token") {
					t.Errorf("error %q", body.Error)
				}
			}
		}
	}
	both(200, token)
	both(401)
	both(403, "X-Package-Token: nonsense")
	both(403, c.token(other))
	header, rest, _ := strings.Cut(token, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	later := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"` + l.PackageID + `","exp":99999999999,"jti":"9"}`))
	both(403, header+"."+later+"."+signature)
	both(403, header+"."+payload+"."+signature[1:])

	at.move(time.Minute)
	both(401, token)
	fresh := c.token(l)
	both(200, fresh)
	c.RevokeTokens(l)
	both(403, fresh)
	both(200, c.token(l))
}

func TestLargePackagesAreRateLimited(t *testing.T) {
	at := newClock()
	c := start(t, masvtest.WithClock(at.now))
	file := func(int) masvtest.File { return masvtest.File{Name: "a"} }
	l := c.AddPackage(masvtest.Package{Generate: file, Count: 10_001})
	small := c.AddPackage(masvtest.Package{Generate: file, Count: 10_000})

	token := c.token(l)
	c.get(c.listingURL(l), token).want(t, 200) // has an interval of its own
	at.move(2 * time.Second)
	for _, u := range []string{c.linkURL(l), c.listingURL(l)} {
		if got := c.get(u, token).want(t, 429).header.Get("Retry-After"); got != "3" {
			t.Errorf("Retry-After %q, want 3", got)
		}
	}
	at.move(3 * time.Second)
	c.get(c.linkURL(l)).want(t, 200)
	c.get(c.listingURL(l), token).want(t, 200)
	c.Update(l, func(p *masvtest.Package) { p.RateInterval = -1 })
	c.get(c.linkURL(l)).want(t, 200)

	c.token(small)
	c.token(small)
	c.Update(small, func(p *masvtest.Package) { p.RateInterval = time.Second })
	c.get(c.linkURL(small)).want(t, 429)
	at.move(time.Second)
	c.get(c.linkURL(small)).want(t, 200)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	c := start(t)
	l := c.AddPackage(masvtest.Package{})
	for _, path := range []string{"", "/", "/links", "/links/a/b", "/packages/" + l.PackageID, "/packages//files/", "/elsewhere"} {
		r := c.get(c.URL+path).want(t, 404)
		var body struct{ Error string }
		if decode(t, r.body, &body); body.Error == "" {
			t.Errorf("%s: body %s", path, r.body)
		}
	}
	for _, u := range []string{c.linkURL(l), c.listingURL(l), c.listingURL(l) + "/x/download"} {
		for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPut} {
			if r := c.do(method, u).want(t, 405); r.header.Get("Allow") != "GET" {
				t.Errorf("%s: Allow %q", method, r.header.Get("Allow"))
			}
		}
	}
	if got := c.Stats().Other; got.Calls != 16 || got.Status[404] != 7 || got.Status[405] != 9 {
		t.Errorf("counted %+v", got)
	}
}
