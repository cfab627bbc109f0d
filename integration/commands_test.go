package integration

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"masvfs/fetch/masv/masvtest"
)

func TestTheDemoEndsByItselfAndLeavesNothing(t *testing.T) {
	t.Parallel()
	needFUSE(t)
	tmp := t.TempDir()
	cmd := exec.Command(program, "demo", "--once")
	cmd.Env = append(environment(t), "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "is complete") || !strings.Contains(string(out), "A001_C001") {
		t.Errorf("%v: %s", err, out)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if data, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(data), tmp) {
		t.Errorf("still mounted: %v", err)
	}
}

func TestTheCallsOfTheREADMEWorkAsTheyStand(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		skip(t, "needs curl (apt install curl)")
	}
	s := newSite(t, false)
	link := s.cloud.AddPackage(rushes())
	s.start()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var id string
	ran := 0
	for line := range strings.Lines(string(readme)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "curl ") {
			continue
		}
		ran++
		line = strings.NewReplacer(
			"http://localhost:8080", s.address,
			"https://get.massive.io/ID?secret=SECRET", link.URL(),
			"/srv/media", s.downloads,
			"DOWNLOAD_ID", id,
		).Replace(line)
		cmd := exec.Command("sh", "-c", line+` -sS --noproxy '*' -w '\n%{http_code}'`)
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		body, status, _ := strings.Cut(string(out), "\n")
		if i := strings.LastIndexByte(string(out), '\n'); i >= 0 {
			body, status = string(out)[:i], string(out)[i+1:]
		}
		want := "2"
		if strings.Contains(line, "remove_files") {
			want = "404" // the call before it has deleted the download
		}
		if !strings.HasPrefix(status, want) {
			t.Errorf("%s answers %s: %s", line, status, body)
		}
		var added download
		if json.Unmarshal([]byte(body), &added) == nil && id == "" {
			id = added.ID
		}
	}
	if ran != 7 {
		t.Errorf("%d calls were found", ran)
	}
}

func TestCommandsTalkToTheAgent(t *testing.T) {
	s := newSite(t, false)
	link := s.cloud.AddPackage(masvtest.Package{Name: "Commanded", Files: []masvtest.File{{Name: "a.bin", Size: 32 << 20}}, Password: "hunter2"})
	s.cloud.SetRate(1 << 20)
	s.start()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ok := func(args ...string) string {
		t.Helper()
		out, err := s.masvfs(args...)
		if err != nil {
			t.Error(err)
		}
		return out
	}
	var added []download
	if err := json.Unmarshal([]byte(ok("add", "--json", "--password-file", password, link.URL())), &added); err != nil || len(added) != 1 {
		t.Fatalf("%v: %+v", err, added)
	}
	short := added[0].ID[:8]
	s.until("bytes", func() bool { return s.get(added[0].ID).BytesDone > 0 })
	if out := ok("pause", short); !strings.Contains(out, "paused") {
		t.Errorf("pause says %q", out)
	}
	if out := ok("ls"); !strings.Contains(out, "Commanded") || !strings.Contains(out, "paused") {
		t.Errorf("ls says %q", out)
	}
	var all []download
	if err := json.Unmarshal([]byte(ok("ls", "--json", "--state", "paused")), &all); err != nil || len(all) != 1 {
		t.Errorf("ls --json: %v, %+v", err, all)
	}
	if out := ok("status", short); !strings.Contains(out, "a.bin") || strings.Contains(out, link.Secret) {
		t.Errorf("status says %q", out)
	}
	s.cloud.SetRate(0)
	if out := ok("resume", "--all"); !strings.Contains(out, "1") {
		t.Errorf("resume says %q", out)
	}
	s.waitFor(added[0].ID, "complete")
	if out := ok("rm", short, "--remove-files"); !strings.Contains(out, "deleted") {
		t.Errorf("rm says %q", out)
	}
	if all := s.list(); len(all) != 0 {
		t.Errorf("still there: %+v", all)
	}
}

func TestMistakesAreWrongUsageAndSayWhatToDo(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("max-active = 2\ndst-foldr = \"/srv\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, false)
	tests := []struct {
		args []string
		exit int
		says string
	}{
		{[]string{"frobnicate"}, 2, "frobnicate"},
		{[]string{"run", "--no-such-flag"}, 2, "no-such-flag"},
		{[]string{"run", "--max-active", "many"}, 2, "max-active"},
		{[]string{"run", "--max-active", "0"}, 2, "between 1 and"},
		{[]string{"run", "--download-rate-limit", "fast"}, 2, "50MB"},
		{[]string{"run", "--names", "short"}, 2, "--names"},
		{[]string{"run", "--config", config}, 2, "dst-foldr"},
		{[]string{"run", "--mount", s.inbox + "/live", "--inbox", s.inbox}, 2, "lies inside"},
		{[]string{"run", "--listen", "http://0.0.0.0:0", "--mount=", "--inbox", s.inbox, "--state-dir", s.state, "--dst-folder", s.downloads}, 1, "--token-file"},
		{[]string{"add"}, 2, "link"},
		{[]string{"add", "https://example.com/x"}, 2, "get.massive.io"},
		{[]string{"pause"}, 2, "ID"},
		{[]string{"ls"}, 1, "masvfs run"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			_, err := s.masvfs(test.args...)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != test.exit || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}
