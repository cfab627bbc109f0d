// Package client calls the REST API of a running agent; the command line is
// built on it. It knows the wire's types and no more of the agent.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"masvfs/fetch/masv"
	"masvfs/rest/api"
)

// Config says which agent to call.
type Config struct {
	Address string      // http://…, https://… or unix:///path, as the agent's --listen
	Token   masv.Secret // if the agent asks for one
	CAFile  string      // of more certificate authorities to trust, in PEM form
}

// Client calls one agent. It is safe for concurrent use. What the agent
// refuses is an *api.Problem.
type Client struct {
	address string // as people know it
	base    string
	token   masv.Secret
	http    *http.Client
}

// New returns a client; nothing is called yet.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.Address)
	if strings.Contains(cfg.Address, "@") {
		return nil, errors.New("an agent's address holds no user name or password; what it asks for is its access token, in a file that --token-file names")
	}
	if err != nil || u.Scheme == "unix" && (u.Host != "" || u.Path == "") || u.Scheme != "unix" && u.Host == "" {
		return nil, fmt.Errorf("%q is not an agent's address, such as http://127.0.0.1:8080 or unix:///run/masvfs.sock", cfg.Address)
	}
	// No proxy: the agent is here, or on a machine of one's own.
	transport := &http.Transport{ResponseHeaderTimeout: 5 * time.Minute}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	c := &Client{address: cfg.Address, token: cfg.Token, http: &http.Client{Transport: transport}}
	switch u.Scheme {
	case "unix":
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", u.Path)
		}
		c.base = "http://localhost" + api.Prefix
	case "http", "https":
		transport.DialContext = dialer.DialContext
		c.base = u.Scheme + "://" + u.Host + api.Prefix
	default:
		return nil, fmt.Errorf("%q is not an agent's address: it begins with http, https or unix", cfg.Address)
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, err
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", cfg.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return c, nil
}

// Add queues a download and returns its identifier; created is false if the
// link was there already, unfinished.
func (c *Client) Add(ctx context.Context, r api.Request) (id string, created bool, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return "", false, err
	}
	var added api.Added
	status, err := c.call(ctx, http.MethodPost, "/downloads", body, &added)
	return added.ID, status == http.StatusCreated, err
}

// List returns the downloads in a state, or all if it is empty, without files.
func (c *Client) List(ctx context.Context, state string) ([]api.Download, error) {
	path := "/downloads"
	if state != "" {
		path += "?state=" + url.QueryEscape(state)
	}
	all := []api.Download{}
	_, err := c.call(ctx, http.MethodGet, path, nil, &all)
	return all, err
}

// Get returns one download with its files.
func (c *Client) Get(ctx context.Context, id string) (api.Download, []api.File, error) {
	var whole struct {
		api.Download
		Files []api.File `json:"files"`
	}
	_, err := c.call(ctx, http.MethodGet, "/downloads/"+url.PathEscape(id), nil, &whole)
	return whole.Download, whole.Files, err
}

// Pause pauses a download.
func (c *Client) Pause(ctx context.Context, id string) (api.Download, error) {
	var d api.Download
	_, err := c.call(ctx, http.MethodPost, "/downloads/"+url.PathEscape(id)+"/pause", nil, &d)
	return d, err
}

// Resume goes on with a download, with a password if one is given.
func (c *Client) Resume(ctx context.Context, id string, password masv.Secret) (api.Download, error) {
	var body []byte
	if password != "" {
		body, _ = json.Marshal(map[string]string{"password": password.Reveal()}) // strings always encode
	}
	var d api.Download
	_, err := c.call(ctx, http.MethodPost, "/downloads/"+url.PathEscape(id)+"/resume", body, &d)
	return d, err
}

// PauseAll pauses all downloads and says how many that changed.
func (c *Client) PauseAll(ctx context.Context) (int, error) { return c.all(ctx, "pause") }

// ResumeAll resumes all downloads and says how many that changed.
func (c *Client) ResumeAll(ctx context.Context) (int, error) { return c.all(ctx, "resume") }

func (c *Client) all(ctx context.Context, what string) (int, error) {
	var changed api.Changed
	_, err := c.call(ctx, http.MethodPost, "/downloads/all/"+what, nil, &changed)
	return changed.Count, err
}

// Delete forgets a download, and removes its finished files if asked to.
func (c *Client) Delete(ctx context.Context, id string, removeFiles bool) error {
	body, err := json.Marshal(api.Removal{RemoveFiles: removeFiles})
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodDelete, "/downloads/"+url.PathEscape(id), body, nil)
	return err
}

// Resolve returns the one identifier that begins with prefix.
func (c *Client) Resolve(ctx context.Context, prefix string) (string, error) {
	prefix = strings.ToLower(prefix)
	all, err := c.List(ctx, "")
	if err != nil {
		return "", err
	}
	var found []string
	for _, d := range all {
		if prefix != "" && strings.HasPrefix(d.ID, prefix) {
			found = append(found, d.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("there is no download whose ID begins with %q; masvfs ls shows them", prefix)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("the IDs of %d downloads begin with %q; give more of it", len(found), prefix)
}

// maxProblem bounds the problem document that is read, in bytes.
const maxProblem = 1 << 20

// call makes one call; body is JSON, or nil for none; v takes the answer, nil drops it.
func (c *Client) call(ctx context.Context, method, path string, body []byte, v any) (status int, err error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, reader)
	if err != nil {
		return 0, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, c.problem(resp)
	}
	if v == nil {
		return resp.StatusCode, nil
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return resp.StatusCode, fmt.Errorf("the agent at %s gave an answer that breaks off or makes no sense: %w", c.address, err)
	}
	return resp.StatusCode, nil
}

func (c *Client) problem(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	p := new(api.Problem)
	if err != nil || json.Unmarshal(data, p) != nil || p.Code == "" {
		return fmt.Errorf("what answers at %s is no masvfs agent (%s)", c.address, resp.Status)
	}
	return p
}

// unreachable says what to do where nobody answers.
func (c *Client) unreachable(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("no agent answers at %s; start it with: masvfs run (or say where it is with --listen): %w", c.address, op.Err)
	}
	return err
}
