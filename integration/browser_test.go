package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// browse has a real browser open an address, until the test is over.
func browse(t testing.TB, address string) {
	t.Helper()
	cmd := chromium(t, address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its own group: all that it has started
		cmd.Wait()
	})
}

// chromium is a browser of its own for which evil.test and rebound.test are
// this machine.
func chromium(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		skip(t, "there is no chromium (apt install chromium)")
	}
	profile := t.TempDir()
	cmd := exec.Command(path, append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--user-data-dir=" + profile,
		"--host-resolver-rules=MAP *.test 127.0.0.1"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+profile, "XDG_CONFIG_HOME=", "XDG_CACHE_HOME=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// collector takes what hostile pages have to tell.
type collector struct {
	address string
	loaded  chan struct{}
	over    chan struct{}
	mu      sync.Mutex // guards read
	read    []string
}

func newCollector(t testing.TB) *collector {
	c := &collector{loaded: make(chan struct{}, 10), over: make(chan struct{}, 10)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/loaded":
			c.loaded <- struct{}{}
		case "/over":
			c.over <- struct{}{}
		case "/read":
			c.mu.Lock()
			defer c.mu.Unlock()
			c.read = append(c.read, string(body))
		}
	}))
	t.Cleanup(server.Close)
	c.address = server.URL
	return c
}

func await(t testing.TB, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("still not: %s", what)
	}
}

// obliging is a server that does all that it is asked to: what the browser
// does not keep from it, an agent without a guard would do.
type obliging struct {
	address string
	mu      sync.Mutex // guards asked
	asked   map[string]bool
}

func newObliging(t testing.TB) *obliging {
	s := &obliging{asked: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		typ, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked[r.Method] = true
		s.asked[fmt.Sprintf("%s %s with a body: %t", r.Method, typ, len(body) > 0)] = true
		s.asked["from "+r.Header.Get("Origin")] = true
		s.asked["for "+r.Header.Get("Sec-Fetch-Dest")] = true
		s.asked["to upgrade: "+r.Header.Get("Upgrade")] = true
	}))
	t.Cleanup(server.Close)
	s.address = server.URL
	return s
}

// guarded is an agent with two downloads that no web page may touch.
func guarded(t testing.TB) (s *site, link masvtest.Link, id string) {
	s = newSite(t, false)
	done := s.cloud.AddPackage(masvtest.Package{Name: "Here", Files: []masvtest.File{{Name: "a", Size: 1000}}})
	more := s.cloud.AddPackage(masvtest.Package{Name: "Under way", Files: []masvtest.File{{Name: "b", Size: 1 << 30}}})
	link = s.cloud.AddPackage(masvtest.Package{Name: "Not wanted", Files: []masvtest.File{{Name: "c", Size: 1000}}})
	s.cloud.SetRate(100 << 10)
	s.start()
	s.waitFor(s.add(done, ""), "complete")
	return s, link, s.add(more, "")
}

// untouched makes sure that all is as it was.
func untouched(t testing.TB, s *site, c *collector) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, read := range c.read {
		t.Errorf("a web page could read: %.300s", read)
	}
	var states []string
	for _, d := range s.list() {
		states = append(states, d.Name+": "+d.State)
	}
	if want := []string{"Here: complete", "Under way: transferring"}; !slices.Equal(states, want) {
		t.Errorf("downloads are %q, not %q", states, want)
	}
	var settings map[string]int64
	if s.call("GET", "/settings", "", &settings); settings["download_rate_limit"] != 0 {
		t.Errorf("settings are %v", settings)
	}
}

func TestWebPagesOfOthersDoNothingAndReadNothing(t *testing.T) {
	s, link, id := guarded(t)
	c, control := newCollector(t), newObliging(t)
	pages := httptest.NewServer(http.FileServer(http.Dir("testdata")))
	defer pages.Close()
	port := pages.Listener.Addr().(*net.TCPAddr).Port
	_, own, _ := strings.Cut(s.address, "127.0.0.1")
	visit := func(origin, target string) {
		q := url.Values{"target": {target}, "collector": {c.address}, "link": {link.URL()}, "id": {id}}
		browse(t, fmt.Sprintf("http://%s:%d/hostile.html?%s", origin, port, q.Encode()))
		await(t, "the page of "+origin+" has done its worst", c.over)
	}
	// The same page at a server without a guard: what it does there comes through.
	visit("evil.test", control.address)
	want := []string{"GET", "POST", "OPTIONS", "POST text/plain with a body: true", "POST application/x-www-form-urlencoded with a body: true",
		"POST multipart/form-data with a body: true", "POST  with a body: false", "from null", fmt.Sprintf("from http://evil.test:%d", port),
		"for image", "for script", "for style", "for video", "for object", "for iframe", "to upgrade: websocket"}
	control.mu.Lock()
	for _, w := range want {
		if !control.asked[w] {
			t.Errorf("the page does not even try: %s (but %v)", w, control.asked)
		}
	}
	control.mu.Unlock()

	visit("evil.test", s.address)
	visit("127.0.0.1", s.address)
	visit("localhost", "http://localhost"+own)
	untouched(t, s, c)
}

func TestAPageWhoseNameComesToMeanThisMachineDoesNothing(t *testing.T) {
	s, link, id := guarded(t)
	c := newCollector(t)
	s.signal(syscall.SIGTERM)

	// The attacker's server is where the agent will be: to the browser, the
	// name has been given another address.
	_, port, _ := strings.Cut(s.address, "127.0.0.1:")
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	attacker := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Attacker", "yes")
		http.ServeFile(w, r, filepath.Join("testdata", "hostile.html"))
	})}
	go attacker.Serve(l)
	defer attacker.Close()
	q := url.Values{"rebound": {"yes"}, "collector": {c.address}, "link": {link.URL()}, "id": {id}}
	browse(t, fmt.Sprintf("http://rebound.test:%s/?%s", port, q.Encode()))
	await(t, "the page is there", c.loaded)
	attacker.Close()
	s.start()
	await(t, "the page has done its worst", c.over)
	untouched(t, s, c)
}

func TestABrowserThatIsTypedTheAddressShowsTheAnswer(t *testing.T) {
	s, _, id := guarded(t)
	_, own, _ := strings.Cut(s.address, "127.0.0.1")
	for _, host := range []string{"127.0.0.1", "localhost"} {
		out, err := chromium(t, "--dump-dom", "http://"+host+own+"/api/v1/downloads").Output()
		if err != nil || !strings.Contains(string(out), id) {
			t.Errorf("%s: %v: %s", host, err, out)
		}
	}
}
