package integration

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// A misdeed is an answer that a cloud or its storage gives to spite whoever
// asks, to one kind of call.
type misdeed struct {
	name   string
	at     string // "link", "list", "url" or "storage"
	answer func(w io.Writer)

	asked atomic.Int64 // how often
	most  atomic.Int64 // bytes that were taken of one answer
}

// counted counts what is written.
type counted struct {
	io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// forever writes text again and again, until nobody wants more.
func forever(head, text string) func(w io.Writer) {
	block := strings.Repeat(text, 1+(64<<10)/len(text))
	return func(w io.Writer) {
		_, err := io.WriteString(w, head)
		for err == nil {
			_, err = io.WriteString(w, block)
		}
	}
}

// slowly writes a byte a second.
func slowly(text string) func(w io.Writer) {
	return func(w io.Writer) {
		var err error
		for i := 0; err == nil; i++ {
			_, err = io.WriteString(w, text[i%len(text):][:1])
			time.Sleep(time.Second)
		}
	}
}

// bomb writes a little that would become much.
func bomb(head string) func(w io.Writer) {
	return func(w io.Writer) {
		if _, err := io.WriteString(w, head); err != nil {
			return
		}
		z := gzip.NewWriter(w)
		forever(`{"a": "`, strings.Repeat("x", 1<<20))(z)
	}
}

const (
	ok      = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
	jsonOK  = ok + "\r\n"
	huge    = "Content-Length: 10737418240\r\n\r\n"
	partOK  = "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nContent-Range: bytes 0-999/1000\r\n"
	chunked = "Transfer-Encoding: chunked\r\n\r\n"
)

func misdeeds() []*misdeed {
	var all []*misdeed
	for _, at := range []string{"link", "list", "url", "storage"} {
		all = append(all,
			&misdeed{name: "a status line without end", at: at, answer: forever("HTTP/1.1 200 ", "O")},
			&misdeed{name: "a header without end", at: at, answer: forever("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n")},
			&misdeed{name: "a line of a header without end", at: at, answer: forever("HTTP/1.1 200 OK\r\nX: ", "x")},
			&misdeed{name: "early hints without end", at: at, answer: forever("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")},
			&misdeed{name: "an error of 10 GiB", at: at, answer: forever("HTTP/1.1 500 No\r\nContent-Type: application/json\r\n"+huge+`{"message":"`, "x")},
			&misdeed{name: "a refusal without end", at: at, answer: forever("HTTP/1.1 404 No\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n", "no ")},
			&misdeed{name: "a redirect with a body without end", at: at, answer: forever("HTTP/1.1 302 There\r\nLocation: ?\r\n"+huge, "x")},
			&misdeed{name: "a redirect to a place without end", at: at, answer: forever("HTTP/1.1 302 There\r\nLocation: /", "x")},
			&misdeed{name: "chunks with names without end", at: at, answer: forever(ok+chunked+"1;", "x")},
			&misdeed{name: "a header that trickles", at: at, answer: slowly("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1000))},
		)
	}
	for _, at := range []string{"link", "list", "url"} {
		all = append(all,
			&misdeed{name: "a body without end", at: at, answer: forever(jsonOK+`{"url":"`, "x")},
			&misdeed{name: "white space without end", at: at, answer: forever(jsonOK, " ")},
			&misdeed{name: "brackets without end", at: at, answer: forever(jsonOK, "[")},
			&misdeed{name: "members without end", at: at, answer: forever(jsonOK+`{"a":1`, `,"b":{"c":1}`)},
			&misdeed{name: "a compressed body without end", at: at, answer: bomb(ok + "Content-Encoding: gzip\r\n\r\n")},
		)
	}
	return append(all,
		&misdeed{name: "an entry without end", at: "list", answer: forever(jsonOK+`[{"id":"1","kind":"file","name":"`, "x")},
		&misdeed{name: "an entry of many members without end", at: "list", answer: forever(jsonOK+`[{"id":"1"`, `,"x":[1,2,3]`)},
		&misdeed{name: "a body that trickles", at: "link", answer: slowly(jsonOK + strings.Repeat(" ", 1000))},
		&misdeed{name: "a part that goes on", at: "storage", answer: forever(partOK+"\r\n", "x")},
		&misdeed{name: "a part that is announced longer", at: "storage", answer: forever(partOK+huge, "x")},
		&misdeed{name: "a part in chunks that go on", at: "storage", answer: forever(partOK+chunked, "4\r\nxxxx\r\n")},
		&misdeed{name: "a part and a trailer without end", at: "storage", answer: forever(partOK+chunked+"4\r\nxxxx\r\n0\r\n", "X: x\r\n")},
		&misdeed{name: "a whole that goes on", at: "storage", answer: forever("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "x")},
		&misdeed{name: "a compressed part without end", at: "storage", answer: bomb(partOK + "Content-Encoding: gzip\r\n\r\n")},
		&misdeed{name: "a page without end", at: "storage", answer: forever("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n", "<p>")},
	)
}

// spite is a cloud that answers as it should but for one misdeed a link.
type spite struct {
	address  string
	misdeeds []*misdeed
}

func newSpite(t testing.TB, misdeeds []*misdeed) *spite {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &spite{address: "http://" + l.Addr().String(), misdeeds: misdeeds}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

// linkTo is the link whose package the n-th misdeed is done to.
func linkTo(n int) string {
	return fmt.Sprintf("https://get.massive.io/01D2TMG9F5GHMHX8RWZ4%06d?secret=s", n)
}

func (s *spite) serve(conn net.Conn) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	at, id := "storage", ""
	switch part := strings.Split(strings.Trim(r.URL.Path, "/"), "/"); {
	case part[0] == "links":
		at, id = "link", part[1][20:]
	case part[0] == "packages" && len(part) == 3:
		at, id = "list", part[1]
	case part[0] == "packages":
		at, id = "url", part[1]
	case part[0] == "storage":
		id = part[1]
	default:
		io.WriteString(conn, "HTTP/1.1 404 No\r\nConnection: close\r\n\r\n")
		return
	}
	n, err := strconv.Atoi(id)
	if err != nil {
		return
	}
	if n < len(s.misdeeds) && s.misdeeds[n].at == at {
		m := s.misdeeds[n]
		m.asked.Add(1)
		w := &counted{Writer: conn}
		m.answer(w)
		for most := m.most.Load(); w.n > most && !m.most.CompareAndSwap(most, w.n); most = m.most.Load() {
		}
		return
	}
	switch at {
	case "link":
		fmt.Fprintf(conn, "%s{\"package_id\":\"%d\",\"name\":\"Package %[2]d\",\"package_token\":\"t\"}", jsonOK, n)
	case "list":
		fmt.Fprintf(conn, "%s[{\"id\":\"f\",\"kind\":\"file\",\"name\":\"f\",\"size\":1000}]", jsonOK)
	case "url":
		fmt.Fprintf(conn, "%s{\"url\":\"%s/storage/%d\"}", jsonOK, s.address, n)
	case "storage":
		fmt.Fprintf(conn, "%sContent-Length: 1000\r\n\r\n", partOK)
		io.CopyN(conn, masvtest.Reader(1, 1000), 1000)
	}
}

// TestAnswersWithoutEndEnd has a cloud and its storage answer with too much, or
// too slowly. Of none is more taken than there is room for, all end in an error
// or in another attempt, and what is well is not held up.
func TestAnswersWithoutEndEnd(t *testing.T) {
	t.Parallel()
	all := misdeeds()
	cloud := newSpite(t, all)
	s := newSite(t, false, "--api-url", cloud.address, "--max-active", "1000", "--connections", "256")
	s.start()
	var ids []string
	for n := range len(all) + 1 { // the last one is well
		var added download
		if status := s.call("POST", "/downloads", fmt.Sprintf(`{"url": %q}`, linkTo(n)), &added); status != http.StatusCreated {
			t.Fatalf("POST answers %d", status)
		}
		ids = append(ids, added.ID)
	}
	s.waitFor(ids[len(all)], "complete")
	for n, m := range all {
		var d download
		s.until(m.at+": "+m.name, func() bool {
			d = s.get(ids[n])
			return d.State == "error" || d.State == "complete" || m.asked.Load() > 1
		})
		if d.State == "error" && (d.Error == nil || d.Error.Message == "") {
			t.Errorf("%s: %s: it does not say why", m.at, m.name)
		}
		// What the kernel holds on both sides counts, too.
		if most := m.most.Load(); most > 12<<20 {
			t.Errorf("%s: %s: %d bytes were taken", m.at, m.name, most)
		}
	}
	if peak := s.peak(); peak > 160<<20 {
		t.Errorf("%d MiB of memory were needed", peak>>20)
	} else {
		t.Logf("%d answers, %d MiB of memory at most", len(all), peak>>20)
	}
	s.signal(syscall.SIGTERM)
}

// peak returns the most memory that the agent ever had, in bytes.
func (s *site) peak() int64 {
	s.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		s.t.Fatal(err)
	}
	return kib << 10
}
