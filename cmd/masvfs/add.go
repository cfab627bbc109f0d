package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"masvfs/fetch"
	"masvfs/fetch/masv"
	"masvfs/rest/api"
	"masvfs/rest/client"
	"masvfs/watcher/linkfile"
)

func addCommand() *cli.Command {
	return clientCommand(&cli.Command{
		Name:      "add",
		Usage:     "queue downloads",
		ArgsUsage: "LINK_OR_FILE…",
		Description: "Each argument is a link, in quotes, or a link file (.masvlink, .url, .webloc, .desktop); - reads links\n" +
			"from standard input, for a link that is not to be seen in the list of processes.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dst-folder", Usage: "`FOLDER` to download into, below an allowed root (default: the agent's)"},
			passwordFlag(),
			&cli.StringFlag{Name: "name", Usage: "what to call the download until the package's own name is known"},
			&cli.IntFlag{Name: "priority", Usage: "higher goes first"},
		},
	}, func(ctx context.Context, c *cli.Command, agent *client.Client) error {
		if c.Args().Len() == 0 {
			return usagef("add needs a link or a link file; put a link in quotes, since it has a ? in it")
		}
		if c.String("password-file") == "-" && slices.Contains(c.Args().Slice(), "-") {
			return usagef("links and their password cannot both come from standard input; give one of them as a file")
		}
		password, err := readPassword(c.String("password-file"))
		if err != nil {
			return err
		}
		var requests []fetch.Request
		for _, arg := range c.Args().Slice() {
			some, err := requestsOf(arg)
			if err != nil {
				return err
			}
			requests = append(requests, some...)
		}
		for i := range requests {
			if err := override(&requests[i], c, password); err != nil {
				return err
			}
		}
		added := []map[string]any{}
		failed := 0
		for _, r := range requests {
			id, created, err := agent.Add(ctx, wire(r))
			if err != nil {
				failed++
				fmt.Fprintf(os.Stderr, "masvfs: %s: %v\n", r.Link.ID, err)
				continue
			}
			added = append(added, map[string]any{"download_id": id, "created": created})
			if c.Bool("json") {
				continue
			}
			if created {
				fmt.Printf("%s  queued\n", shortID(id))
			} else {
				fmt.Printf("%s  is there already, and not complete\n", shortID(id))
			}
		}
		if c.Bool("json") {
			if err := json.NewEncoder(os.Stdout).Encode(added); err != nil {
				return err
			}
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d links were not queued", failed, len(requests))
		}
		return nil
	})
}

// requestsOf reads one argument: a link, or the path of a link file.
func requestsOf(arg string) ([]fetch.Request, error) {
	if isLink(arg) {
		if !strings.Contains(arg, "://") {
			arg = "https://" + arg
		}
		link, err := masv.ParseLink(arg)
		if err != nil {
			return nil, usageError{err}
		}
		return []fetch.Request{{Link: link}}, nil
	}
	name := filepath.Base(arg)
	var data []byte
	var err error
	if arg == "-" {
		name = "links.masvlink"
		data, err = io.ReadAll(io.LimitReader(os.Stdin, linkfile.MaxSize+1))
	} else {
		data, err = os.ReadFile(arg)
	}
	if err != nil {
		return nil, usagef("%w (a link begins with https://)", err)
	}
	items, err := linkfile.Parse(name, data)
	if err != nil {
		return nil, usagef("%s: %w", arg, err)
	}
	requests := make([]fetch.Request, len(items))
	for i, item := range items {
		requests[i] = item.Request
	}
	return requests, nil
}

// wire returns a request as it travels.
func wire(r fetch.Request) api.Request {
	no := false
	w := api.Request{
		URL:       r.Link.URL().Reveal(),
		DstFolder: r.DstFolder,
		Password:  r.Password.Reveal(),
		Name:      r.Name,
		Priority:  r.Priority,
		FileIDs:   r.FileIDs,
		Publish:   string(r.Publish),
		UID:       r.UID,
		GID:       r.GID,
	}
	if r.NoPackageFolder {
		w.PackageFolder = &no
	}
	if r.RefuseQuarantine {
		w.BypassQuarantine = &no
	}
	return w
}

// isLink reports whether an argument is meant as a link, also one that has
// lost its beginning: a link is never shown as the name of a missing file.
func isLink(arg string) bool {
	return strings.Contains(arg, "://") || strings.HasPrefix(strings.ToLower(arg), "get.massive.") || strings.Contains(arg, "?secret=")
}

// override puts what the flags say over what a link file says.
func override(r *fetch.Request, c *cli.Command, password masv.Secret) error {
	if password != "" {
		r.Password = password
	}
	if c.IsSet("dst-folder") {
		dst, err := absolute(c.String("dst-folder"))
		if err != nil {
			return usagef("--dst-folder: %w", err)
		}
		r.DstFolder = dst
	}
	if c.IsSet("name") {
		r.Name = c.String("name")
	}
	if c.IsSet("priority") {
		r.Priority = c.Int("priority")
	}
	return nil
}
