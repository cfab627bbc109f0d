package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v3"
	"golang.org/x/sys/unix"

	"masvfs/fusefs"
)

// finding is one thing that doctor has looked at.
type finding struct {
	Check  string `json:"check"`
	Status string `json:"status"` // ok, warning or problem
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

func doctorCommand() *cli.Command {
	f := newConfigFile(os.Args)
	return withConfig(f, &cli.Command{
		Name:        "doctor",
		Usage:       "say what is missing or stale on this machine, and how to mend it",
		Description: "Takes the flags of run, and looks at the folders that an agent with them would use. Exit status 1 if there is a problem.",
		Flags:       append(agentFlags(f), jsonFlag()),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := checkArguments(c); err != nil {
				return err
			}
			s, err := readSettings(c)
			if err != nil {
				return err
			}
			found := diagnose(s)
			if c.Bool("json") {
				err = json.NewEncoder(os.Stdout).Encode(found)
			} else {
				printFindings(found)
			}
			if err != nil {
				return err
			}
			for _, f := range found {
				if f.Status == "problem" {
					return errors.New("there are problems; see above")
				}
			}
			return nil
		},
	}, func() []cli.Flag { return agentFlags(f) })
}

func printFindings(found []finding) {
	for _, f := range found {
		fmt.Printf("%-8s %-12s %s\n", f.Status, f.Check, f.Detail)
		if f.Remedy != "" {
			fmt.Printf("%-21s → %s\n", "", f.Remedy)
		}
	}
}

// diagnose looks at everything that an agent with these settings needs.
func diagnose(s *settings) []finding {
	var found []finding
	add := func(check, status, detail, remedy string) {
		found = append(found, finding{check, status, detail, remedy})
	}
	if err := fusefs.Available(); err != nil {
		add("fuse", "problem", err.Error(), "or run without a mount: --mount=")
	} else {
		add("fuse", "ok", "/dev/fuse is there and can be used", "")
	}
	switch {
	case s.mount == "":
		add("mount", "ok", "none is asked for", "")
	case fusefs.Stale(s.mount):
		add("mount", "warning", s.mount+" is what a killed agent has left behind", "the next start of the agent clears it; or run: fusermount3 -uz "+s.mount)
	default:
		mounted, err := fusefs.Mounted(s.mount)
		switch {
		case err != nil:
			add("mount", "problem", err.Error(), "")
		case mounted:
			add("mount", "ok", s.mount+" is mounted", "")
		default:
			found = append(found, emptyFolder(s.mount))
		}
	}
	if s.mount != "" && fusefs.Available() == nil {
		found = append(found, reads(s))
	}
	if s.allowOther && os.Geteuid() != 0 && !fuseConfAllowsOther() {
		add("allow-other", "problem", "/etc/fuse.conf does not let users say --allow-other", "add the line user_allow_other to /etc/fuse.conf")
	}
	found = append(found, writable("inbox", s.inbox), writable("state", s.state))
	for _, r := range s.roots {
		found = append(found, writable("destination", r))
	}
	found = append(found, private(s.state)...)
	return append(found, inotify())
}

// reads says how files are read through the mount: by the word of the agent
// that serves it, or as a trial shows.
func reads(s *settings) finding {
	how, err := fusefs.ReadsOf(s.mount)
	if err != nil {
		folder := s.roots[0]
		for folder != "/" && errors.Is(unix.Access(folder, unix.F_OK), fs.ErrNotExist) {
			folder = filepath.Dir(folder)
		}
		how, err = fusefs.TryReads(folder, s.ordinaryReads)
	}
	switch {
	case err != nil:
		return finding{"reads", "warning", fmt.Sprintf("a trial mount failed: %v", err), "see what fuse and mount say above"}
	case how == "passthrough":
		return finding{"reads", "ok", "the kernel reads finished files by itself, at the disk's speed", ""}
	}
	return finding{"reads", "ok", "finished files are read through the agent: " + strings.TrimPrefix(how, "ordinary: "), ""}
}

func emptyFolder(path string) finding {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{"mount", "ok", path + " will be made", ""}
	case err != nil:
		return finding{"mount", "problem", err.Error(), "choose another folder with --mount"}
	case len(entries) > 0:
		return finding{"mount", "problem", path + " is not empty, and a mount would hide what is in it", "move that away, or choose another folder with --mount"}
	}
	return finding{"mount", "ok", path + " is an empty folder", ""}
}

func writable(check, path string) finding {
	err := unix.Access(path, unix.R_OK|unix.W_OK|unix.X_OK)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		up := filepath.Dir(path)
		for up != "/" && errors.Is(unix.Access(up, unix.F_OK), fs.ErrNotExist) {
			up = filepath.Dir(up)
		}
		if err := unix.Access(up, unix.W_OK|unix.X_OK); err != nil {
			return finding{check, "problem", fmt.Sprintf("%s is missing and cannot be made in %s: %v", path, up, err), "make it, or choose another folder"}
		}
		return finding{check, "ok", path + " will be made", ""}
	case errors.Is(err, unix.EROFS) && check == "inbox":
		return finding{check, "warning", path + " cannot be written to", "links in it work, but are not moved to accepted/"}
	case err != nil:
		return finding{check, "problem", fmt.Sprintf("%s: %v", path, err), "let this user read and write it, or choose another folder"}
	}
	return finding{check, "ok", path + " can be written to", ""}
}

func private(state string) []finding {
	info, err := os.Stat(state)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return []finding{{"state", "warning", fmt.Sprintf("others can look into %s, where secrets are kept", state), "run: chmod 700 " + state}}
}

func inotify() finding {
	const path = "/proc/sys/fs/inotify/max_user_watches"
	data, err := os.ReadFile(path)
	if err != nil {
		return finding{"inotify", "warning", "this kernel tells no limits", "the inbox is looked at every now and then all the same"}
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err != nil || n < 8192 {
		return finding{"inotify", "warning", "only " + strings.TrimSpace(string(data)) + " watches are allowed", "run: sysctl fs.inotify.max_user_watches=524288"}
	}
	return finding{"inotify", "ok", strings.TrimSpace(string(data)) + " watches are allowed", ""}
}

func fuseConfAllowsOther() bool {
	f, err := os.Open("/etc/fuse.conf")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.TrimSpace(s.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}
