package transfer

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// echo is a storage that sends back what it is asked for, in an answer that
// cannot be parsed, and hangs up.
func echo(t testing.TB, answer string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					fmt.Fprintf(conn, strings.ReplaceAll(answer, "ECHO", "%[1]s"), r.URL)
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestAStorageThatQuotesTheURLDoesNotGetItIntoTheLog(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":                 "ECHO\r\n\r\n",
		"a status that is none":   "HTTP/1.1 ECHO\r\n\r\n",
		"a header that is none":   "HTTP/1.1 206 OK\r\nECHO\r\n\r\n",
		"a length that is none":   "HTTP/1.1 206 OK\r\nContent-Length: ECHO\r\n\r\n",
		"an unknown coding":       "HTTP/1.1 206 OK\r\nTransfer-Encoding: ECHO\r\n\r\n",
		"an encoding":             "HTTP/1.1 206 OK\r\nContent-Range: bytes 0-99/100\r\nContent-Encoding: ECHO\r\n\r\n",
		"a range":                 "HTTP/1.1 206 OK\r\nContent-Range: bytes ECHO\r\n\r\n",
		"a length beyond the end": "HTTP/1.1 416 OK\r\nContent-Range: bytes */ECHO\r\nContent-Length: 0\r\n\r\n",
		"a redirect to nowhere":   "HTTP/1.1 302 OK\r\nLocation: http://[ECHO\r\nContent-Length: 0\r\n\r\n",
		"a redirect elsewhere":    "HTTP/1.1 302 OK\r\nLocation: gopher://xECHO\r\nContent-Length: 0\r\n\r\n",
		"a refusal":               "HTTP/1.1 403 ECHO\r\nContent-Length: 10000\r\n\r\nECHO",
		"a chunk that is none":    "HTTP/1.1 206 OK\r\nContent-Range: bytes 0-99/100\r\nTransfer-Encoding: chunked\r\n\r\nECHO\r\n",
		"a trailer that is none":  "HTTP/1.1 206 OK\r\nContent-Range: bytes 0-99/100\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nECHO\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorage(t)
			p := newTape(t, s)
			o := s.add(1, 100)
			address, asked := echo(t, answer), 0
			p.add(1, o).Source.(*source).answer = func(n int, _ string) (string, error) {
				if asked = n; n <= 6 {
					return address + "/object?signature=topsecret", nil
				}
				return "", Permanent(errors.New("enough"))
			}
			log := new(lockedBuffer)
			p.run(newEngine(t, Config{Log: log.logger()}))
			if p.done[1] == nil || asked < 2 {
				t.Errorf("done: %v, after %d URLs", p.done[1], asked)
			}
			if text := log.String() + p.done[1].Error(); strings.Contains(text, "topsecret") {
				t.Errorf("the signature is told: %s", text)
			}
		})
	}
}

// barring is a transport that lets nothing out.
type barring struct{ error }

func (b barring) Forbidden() bool { return true }
func (b barring) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: b}
}

func TestAURLThatLeadsToWhereItMustNotIsNoGood(t *testing.T) {
	s := newStorage(t)
	p := newTape(t, s)
	f := p.add(1, s.add(1, 100))
	p.run(newEngine(t, Config{Transport: barring{errors.New("127.0.0.1 is this machine itself")}}))
	if err := p.done[1]; !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "127.0.0.1 is this machine itself") {
		t.Errorf("done: %v", err)
	}
	if n := len(f.Source.(*source).asked()); n != refusalsToFail {
		t.Errorf("%d URLs were asked for", n)
	}
}
