package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

// secrets are texts that are looked for, in every form in which they may be
// written, by what each of them is.
type secrets struct {
	t     testing.TB
	forms map[string][]string
	mu    sync.Mutex // guards places
	where map[string]bool
}

func newSecrets(t testing.TB) *secrets {
	return &secrets{t: t, forms: map[string][]string{
		// These are made by the cloud: how they begin is known.
		"a package token": {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))},
		"a signed URL":    {"signature="},
	}, where: map[string]bool{}}
}

func (s *secrets) add(what, text string) string {
	s.forms[what] = append(s.forms[what], text, url.QueryEscape(text), url.PathEscape(text), fmt.Sprintf("%q", text),
		base64.StdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text)))
	return text
}

// mustHide fails the test where a text that leaves the program holds a secret.
func (s *secrets) mustHide(place, text string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.where[place] = s.where[place] || text != ""
	for what, forms := range s.forms {
		for _, form := range forms {
			if i := strings.Index(text, form); i >= 0 {
				s.t.Errorf("%s shows %s: %.600s", place, what, text[max(0, i-300):])
				break
			}
		}
	}
}

// closedProxy is one that asks for a password.
func closedProxy(t testing.TB, password string) (address string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+password))
		if r.Header.Get("Proxy-Authorization") != want {
			http.Error(w, "you sent "+r.Header.Get("Proxy-Authorization"), http.StatusProxyAuthRequired)
			return
		}
		(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}, ErrorLog: log.New(io.Discard, "", 0)}).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// outside returns an address of this machine that others have for it.
func outside(t testing.TB) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	skip(t, "this machine is on no network")
	return ""
}

// TestNoSecretIsToldAnywhere puts a secret of its own into every place where
// one can come in, and looks for it in every place where text goes out.
func TestNoSecretIsToldAnywhere(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) { tellsNothing(t, format) })
	}
}

func tellsNothing(t *testing.T, format string) {
	if os.Geteuid() != 0 {
		skip(t, "it takes root to run the agent as another user and watch whom it calls")
	}
	for _, tool := range []string{"strace", "getfattr", "fusermount3"} {
		if _, err := exec.LookPath(tool); err != nil {
			skip(t, "needs "+tool)
		}
	}
	found := newSecrets(t)
	s := newSite(t, true, "--log-level", "debug", "--log-format", format, "--max-active", "50")
	base := s.open()
	// An API elsewhere is reached through the proxy; one on this machine never is.
	s.cloud.Close()
	s.cloud = masvtest.NewServer(masvtest.WithAPIAddr(outside(t)+":0"), masvtest.WithStorageAddr(outside(t)+":0"))
	t.Cleanup(s.cloud.Close)
	through := "http://user:" + found.add("the proxy's password", "Z1proxy-pass") + "@" + closedProxy(t, "Z1proxy-pass")
	found.add("the proxy's password", "user:Z1proxy-pass")
	s.env = []string{"HTTP_PROXY=" + through, "HTTPS_PROXY=" + through, "http_proxy=" + through, "https_proxy=" + through, "NO_PROXY=", "no_proxy="}

	token := filepath.Join(base, "token")
	access := found.add("the access token", "Z2access token/with+signs&more")
	if err := os.WriteFile(token, []byte(access+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.extra = append(s.extra, "--token-file", token)

	// As an ordinary user it has fusermount3 mount, which is watched with its
	// environment. Nothing holds a core back but what the program does itself.
	trace := filepath.Join(base, "trace")
	cores := filepath.Join(base, "cores")
	for _, dir := range []string{base, cores} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(token, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	s.under = []string{"sh", "-c", `ulimit -c unlimited; cd "$0"; exec "$@"`, cores,
		"strace", "-D", "-f", "-v", "-s", "100000", "-e", "trace=execve", "-o", trace, "-u", "nobody"}
	s.launch()

	ask := func(method, path, typ, body string) (status int, text string) {
		t.Helper()
		r, err := http.NewRequest(method, s.address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", typ)
		r.Header.Set("Authorization", "Bearer "+access)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, ""
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(resp.Body)
		text = fmt.Sprint(resp.Header) + string(data)
		found.mustHide("the answer to "+method+" "+path[:min(len(path), 24)], text)
		return resp.StatusCode, text
	}
	rest := func(method, path, body string) (int, string) {
		return ask(method, "/api/v1"+path, "application/json", body)
	}
	s.until("it answers", func() bool { status, _ := rest("GET", "/downloads", ""); return status == 200 })

	drop := func(name, content string) {
		t.Helper()
		tmp := filepath.Join(base, name)
		if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(tmp, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(s.inbox, name)); err != nil {
			t.Fatal(err)
		}
	}

	// Links of all fates, in by file and by REST.
	files := []masvtest.File{{Name: "a", Size: 3000}, {Name: "b", Path: "in", Size: 3000}}
	n := 0
	send := func(p masvtest.Package) (masvtest.Link, string) {
		n++
		p.Name = fmt.Sprint("Package ", n)
		if p.Files == nil {
			p.Files = files
		}
		link := s.cloud.AddPackage(p)
		found.add("the secret of link "+link.ID, link.Secret)
		return link, link.URL()
	}
	password := func(where string) string { return found.add("the password "+where, "Z3 "+where+` "p&ss`) }

	inFile := password("in a link file")
	_, one := send(masvtest.Package{Password: inFile})
	drop("one.masvlink", one+"\npassword = "+inFile+"\n")
	inJSON := password("in a JSON file")
	_, two := send(masvtest.Package{Password: inJSON})
	drop("two.masvlink", fmt.Sprintf(`[{"url": %q, "password": %q}]`, two, inJSON))
	inREST := password("in a call")
	_, three := send(masvtest.Package{Password: inREST})
	rest("POST", "/downloads", fmt.Sprintf(`{"url": %q, "password": %q}`, three, inREST))
	// A wrong password, then the right one.
	right := password("that was right")
	asked, four := send(masvtest.Package{Password: right})
	wrong := password("that was wrong")
	rest("POST", "/downloads", fmt.Sprintf(`{"url": %q, "password": %q}`, four, wrong))
	// A cloud that says again what it was told, and one whose storage does.
	echoed, five := send(masvtest.Package{})
	silent, six := send(masvtest.Package{})
	gone, seven := send(masvtest.Package{})
	said := fmt.Sprintf(`{"message": "no such thing as %s %s %s"}`, echoed.Secret, url.QueryEscape(echoed.Secret), wrong)
	s.cloud.Fault(func(r masvtest.Request) *masvtest.Fault {
		switch {
		case r.LinkID == echoed.ID && r.Call == masvtest.CallLink:
			return &masvtest.Fault{Status: 403, Body: said}
		case r.LinkID == silent.ID && r.Call == masvtest.CallLink:
			return &masvtest.Fault{Ending: masvtest.EndReset, After: masvtest.BeforeHeader}
		case r.LinkID == gone.ID && r.Call == masvtest.CallStorage:
			return &masvtest.Fault{Status: 403}
		}
		return nil
	})
	rest("POST", "/downloads", fmt.Sprintf(`{"url": %q, "password": %q}`, five, wrong))
	drop("six.masvlink", six)
	drop("seven.masvlink", seven)

	// What is refused, in all the ways there are.
	_, bad := send(masvtest.Package{})
	typo := strings.Replace(bad, "get.massive.io", "get.masive.io", 1)
	lost := password("that was refused")
	for i, content := range []string{
		typo, bad + "&secret=other", strings.Replace(bad, "?secret", "?", 1), strings.Replace(bad, "https", "ftp", 1), strings.ToLower(bad[:40]) + "\x00" + bad[40:],
		bad + "\n" + bad + " = x", "password = " + lost, bad + "\npass word = " + lost, bad + "\n" + lost + " = password", bad + "\npassword = " + lost + "\npassword = " + lost,
		fmt.Sprintf(`{"url": %q, "password": 1, "x": %q}`, bad, lost), fmt.Sprintf(`{"url": %q, %q: 1}`, bad, lost), fmt.Sprintf(`{"url": %q, "password": [%q]}`, bad, lost),
		fmt.Sprintf(`{"url": %q, "password": %q`, bad, lost), fmt.Sprintf(`[%q]`, bad), fmt.Sprintf(`{%q: "url"}`, bad), fmt.Sprintf(`{"url": %q, "dst_folder": "/etc", "password": %q}`, bad, lost),
		fmt.Sprintf(`{"url": %q, "priority": %q}`, bad, lost), fmt.Sprintf(`{"url": %q} %s`, bad, lost), fmt.Sprintf(`{"url": %q}`, typo),
	} {
		drop(fmt.Sprintf("bad %d.masvlink", i), content+"\n")
		for _, typ := range []string{"application/json", "text/plain", "application/x-www-form-urlencoded"} {
			ask("POST", "/api/v1/downloads", typ, content)
		}
		q := url.QueryEscape(content)
		for _, path := range []string{"/downloads?" + q, "/downloads?state=" + q, "/downloads/" + q, "/downloads/" + q + "/pause?files=" + q, "/" + q} {
			rest("GET", path, "")
			rest("POST", path, content)
		}
	}
	drop("bad.url", "[InternetShortcut]\nURL="+typo+"\n")
	drop("bad.webloc", "<plist><dict><key>URL</key><string>"+typo+"</string></dict></plist>")
	drop("bad.desktop", "[Desktop Entry]\nType=Link\nURL="+typo+"\n")
	rejected := filepath.Join(s.inbox, "rejected")
	s.until("all bad ones are rejected", func() bool {
		all, _ := filepath.Glob(filepath.Join(rejected, "*.error.txt"))
		return len(all) >= 20
	})
	complete := func() int {
		_, text := rest("GET", "/downloads?state=complete", "")
		return strings.Count(text, `"download_id"`)
	}
	s.until("three are complete", func() bool { return complete() == 3 })
	s.until("three are in error", func() bool {
		_, text := rest("GET", "/downloads?state=error", "")
		return strings.Count(text, `"download_id"`) == 3
	})

	// The command line, its errors too.
	command := func(input string, args ...string) string {
		cmd := exec.Command(program, args...)
		cmd.Env = append(environment(t), "MASVFS_LISTEN="+s.address, "MASVFS_TOKEN_FILE="+token)
		cmd.Env = append(cmd.Env, s.env...)
		cmd.Stdin = strings.NewReader(input)
		out, _ := cmd.CombinedOutput()
		found.mustHide("masvfs "+args[0], string(out))
		return string(out)
	}
	if err := os.Chown(token, 0, 0); err != nil { // the commands are root's here
		t.Fatal(err)
	}
	byCommand := password("by command")
	_, eight := send(masvtest.Package{Password: byCommand})
	command(byCommand+"\n", "add", "--password-file", "-", eight)
	command(typo+"\n", "add", "-")
	command("", "add", typo)
	command("", "add", strings.TrimPrefix(typo, "https://"))
	command("", "add", bad+"&secret=x", "--name", "x")
	command("", "ls")
	command("", "ls", "--json")
	command("", "doctor", "--inbox", s.inbox, "--state-dir", s.state, "--mount=", "--dst-folder", s.downloads)
	userinfo := found.add("a password in an address", "Z4userinfo")
	for _, flag := range []string{"--api-url", "--listen"} {
		for _, address := range []string{"https://user:" + userinfo + "@example.com/v1", "://user:" + userinfo + "@example.com", "https://user:" + userinfo + "@exa mple.com:x", "unix://user:" + userinfo + "@x/y", "ftp://" + userinfo + "@h"} {
			for _, name := range []string{"run", "doctor", "ls"} {
				if name != "ls" {
					command("", name, "--mount=", "--inbox", base+"/i", "--state-dir", base+"/s", "--dst-folder", base+"/d", flag, address)
				} else if flag == "--listen" {
					command("", name, flag, address)
				}
			}
		}
	}
	var failed string
	_, list := rest("GET", "/downloads", "")
	for _, object := range strings.Split(list, "\n") {
		_, id, ok := strings.Cut(object, `"download_id":"`)
		if !ok {
			continue
		}
		id = id[:36]
		if strings.Contains(object, asked.ID) {
			failed = id
		}
		rest("GET", "/downloads/"+id, "")
		command("", "status", id)
		command("", "status", "--json", id)
		command("", "pause", id)
		command("", "resume", id)
	}
	rest("POST", "/downloads/"+failed+"/resume", fmt.Sprintf(`{"password": %q, %q: 1}`, right, right))
	rest("POST", "/downloads/"+failed+"/resume", fmt.Sprintf(`{"password": {"is": %q}}`, right))
	rest("POST", "/downloads/"+failed+"/resume", fmt.Sprintf(`{"password": %q}`, right))
	s.until("five are complete", func() bool { return complete() == 5 })

	// The mount: names, contents, attributes; as its owner, whose it is alone.
	out, err := asNobody(t, nil, "sh", "-c", `find "$0" -print -type f -exec head -c 2000 {} \; && getfattr -R -d -m - "$0"`, s.mount)
	if err != nil || !strings.Contains(out, "user.masv.state") {
		t.Errorf("the mount: %v: %s", err, out)
	}
	found.mustHide("the mount", out)
	// What lies beside the files that were refused.
	for _, folder := range []string{rejected, s.downloads} {
		filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			found.mustHide("a name in "+filepath.Base(folder), path)
			if err == nil && strings.HasSuffix(path, ".error.txt") {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Error(err)
				}
				found.mustHide("an explanation", string(data))
			}
			return nil
		})
	}
	// What others see of it in the list of processes.
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.process.Process.Pid))
	if err != nil || !bytes.Contains(cmdline, []byte("masvfs")) {
		t.Errorf("%q, %v", cmdline, err)
	}
	found.mustHide("the list of processes", string(cmdline))

	// Its last words.
	s.signal(syscall.SIGQUIT)
	if !strings.Contains(s.log.String(), "goroutine ") {
		t.Error("there is no dump of goroutines")
	}
	found.mustHide("the log", s.log.String())
	if left, err := os.ReadDir(cores); err != nil || len(left) > 0 {
		t.Errorf("a core is left: %v, %v", left, err)
	}
	// Whom it has called, with which arguments and environment. It itself and
	// what starts it has what the operator gave it.
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(calls), "\n"), func(line string) bool { return !strings.Contains(line, "fusermount3") })
	if len(lines) == 0 {
		t.Errorf("it has not called fusermount3: %s", calls)
	}
	found.mustHide("a child's arguments and environment", strings.Join(lines, "\n"))

	for _, place := range []string{"the mount", "the log", "an explanation", "masvfs ls", "masvfs status", "masvfs run", "masvfs add", "a child's arguments and environment"} {
		if !found.where[place] {
			t.Errorf("there was no text: %s", place)
		}
	}
}

func TestTheDatabaseForgetsTheSecretsOfWhatIsComplete(t *testing.T) {
	t.Parallel()
	s := newSite(t, false)
	link := s.cloud.AddPackage(masvtest.Package{Name: "Done", Password: "Z5 password", Files: []masvtest.File{{Name: "a", Size: 4 << 20}}})
	s.cloud.SetRate(1 << 20)
	s.start()
	id := s.add(link, `, "password": "Z5 password"`)
	holds := func() (held []string) {
		filepath.WalkDir(s.state, func(path string, d fs.DirEntry, err error) error {
			if data, err := os.ReadFile(path); err == nil {
				for what, text := range map[string]string{"the link's secret": link.Secret, "the password": "Z5 password", "the token": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`))} {
					if strings.Contains(string(data), text) {
						held = append(held, what+" in "+d.Name())
					}
				}
			}
			return nil
		})
		return held
	}
	if held := holds(); len(held) < 2 {
		t.Errorf("while it is needed it is not there: %v", held)
	}
	s.waitFor(id, "complete")
	s.signal(syscall.SIGTERM)
	if held := holds(); len(held) > 0 {
		t.Errorf("the database still holds %v", held)
	}
}
