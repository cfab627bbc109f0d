package masvtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// signer signs package tokens and storage URLs with a key that nobody else has.
type signer struct{ key [32]byte }

func (s *signer) sum(text string) []byte {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// claims are the payload of a package token (RFC 7519).
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"` // the package's ID
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"` // seconds since 1970
	Serial   int64  `json:"jti,string"`
}

var (
	errForged  = errors.New("signature does not match")
	errExpired = errors.New("expired")
)

// token returns a JWT with an HS256 signature (RFC 7515).
func (s *signer) token(c claims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err) // numbers and strings only
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(payload)
	return signed + "." + encode(s.sum(signed))
}

// claims checks a token's signature and returns what it says.
func (s *signer) claims(token string) (c claims, err error) {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 {
		return c, errForged
	}
	decode := base64.RawURLEncoding.DecodeString
	signature, err := decode(token[dot+1:])
	if err != nil || !hmac.Equal(signature, s.sum(token[:dot])) {
		return c, errForged
	}
	_, payload, _ := strings.Cut(token[:dot], ".")
	text, err := decode(payload)
	if err != nil {
		return c, errForged
	}
	err = json.Unmarshal(text, &c)
	return c, err
}

// query returns the pre-signed part of a storage URL for the object of that
// key. Its epoch and its expiry are in the clear and signed.
func (s *signer) query(key string, epoch int64, expires time.Time) string {
	signed := fmt.Sprintf("epoch=%d&expires=%d", epoch, expires.UnixMilli())
	return signed + "&signature=" + hex.EncodeToString(s.sum(key+"?"+signed))
}

// checkQuery returns the epoch of a pre-signed URL, errForged or errExpired.
func (s *signer) checkQuery(key string, q url.Values, now time.Time) (epoch int64, err error) {
	epoch, err1 := strconv.ParseInt(q.Get("epoch"), 10, 64)
	expires, err2 := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err1 != nil || err2 != nil {
		return 0, errForged
	}
	want, _ := url.ParseQuery(s.query(key, epoch, time.UnixMilli(expires)))
	if !hmac.Equal([]byte(want.Get("signature")), []byte(q.Get("signature"))) {
		return 0, errForged
	}
	if !now.Before(time.UnixMilli(expires)) {
		return 0, errExpired
	}
	return epoch, nil
}

// issue returns a fresh token for the package.
func (sh *shared) issue(s *signer, now time.Time) string {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	life := sh.pkg.TokenLife
	if life == 0 {
		life = defaultToken
	}
	serial := sh.tokens
	sh.tokens++
	return s.token(claims{
		Issuer:   "masv",
		Subject:  sh.link.PackageID,
		IssuedAt: now.Unix(),
		Expires:  now.Add(life + time.Second - 1).Unix(),
		Serial:   serial,
	})
}
