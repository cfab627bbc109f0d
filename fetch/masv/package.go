package masv

import (
	"context"
	"time"
)

// Package is what a link opens.
type Package struct {
	ID          string
	Name        string    // the sender's; may be empty or odd
	Size        int64     // bytes, as MASV counts them; 0: not told
	Token       Secret    // authorises Files, FileURL and CheckToken
	ExpiresAt   time.Time // of the link, UTC; zero: not told
	SenderEmail string
}

// Link opens a link. The password is empty for a link without one.
//
// Every call may count against the link's access limit: make one per download
// and keep what it returns, until the token no longer works.
func (c *Client) Link(ctx context.Context, link Link, password Secret) (Package, error) {
	k, err := c.start(ctx, request{
		op:       "open link " + clean(link.ID),
		path:     []string{"links", link.ID},
		secret:   link.Secret,
		password: password,
	})
	if err != nil {
		return Package{}, err
	}
	defer k.close()

	var a struct {
		Name         string `json:"name"`
		PackageID    string `json:"package_id"`
		PackageSize  int64  `json:"package_size"`
		PackageToken Secret `json:"package_token"`
		Expiry       moment `json:"expiry"`
		SenderEmail  string `json:"sender_email"`
	}
	if err := k.decode(&a); err != nil {
		return Package{}, err
	}
	switch {
	case a.PackageID == "":
		return Package{}, k.invalid("the answer names no package")
	case a.PackageToken == "":
		return Package{}, k.invalid("the answer has no package token")
	case !sendable(a.PackageToken.Reveal()):
		return Package{}, k.invalid("the package token has a character that cannot be sent")
	case a.PackageSize < 0:
		return Package{}, k.invalid("the package's size is negative")
	}
	return Package{
		ID:          a.PackageID,
		Name:        a.Name,
		Size:        a.PackageSize,
		Token:       a.PackageToken,
		ExpiresAt:   a.Expiry.Time,
		SenderEmail: a.SenderEmail,
	}, nil
}
