package rest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"masvfs/fetch"
	"masvfs/rest"
)

// TestNoWebPageGetsIn sends every call in every form in which a browser can
// send it for a page that is not the agent's own. None may have an effect, and
// no answer may hold anything or invite to ask again.
func TestNoWebPageGetsIn(t *testing.T) {
	m := &memory{all: []fetch.Download{{ID: id, Name: "PRIVATE", State: fetch.Transferring}}}
	address := serve(t, m, rest.Address{Spec: "http://127.0.0.1:0"})
	_, port, _ := net.SplitHostPort(address)
	calls := []struct{ line, body string }{
		{"GET /api/v1/downloads", ""},
		{"GET /api/v1/downloads/" + id, ""},
		{"GET /api/v1/settings", ""},
		{"GET /healthz", ""},
		{"POST /api/v1/downloads", `{"url": "` + link + `"}`},
		{"POST /api/v1/downloads/" + id + "/pause", ""},
		{"POST /api/v1/downloads/" + id + "/resume", `{"password": "x"}`},
		{"POST /api/v1/downloads/all/pause", ""},
		{"DELETE /api/v1/downloads/" + id, `{"remove_files": true}`},
		{"PATCH /api/v1/settings", `{"download_rate_limit": 1}`},
		{"OPTIONS /api/v1/downloads", ""},
		{"OPTIONS *", ""},
	}
	own := "Host: 127.0.0.1:" + port
	senders := []struct{ name, header string }{
		{"a name that leads here", "Host: evil.example:" + port},
		{"a name that begins like this machine", "Host: 127.0.0.1.evil.example:" + port},
		{"a name that begins like localhost", "Host: localhost.evil.example"},
		{"a name that ends like localhost", "Host: evil-localhost"},
		{"another machine's address", "Host: 192.0.2.1:" + port},
		{"a name with a user", "Host: localhost@evil.example"},
		{"a user and this machine", "Host: evil.example@localhost"},
		{"no name", "Host:"},
		{"two names", own + "\r\nHost: evil.example"},
		{"another site", own + "\r\nOrigin: http://evil.example"},
		{"a site that begins like this machine", own + "\r\nOrigin: http://127.0.0.1.evil.example:" + port},
		{"another port of this machine", own + "\r\nOrigin: http://127.0.0.1:1"},
		{"this machine's own port 80", own + "\r\nOrigin: http://127.0.0.1"},
		{"this machine by another name", own + "\r\nOrigin: http://localhost:" + port},
		{"this machine over TLS", own + "\r\nOrigin: https://127.0.0.1:" + port},
		{"no origin of its own", own + "\r\nOrigin: null"},
		{"an empty origin", own + "\r\nOrigin:"},
		{"a file", own + "\r\nOrigin: file://"},
		{"an extension", own + "\r\nOrigin: chrome-extension://aaaa"},
		{"two origins", own + "\r\nOrigin: http://127.0.0.1:" + port + "\r\nOrigin: http://evil.example"},
		{"two origins in one line", own + "\r\nOrigin: http://127.0.0.1:" + port + " http://evil.example"},
		{"an image of another site", own + "\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image"},
		{"a link on another site", own + "\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document"},
		{"a neighbour among the sites", own + "\r\nSec-Fetch-Site: same-site"},
		{"a stream", own + "\r\nOrigin: http://evil.example\r\nAccept: text/event-stream"},
		{"a socket", own + "\r\nOrigin: http://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="},
		{"a preflight", own + "\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: content-type\r\nAccess-Control-Request-Private-Network: true\r\nAccess-Control-Request-Local-Network: true"},
	}
	types := []string{"", "application/json", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json, text/plain"}
	for _, sender := range senders {
		for _, c := range calls {
			for _, typ := range types {
				request := c.line + " HTTP/1.1\r\n" + sender.header + "\r\n"
				if typ != "" {
					request += "Content-Type: " + typ + "\r\n"
				}
				request += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(c.body), c.body)
				status, text := send(t, address, request)
				if status < 400 || strings.Contains(text, "PRIVATE") || strings.Contains(strings.ToLower(text), "access-control-allow") {
					t.Errorf("%s, by %s, as %q: %d\n%s", c.line, sender.name, typ, status, text)
				}
			}
		}
	}
	// Of an own page, or of none, the forms that need no leave are refused.
	for _, origin := range []string{"", "\r\nOrigin: http://127.0.0.1:" + port + "\r\nSec-Fetch-Site: same-origin"} {
		for _, c := range calls {
			for _, typ := range types {
				if c.body != "" && typ != "application/json" {
					request := fmt.Sprintf("%s HTTP/1.1\r\n%s%s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", c.line, own, origin, typ, len(c.body), c.body)
					if status, text := send(t, address, request); status != 415 {
						t.Errorf("%s as %q: %d\n%s", c.line, typ, status, text)
					}
				}
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) != 1 || m.all[0].State != fetch.Transferring || m.removed || m.limit.Load() != 0 {
		t.Errorf("a web page has done something: %+v, limit %d", m.all, m.limit.Load())
	}
}

func TestAPageOfTheAgentsOwnGetsIn(t *testing.T) {
	address := serve(t, &memory{}, rest.Address{Spec: "http://127.0.0.1:0"})
	_, port, _ := net.SplitHostPort(address)
	for _, host := range []string{"127.0.0.1", "localhost", "LocalHost", "[::1]"} {
		body := `{"url": "` + link + `"}`
		request := fmt.Sprintf("POST /api/v1/downloads HTTP/1.1\r\nHost: %s:%s\r\nOrigin: http://%[1]s:%[2]s\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", host, port, len(body), body)
		if status, text := send(t, address, request); status/100 != 2 {
			t.Errorf("%s: %d\n%s", host, status, text)
		}
		// The address typed in by a person.
		request = fmt.Sprintf("GET /api/v1/downloads HTTP/1.1\r\nHost: %s:%s\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n\r\n", host, port)
		if status, text := send(t, address, request); status != 200 {
			t.Errorf("%s: %d\n%s", host, status, text)
		}
	}
}

// send sends bytes over a connection of its own, and returns what comes.
func send(t testing.TB, address, request string) (status int, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, fmt.Sprint(resp.Header) + string(body)
}
