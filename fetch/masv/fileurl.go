package masv

import (
	"context"
	"net/url"
)

// maxURL bounds a pre-signed URL, in bytes.
const maxURL = 16 << 10

// FileURL asks where the bytes of a file lie: an absolute http or https URL
// that is signed, works for minutes to hours and for everybody who has it.
func (c *Client) FileURL(ctx context.Context, packageID string, token Secret, fileID string) (Secret, error) {
	k, err := c.start(ctx, request{
		op:     "get the address of file " + clean(fileID) + " of package " + clean(packageID),
		path:   []string{"packages", packageID, "files", fileID, "download"},
		token:  token,
		direct: true,
	})
	if err != nil {
		return "", err
	}
	defer k.close()

	if redirects(k.resp.StatusCode) {
		return k.storageURL(k.resp.Header.Get("Location"))
	}
	var a struct {
		URL Secret `json:"url"`
	}
	if err := k.decode(&a); err != nil {
		return "", err
	}
	return k.storageURL(a.URL.Reveal())
}

// storageURL checks an address that the server gave for a file.
func (k *call) storageURL(text string) (Secret, error) {
	if text == "" {
		return "", k.invalid("the answer has no address")
	}
	if len(text) > maxURL {
		return "", k.invalid("the file's address is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
		return "", k.invalid("the file's address is not a whole http or https address")
	}
	if k.protected && u.Scheme != "https" {
		// Whoever reads along on the way could fetch the file, too.
		return "", k.invalid("the file's address is not protected by https, as the API's own is")
	}
	return Secret(text), nil
}
