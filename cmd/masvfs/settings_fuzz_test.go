package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v3"
)

// settingsOf is what `masvfs run` would go by; nil if it does not come to that.
func settingsOf(args []string) (s *settings, err error) {
	os.Args = append([]string{"masvfs", "run"}, args...)
	app := newApp()
	app.Writer, app.ErrWriter = io.Discard, io.Discard
	for _, c := range app.Commands {
		if c.Name != "run" {
			continue
		}
		c.Writer, c.ErrWriter = io.Discard, io.Discard
		c.Action = func(_ context.Context, c *cli.Command) (err error) {
			if err := checkArguments(c); err != nil {
				return err
			}
			s, err = readSettings(c)
			return err
		}
	}
	err = run(context.Background(), app, os.Args)
	return s, err
}

// FuzzSettings reads arbitrary configuration files, environments and command
// lines, a variable or an argument a line. What is wrong is wrong usage, said
// before anything begins; what is taken is whole, and the command line wins.
func FuzzSettings(f *testing.F) {
	for _, seed := range [][3]string{
		{"", "", ""}, {"max-active = 2\nnames = \"portable\"", "MASVFS_MAX_ACTIVE=3", "--max-active\n4"}, {"max-active = 2.5", "", ""}, {"max-active = \"x\"", "", ""}, {"connections = 0x10", "", ""}, {"connections = -1", "", ""},
		{"allow-dst = [\"/a\", \"/b,c\"]", "MASVFS_ALLOW_DST=/c:/d", "--allow-dst\n/e\n--allow-dst=/f"}, {"allow-dst = [[\"/a\"]]", "", ""}, {"allow-dst = [1, true]", "", ""}, {"allow-dst = [\"\"]", "", ""}, {"allow-dst = \"/a\"", "", ""}, {"allow-dst = []", "", ""},
		{"dst-folder = \"/a\\u0000b\"", "", ""}, {"dst-folder = []", "", ""}, {"dst-folder = [\"/a\"]", "", ""}, {"dst-folder = 1979-05-27", "", ""}, {"dst-folder = \"~/in\"", "", ""}, {"inbox = \"/\"", "", ""}, {"[inbox]\na=1", "", ""}, {"inbox.a = 1", "", ""}, {"a = 1", "", ""}, {"[[inbox]]\na = 1", "", ""},
		{"allow-other = true", "MASVFS_ALLOW_OTHER=maybe", ""}, {"allow-other = 1", "", "--allow-other=false"}, {"download-rate-limit = \"80MB\"", "", "--download-rate-limit=1e400"}, {"download-rate-limit = 5", "", ""}, {"", "", "--download-rate-limit=-1"}, {"", "", "--download-rate-limit=99999999EB"},
		{"reserve-free = \"5%\"", "", "--reserve-free=101%"}, {"", "", "--reserve-free=NaN%"}, {"listen = \"http://0.0.0.0:1\"", "MASVFS_LISTEN=unix://", ""}, {"listen = \"https://127.0.0.1:0\"", "", ""}, {"", "", "--listen=http://127.0.0.1:99999"}, {"", "", "--mount="}, {"mount = \"\"", "MASVFS_MOUNT=", ""},
		{"api-url = \"http://u:p@x/?secret=hunter2hunter2\"", "", ""}, {"", "", "--api-url=file:///etc/shadow"}, {"log-level = \"debug+3\"", "", "--log-format=xml"}, {"", "", "--config=/nowhere"}, {"", "", "--config"}, {"", "", "-h"}, {"", "", "--\nx"}, {"", "", "--names"}, {"\xff", "", ""}, {"a", "", ""},
		{"names = \"linux\"\nnames = \"portable\"", "", ""}, {"publish = \"package\"\nreads = \"ordinary\"", "", ""}, {"token-file = \"/etc/passwd\"", "", ""}, {"token-file = \"/\"", "", ""}, {"ca-file = \"/\"", "", ""}, {"ca-file = \"/etc/passwd\"", "", ""},
	} {
		f.Add([]byte(seed[0]), seed[1], seed[2])
	}
	dir := f.TempDir()
	file := filepath.Join(dir, "masvfs", "config.toml")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Setenv("HOME", dir)
	f.Setenv("XDG_CONFIG_HOME", dir)
	f.Setenv("XDG_STATE_HOME", "")
	f.Setenv("STATE_DIRECTORY", "")
	args := os.Args
	f.Cleanup(func() { os.Args = args })
	f.Fuzz(func(t *testing.T, config []byte, env, line string) {
		if err := os.WriteFile(file, config, 0o600); err != nil {
			t.Fatal(err)
		}
		for v := range strings.Lines(env) {
			if name, value, ok := strings.Cut(strings.TrimSuffix(v, "\n"), "="); ok && strings.HasPrefix(name, "MASVFS_") && !strings.Contains(name+value, "\x00") {
				t.Setenv(name, value)
			}
		}
		var args []string
		for arg := range strings.Lines(line) {
			args = append(args, strings.TrimSuffix(arg, "\n"))
		}
		s, err := settingsOf(args)
		if err != nil {
			if !errors.As(err, new(usageError)) || err.Error() == "" {
				t.Errorf("not wrong usage: %v", err)
			}
			if strings.Contains(err.Error(), "hunter2hunter2") {
				t.Errorf("a secret is shown: %v", err)
			}
			return
		}
		if s == nil {
			return // help, say
		}
		folders := append([]string{s.inbox, s.state}, s.roots...)
		if s.mount != "" {
			folders = append(folders, s.mount)
		}
		for _, p := range folders {
			if !filepath.IsAbs(p) || filepath.Clean(p) != p || strings.ContainsRune(p, 0) {
				t.Errorf("%q is taken for a folder", p)
			}
		}
		if s.connections < 1 || s.maxActive < 1 || s.rateLimit < 0 || s.log == nil || s.cloud == nil || s.storage == nil || len(s.roots) == 0 || s.checkFolders() != nil {
			t.Errorf("these are no settings: %+v", s)
		}
		if s.token != "" && len(s.token) < 16 {
			t.Errorf("a token of %d characters is taken", len(s.token))
		}
		if s, err := settingsOf(append([]string{"--max-active=7"}, args...)); err == nil && s != nil && s.maxActive != 7 && !strings.Contains(line, "max-active") {
			t.Errorf("--max-active=7 is overruled: %d", s.maxActive)
		}
	})
}
