package integration

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// astray is a cloud with a storage, at an address of this machine that others
// have for it, that sends whoever asks to other places: the n-th link's package
// to the n-th place, by one of four ways.
type astray struct {
	address string
	places  []string
	mu      sync.Mutex // guards told
	told    []string   // secrets that came along to where they had no business
}

var turnings = []string{"the file's address", "a redirect for it", "a redirect of the storage", "a redirect of the API"}

func (a *astray) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := append(strings.Split(strings.Trim(r.URL.Path, "/"), "/"), "")
	id := part[1]
	if part[0] == "links" {
		id = id[20:]
	}
	n, err := strconv.Atoi(id)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	place, way := "", ""
	if n < len(turnings)*len(a.places) {
		place, way = a.places[n/len(turnings)], turnings[n%len(turnings)]
	}
	switch {
	case part[0] == "links":
		fmt.Fprintf(w, `{"package_id":"%d","name":"Package %[1]d","package_token":"Z6token"}`, n)
	case part[0] == "storage":
		if s := fmt.Sprint(r.Header, r.URL); strings.Contains(s, "Z6token") || r.Header.Get("Referer") != "" {
			a.mu.Lock()
			a.told = append(a.told, s)
			a.mu.Unlock()
		}
		if way == turnings[2] {
			w.Header().Set("Location", place)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("Content-Range", "bytes 0-999/1000")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(make([]byte, 1000))
	case len(part) == 4 && way == turnings[3]:
		w.Header().Set("Location", place)
		w.WriteHeader(http.StatusFound)
	case len(part) == 4:
		fmt.Fprint(w, `[{"id":"f","kind":"file","name":"f","size":1000}]`)
	case way == turnings[0]:
		fmt.Fprintf(w, `{"url": %q}`, place)
	case way == turnings[1]:
		w.Header().Set("Location", place)
		w.WriteHeader(http.StatusFound)
	default:
		fmt.Fprintf(w, `{"url": "%s/storage/%d"}`, a.address, n)
	}
}

// TestNoAnswerLeadsAstray has a cloud that lives elsewhere send the agent to
// this machine, to its line, to its files and to other schemes. Nobody is asked
// there, and each download ends in an error that says why.
func TestNoAnswerLeadsAstray(t *testing.T) {
	t.Parallel()
	door, err := net.Listen("tcp", "[::]:0")
	if err != nil {
		if door, err = net.Listen("tcp", "0.0.0.0:0"); err != nil {
			t.Fatal(err)
		}
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("something on this machine was asked: %s%s", r.Host, r.URL)
		w.Header().Set("Content-Range", "bytes 0-999/1000")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(make([]byte, 1000))
	})}
	go server.Serve(door)
	defer server.Close()
	_, port, _ := net.SplitHostPort(door.Addr().String())
	local := filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, make([]byte, 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	a := &astray{}
	// To some resolvers these are addresses; to others names, which may be known
	// another time.
	perhaps := []string{"0", "2130706433", "0x7f000001", "017700000001", "127.1", "x.localhost"}
	for _, host := range append([]string{
		"127.0.0.1", "127.9.9.9", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]",
		"user:password@127.0.0.1", "169.254.169.254", "[fe80::1]", "[fd00:ec2::254]",
	}, perhaps...) {
		a.places = append(a.places, "http://"+host+":"+port+"/file")
	}
	a.places = append(a.places, "file://"+local, "file:"+local, local, "/../../.."+local, "ftp://127.0.0.1:"+port+"/x", "gopher://127.0.0.1:"+port+"/x",
		"unix://"+local, "data:text/plain,x", "javascript:alert(1)", "//127.0.0.1:"+port+"/file", "http:///file", "http://:"+port+"/file", "https://127.0.0.1:"+port+"/file")
	l, err := net.Listen("tcp", outside(t)+":0")
	if err != nil {
		t.Fatal(err)
	}
	a.address = "http://" + l.Addr().String()
	cloud := &http.Server{Handler: a}
	go cloud.Serve(l)
	defer cloud.Close()

	s := newSite(t, false, "--api-url", a.address, "--max-active", "1000", "--connections", "256")
	s.start()
	var ids []string
	for n := range len(turnings)*len(a.places) + 1 {
		var added download
		if status := s.call("POST", "/downloads", fmt.Sprintf(`{"url": %q}`, linkTo(n)), &added); status != http.StatusCreated {
			t.Fatalf("POST answers %d", status)
		}
		ids = append(ids, added.ID)
	}
	s.waitFor(ids[len(ids)-1], "complete") // that cloud is not shunned
	for n, id := range ids[:len(ids)-1] {
		var d download
		place := a.places[n/len(turnings)]
		if slices.ContainsFunc(perhaps, func(host string) bool { return strings.Contains(place, "/"+host+":") }) {
			if d = s.get(id); d.State == "complete" || d.BytesDone != 0 {
				t.Errorf("%s to %s: %s", turnings[n%len(turnings)], place, d.State)
			}
			continue
		}
		s.until("an end of "+turnings[n%len(turnings)]+" to "+place, func() bool {
			d = s.get(id)
			return d.State == "error" || d.State == "complete"
		})
		if d.State != "error" || d.Error == nil || d.Error.Message == "" || d.FilesDone != 0 {
			t.Errorf("%s to %s: %s, %+v", turnings[n%len(turnings)], place, d.State, d.Error)
		}
	}
	for _, told := range a.told {
		t.Errorf("the storage was told %s", told)
	}
	t.Logf("%d answers that led elsewhere", len(ids)-1)
	s.signal(syscall.SIGTERM)
}
