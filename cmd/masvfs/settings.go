package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"

	"masvfs/fetch"
	"masvfs/fetch/dest"
	"masvfs/fetch/dial"
	"masvfs/fetch/masv"
	"masvfs/fetch/pathname"
	"masvfs/rest"
)

// settings are what `masvfs run` goes by, whole and checked.
type settings struct {
	inbox, mount, state string // absolute; mount "" for none
	roots               []string
	away                map[string]bool // those of them whose disks do not answer
	listen              rest.Address
	token               masv.Secret
	cloud               *masv.Client
	storage             *http.Transport
	connections         int
	maxActive           int
	rateLimit           int64 // bytes per second, 0 for none
	reserve             dest.Reserve
	names               pathname.Rules
	publish             fetch.Publish
	allowOther          bool
	ordinaryReads       bool
	log                 *slog.Logger
}

const defaultListen = "http://127.0.0.1:8080"

// agentFlags are the flags of `masvfs run`, and so the keys of the configuration file.
func agentFlags(f *configFile) []cli.Flag {
	text := func(name, value, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, Usage: usage, Sources: f.from(name)}
	}
	whole := func(name string, value int, usage string) cli.Flag {
		return &cli.IntFlag{Name: name, Value: value, Usage: usage, Sources: f.from(name)}
	}
	base, state := defaultFolders()
	return []cli.Flag{
		configFlag(f),
		text("inbox", filepath.Join(base, "inbox"), "`FOLDER` where link files are dropped"),
		text("mount", filepath.Join(base, "live"), "`FOLDER` where the downloads' trees appear; --mount= runs without"),
		text("dst-folder", filepath.Join(base, "downloads"), "default destination `FOLDER`, and the first allowed root"),
		&cli.StringSliceFlag{Name: "allow-dst", Usage: "another `FOLDER` below which downloads may be placed; may be repeated", Sources: f.fromList("allow-dst")},
		text("state-dir", state, "`FOLDER` of the database, kept private"),
		listenFlag(f),
		text("tls-cert", "", "certificate `FILE` (PEM) for https://"),
		text("tls-key", "", "private key `FILE` (PEM) for https://"),
		tokenFlag(f),
		text("api-url", masv.DefaultBaseURL, "base `URL` of the MASV API"),
		caFlag(f),
		whole("connections", 32, "connections to the storage hosts, at most; as many as bring more are used"),
		whole("max-active", 4, "downloads that run at once; 1 is first in, first out"),
		text("download-rate-limit", "0", "bytes per second over all downloads, such as 50MB or 20MiB; 0 is no limit"),
		text("reserve-free", "", "space to leave free, such as 20GiB or 5% (default: 1%, at most 1 GiB)"),
		text("names", "linux", "names that files may have: linux, or portable for disks that Windows reads"),
		text("publish", "file", "give finished files their names one by one (file), or the whole folder at the end (package)"),
		&cli.BoolFlag{Name: "allow-other", Usage: "let other users read the mount", Sources: f.from("allow-other")},
		text("reads", "auto", "how finished files are read through the mount: auto has the kernel read them by itself where it can, ordinary never does"),
		text("log-level", "info", "debug, info, warn or error"),
		text("log-format", "text", "text or json"),
	}
}

// defaultFolders returns where inbox, downloads and mount are unless somebody
// says otherwise, and the state folder: in the user's home, or, for a system
// service, in the folder that systemd gives it (systemd.exec(5), StateDirectory=).
func defaultFolders() (base, state string) {
	dir := os.Getenv("STATE_DIRECTORY")
	if os.Getenv("HOME") == "" && dir == "" {
		dir = "/var/lib/masvfs"
	}
	if strings.HasPrefix(dir, "/var/lib/") {
		return dir, filepath.Join(dir, "state")
	}
	return filepath.Join(home(), "MASV"), filepath.Join(xdg("XDG_STATE_HOME", ".local/state"), "masvfs")
}

func configFlag(f *configFile) cli.Flag {
	return &cli.StringFlag{Name: "config", Value: f.path, Usage: "configuration `FILE` (TOML; its keys are the flags of run)", Sources: cli.EnvVars("MASVFS_CONFIG")}
}

func listenFlag(f *configFile) cli.Flag {
	return &cli.StringFlag{Name: "listen", Value: defaultListen, Usage: "`ADDRESS` of the REST API: http://…, https://… or unix:///path", Sources: f.from("listen")}
}

func tokenFlag(f *configFile) cli.Flag {
	return &cli.StringFlag{Name: "token-file", Usage: "`FILE` that holds the access token of the REST API", Sources: f.from("token-file")}
}

func caFlag(f *configFile) cli.Flag {
	return &cli.StringFlag{Name: "ca-file", Usage: "`FILE` (PEM) of more certificate authorities to trust", Sources: f.from("ca-file")}
}

// readSettings checks every flag and says which one is wrong.
func readSettings(c *cli.Command) (*settings, error) {
	s := &settings{
		connections: c.Int("connections"),
		maxActive:   c.Int("max-active"),
		publish:     fetch.Publish(c.String("publish")),
		allowOther:  c.Bool("allow-other"),
	}
	var err error
	switch reads := c.String("reads"); reads {
	case "auto", "":
	case "ordinary":
		s.ordinaryReads = true
	default:
		return nil, usagef("--reads is auto or ordinary, not %q", reads)
	}
	folder := func(flag, value string) string {
		p, e := absolute(value)
		if e != nil && err == nil {
			err = usagef("--%s: %w", flag, e)
		}
		return p
	}
	s.inbox = folder("inbox", c.String("inbox"))
	if m := c.String("mount"); m != "" {
		s.mount = folder("mount", m)
	}
	s.state = folder("state-dir", c.String("state-dir"))
	s.roots = []string{folder("dst-folder", c.String("dst-folder"))}
	for _, list := range c.StringSlice("allow-dst") {
		for r := range strings.SplitSeq(list, listSeparator) {
			s.roots = append(s.roots, folder("allow-dst", r))
		}
	}
	if err != nil {
		return nil, err
	}
	s.away = s.silent()
	if s.connections < 1 || s.connections > 256 {
		return nil, usagef("--connections: %d is not between 1 and 256", s.connections)
	}
	if s.maxActive < 1 || s.maxActive > 1000 {
		return nil, usagef("--max-active: %d is not between 1 and 1000", s.maxActive)
	}
	if s.rateLimit, err = parseRate(c.String("download-rate-limit")); err != nil {
		return nil, usagef("--download-rate-limit: %w", err)
	}
	if s.reserve, err = dest.ParseReserve(c.String("reserve-free")); err != nil {
		return nil, usagef("--reserve-free: %w", err)
	}
	if s.names, err = pathname.ParseRules(c.String("names")); err != nil {
		return nil, usagef("--names: %w", err)
	}
	if s.publish != fetch.PublishFile && s.publish != fetch.PublishPackage {
		return nil, usagef("--publish: %q is neither file nor package", s.publish)
	}
	if s.token, err = readToken(c.String("token-file")); err != nil {
		return nil, usagef("--token-file: %w", err)
	}
	s.listen = rest.Address{Spec: c.String("listen"), TLSCert: c.String("tls-cert"), TLSKey: c.String("tls-key"), Token: s.token}
	if err := s.listen.Check(); err != nil {
		return nil, usageError{err}
	}
	if err := s.reach(c.String("api-url"), c.String("ca-file")); err != nil {
		return nil, err
	}
	if s.log, err = newLog(c.String("log-level"), c.String("log-format")); err != nil {
		return nil, err
	}
	return s, s.checkFolders()
}

// absolute makes a folder's path absolute and clean, with ~ for the home folder.
func absolute(path string) (string, error) {
	if path == "" {
		return "", errors.New("must not be empty")
	}
	if strings.ContainsRune(path, 0) {
		return "", errors.New("is not a path that this system can hold")
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(home(), rest)
	}
	return filepath.Abs(path)
}

// parseRate understands bytes per second as people write them.
func parseRate(text string) (int64, error) {
	n, err := humanize.ParseBytes(strings.TrimSuffix(strings.TrimSpace(text), "/s"))
	if err != nil {
		return 0, fmt.Errorf("%q is not a rate such as 50MB, 20MiB or 0", text)
	}
	if n > 1<<62 {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return int64(n), nil
}

// readToken reads an access token from a file that only its owner can read.
func readToken(path string) (masv.Secret, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	// What systemd hands over with LoadCredential= is the service's alone,
	// though its mode, where an access list says so, is 0440: systemd.exec(5).
	handed := os.Getenv("CREDENTIALS_DIRECTORY")
	if mine := handed != "" && filepath.Dir(path) == handed; !mine {
		if info.Mode().Perm()&0o077 != 0 {
			return "", fmt.Errorf("others can read %s; run: chmod 600 %s", path, path)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return "", fmt.Errorf("%s belongs to another user, who knows the token and can change it; make a file of your own", path)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if len(token) < 16 {
		return "", fmt.Errorf("%s must hold a token of 16 characters or more; make one with: openssl rand -hex 32", path)
	}
	return masv.Secret(token), nil
}

func newLog(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level: %q is none of debug, info, warn, error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	}
	return nil, usagef("--log-format: %q is neither text nor json", format)
}

// checkFolders refuses folders that would get into one another's way.
func (s *settings) checkFolders() error {
	type named struct{ flag, path string }
	private := []named{{"inbox", s.inbox}, {"state-dir", s.state}}
	if s.mount != "" {
		private = append(private, named{"mount", s.mount})
	}
	var roots []named
	for i, r := range s.roots {
		flag := "allow-dst"
		if i == 0 {
			flag = "dst-folder"
		}
		roots = append(roots, named{flag, r})
	}
	clash := func(in, out named) error {
		return usagef("--%s %s lies inside --%s %s, and they would get into one another's way; choose another folder for one of them", in.flag, in.path, out.flag, out.path)
	}
	for i, a := range private {
		for _, b := range private[i+1:] {
			if inside(a.path, b.path) {
				return clash(a, b)
			}
			if inside(b.path, a.path) {
				return clash(b, a)
			}
		}
		for _, r := range roots {
			within := inside
			if s.away[r.path] {
				within = below
			}
			if within(r.path, a.path) {
				return clash(r, a)
			}
			// A sender's file in the inbox would be a link file, and one in the
			// state folder a neighbour of the database.
			if within(a.path, r.path) {
				return clash(a, r)
			}
		}
	}
	return nil
}

// silent finds the destinations whose disks do not answer, those of a network
// that is down perhaps: nobody waits for them, they may be used when they do.
func (s *settings) silent() map[string]bool {
	answered := make(chan string, len(s.roots))
	silent := make(map[string]bool)
	for _, root := range s.roots {
		silent[root] = true
		go func() {
			resolve(root)
			unix.Statfs(root, new(unix.Statfs_t)) // the kernel has no answer to that by itself
			answered <- root
		}()
	}
	late := time.After(answerTime)
	for range s.roots {
		select {
		case root := <-answered:
			delete(silent, root)
		case <-late:
			return silent
		}
	}
	return silent
}

// answerTime is how long a start waits for the disk of a destination.
const answerTime = 5 * time.Second

// inside reports whether a is b or lies below it, as the disk has it.
func inside(a, b string) bool { return below(resolve(a), resolve(b)) }

// below is inside as the paths alone have it.
func below(a, b string) bool {
	rel, err := filepath.Rel(b, a)
	return err == nil && filepath.IsLocal(rel)
}

// resolve follows symlinks as far as the path exists.
func resolve(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
		return filepath.Join(resolve(filepath.Dir(path)), filepath.Base(path))
	}
	if err != nil {
		return path
	}
	return real
}

// userAgent is what the program calls itself to the cloud.
func userAgent() string { return "masvfs/" + version() }

// reach prepares how the cloud and its storage are reached.
func (s *settings) reach(apiURL, caFile string) error {
	roots, err := trusted(caFile)
	if err != nil {
		return err
	}
	api, storage := dial.Transports(dial.Config{API: apiURL, Roots: roots, Connections: s.connections})
	s.storage = storage
	s.cloud, err = masv.NewClient(masv.Config{BaseURL: apiURL, Transport: api, UserAgent: userAgent()})
	if err != nil {
		return usagef("--api-url: %w", err)
	}
	return nil
}

// trusted returns whom to trust: those whom the system trusts, and those in a file.
func trusted(caFile string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if caFile == "" {
		return pool, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, usagef("--ca-file: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, usagef("--ca-file: %s holds no certificate in PEM form", caFile)
	}
	return pool, nil
}
