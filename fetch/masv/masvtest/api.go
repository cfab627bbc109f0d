package masvtest

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// serveAPI routes the calls of the API. It goes by the escaped path, so that
// an ID may hold a slash, and never redirects to a cleaned one.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.EscapedPath(), "/")
	for i, part := range parts {
		parts[i], _ = url.PathUnescape(part) // net/http has parsed it already
	}
	call := CallOther
	if len(parts) > 3 && parts[0] == "" && parts[1] == "v1" {
		switch {
		case len(parts) == 4 && parts[2] == "links":
			call = CallLink
		case len(parts) == 5 && parts[2] == "packages" && parts[4] == "files":
			call = CallListing
		case len(parts) == 7 && parts[2] == "packages" && parts[4] == "files" && parts[6] == "download":
			call = CallFileURL
		}
	}
	if call == CallOther || r.Method != http.MethodGet {
		a := &answer{server: s, w: w, r: r, call: CallOther}
		s.counts.called(CallOther)
		if call == CallOther {
			a.fail(http.StatusNotFound, "no such resource")
			return
		}
		w.Header().Set("Allow", http.MethodGet)
		a.fail(http.StatusMethodNotAllowed, r.Method+" is not allowed here")
		return
	}
	switch id := parts[3]; call {
	case CallLink:
		s.serveLink(w, r, id)
	case CallListing:
		s.serveListing(w, r, id)
	case CallFileURL:
		s.serveFileURL(w, r, id, parts[5])
	}
}

// fail answers with an error as JSON: the link call with a message, the others
// with an error, as both occur.
func (a *answer) fail(status int, message string) {
	key := "error"
	if a.call == CallLink {
		key = "message"
	}
	text, err := json.Marshal(map[string]string{key: message})
	if err != nil {
		panic(err) // strings only
	}
	a.body(status, "", string(text))
}

// tooSoon answers 429 where the calls of a large package come too fast.
func (a *answer) tooSoon(sh *shared) bool {
	wait := sh.admit(a.call, a.server.now())
	if wait > 0 {
		a.w.Header().Set("Retry-After", seconds(wait))
		a.fail(http.StatusTooManyRequests, "too many requests")
	}
	return wait > 0
}

func (s *Server) serveLink(w http.ResponseWriter, r *http.Request, id string) {
	s.mu.Lock()
	sh := s.links[id]
	s.mu.Unlock()
	req := Request{Call: CallLink, LinkID: id, Index: -1}
	if sh != nil {
		req.PackageID, req.serial, req.N = sh.link.PackageID, sh.serial, sh.called(CallLink)
	}
	a, ok := s.answer(w, r, req)
	switch {
	case !ok:
	case sh == nil:
		a.fail(http.StatusNotFound, "link not found")
	case a.tooSoon(sh):
	default:
		now := s.now()
		if status, message := sh.refuse(r, now); status != 0 {
			a.fail(status, message)
			return
		}
		a.body(http.StatusOK, "", sh.linkJSON(&s.signer, now))
	}
}

// refuse says why a link call cannot be answered; status 0 is that it can, and
// counts as the beginning of a download.
func (sh *shared) refuse(r *http.Request, now time.Time) (status int, message string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := &sh.pkg
	password := r.Header.Get("X-Link-Password")
	switch {
	case r.URL.Query().Get("secret") != sh.link.Secret:
		return http.StatusForbidden, "the secret of the link is wrong"
	case p.Disabled:
		return http.StatusNotFound, "the link was disabled by its sender"
	case !now.Before(p.Expiry):
		return or(p.ExpiredStatus, http.StatusGone), "the link has expired"
	case p.NotReady != 0:
		p.NotReady--
		return or(p.NotReadyStatus, http.StatusConflict), "the package is not finalized yet"
	case p.SignIn:
		return http.StatusForbidden, "sign-in required: the recipient must be signed in to open this link"
	case p.Password != "" && password == "":
		return http.StatusUnauthorized, "a password is required"
	case p.Password != "" && password != p.Password:
		return http.StatusForbidden, "the password is incorrect"
	case p.AccessLimit > 0 && sh.stats.initiated >= p.AccessLimit:
		return http.StatusForbidden, "the link is locked: its access limit is reached"
	}
	sh.stats.initiated++
	return 0, ""
}

func or(status, otherwise int) int {
	if status != 0 {
		return status
	}
	return otherwise
}

// linkJSON is the answer to a link call.
func (sh *shared) linkJSON(sign *signer, now time.Time) string {
	token := sh.issue(sign, now)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	branding := sh.pkg.Branding
	if branding == nil {
		branding = map[string]any{}
	}
	text, err := json.Marshal(struct {
		ID             string         `json:"id"`
		Name           string         `json:"name"`
		PackageID      string         `json:"package_id"`
		PackageSize    int64          `json:"package_size"`
		PackageToken   string         `json:"package_token"`
		Expiry         string         `json:"expiry"`
		SenderEmail    string         `json:"sender_email"`
		RecipientEmail string         `json:"recipient_email"`
		Branding       map[string]any `json:"branding"`
	}{
		sh.link.ID, sh.pkg.Name, sh.link.PackageID, sh.size, token,
		timestamp(sh.pkg.Expiry), sh.pkg.SenderEmail, sh.pkg.RecipientEmail, branding,
	})
	if err != nil {
		panic(err) // the test's Branding is not JSON
	}
	return string(text)
}

// timestamp is a time as the API has it.
func timestamp(t time.Time) string { return string(appendTimestamp(nil, t)) }

func appendTimestamp(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "0001-01-01T00:00:00Z"...) // "unknown", as documented
	}
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
}

// authorise returns the package, unless it has answered that there is none or
// that the token does not open it.
func (a *answer) authorise(sh *shared) bool {
	if sh == nil {
		a.fail(http.StatusNotFound, "package not found")
		return false
	}
	token := a.r.Header.Get("X-Package-Token")
	if token == "" {
		a.fail(http.StatusUnauthorized, "a package token is required")
		return false
	}
	c, err := a.server.signer.claims(token)
	switch {
	case err != nil, c.Subject != sh.link.PackageID:
		a.fail(http.StatusForbidden, "the package token is not valid")
	case a.server.now().Unix() >= c.Expires:
		a.fail(http.StatusUnauthorized, "the package token has expired")
	case sh.isRevoked(c.Serial):
		a.fail(http.StatusForbidden, "the package token was revoked")
	default:
		return true
	}
	return false
}

func (sh *shared) isRevoked(serial int64) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return serial < sh.revoked
}

func (s *Server) serveFileURL(w http.ResponseWriter, r *http.Request, packageID, id string) {
	s.mu.Lock()
	sh := s.packages[packageID]
	s.mu.Unlock()
	req := Request{Call: CallFileURL, PackageID: packageID, FileID: id, Index: -1}
	var p Package
	var f File
	if sh != nil {
		req.LinkID, req.serial, req.Index = sh.link.ID, sh.serial, sh.index(id)
	}
	if req.Index >= 0 {
		p = sh.snapshot()
		f = sh.file(&p, req.Index)
		req.Path, req.N = joined(f), sh.fileCalled(req.Index, CallFileURL)
	}
	a, ok := s.answer(w, r, req)
	if !ok || !a.authorise(sh) {
		return
	}
	if req.Index < 0 || f.Gone || f.Kind == "directory" {
		a.fail(http.StatusNotFound, "file not found")
		return
	}
	life := p.URLLife
	if life == 0 {
		life = defaultURLLife
	}
	location := f.URL
	if location == "" {
		location = s.objectURL(sh, f.ID, r.Host, s.now().Add(life))
	}
	if p.RedirectFileURL {
		w.Header().Set("Location", location)
		a.begin(http.StatusFound)
		return
	}
	text, err := json.Marshal(map[string]string{"url": location})
	if err != nil {
		panic(err) // strings only
	}
	a.body(http.StatusOK, "", string(text))
}

// objectURL is the pre-signed storage URL of a file, for a client that called
// the API under that host.
func (s *Server) objectURL(sh *shared, id, host string, expires time.Time) string {
	base := s.StorageURL
	if s.anyHost {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		u, _ := url.Parse(base) // made by Listen
		base = u.Scheme + "://" + net.JoinHostPort(strings.Trim(host, "[]"), u.Port())
	}
	sh.mu.Lock()
	epoch := sh.urls
	sh.mu.Unlock()
	key := objectKey(sh.link.PackageID, id)
	return base + key + "?" + s.signer.query(key, epoch, expires)
}

// joined is a file's path for people.
func joined(f File) string {
	if f.Path == "" {
		return f.Name
	}
	return f.Path + "/" + f.Name
}
