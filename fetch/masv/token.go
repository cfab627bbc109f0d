package masv

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// CheckToken asks whether a package token still works, without opening the
// link again: nil if it does, ErrDenied if it does not. It asks for the
// listing and drops it, so it counts as a listing where calls are limited.
func (c *Client) CheckToken(ctx context.Context, packageID string, token Secret) error {
	k, err := c.start(ctx, listingOf("check the token", packageID, token))
	if err != nil {
		return err
	}
	defer k.close()
	if k.isPage() {
		return k.fail(ErrUnavailable, errPage)
	}
	return nil
}

// TokenExpiry returns when a package token expires, in UTC, if it says so.
// Nobody here can check the token's signature: it is a reason to renew in
// time, not a proof.
// Source: RFC 7519, section 4.1.4.
func TokenExpiry(token Secret) (time.Time, bool) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp float64 `json:"exp"` // seconds, and a fraction may follow
	}
	const year10000 = 253402300800
	if json.Unmarshal(payload, &claims) != nil || claims.Exp <= 0 || claims.Exp >= year10000 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0).UTC(), true
}
