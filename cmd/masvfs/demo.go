package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"masvfs/fetch"
	"masvfs/fetch/masv/masvtest"
	"masvfs/fusefs"
	"masvfs/rest"
	"masvfs/rest/api"
	"masvfs/rest/client"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show everything at once: an embedded cloud, an agent, a link dropped into its inbox",
		Description: "Nothing has to be set up, and nothing is left behind: all of it lives in a temporary folder\n" +
			"and on loopback. Ctrl-C ends it.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "once", Usage: "end when the download is complete"}},
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := checkArguments(c); err != nil {
				return err
			}
			return demo(ctx, c.Bool("once"))
		},
	}
}

// demo runs an agent of its own and shows how a package arrives.
func demo(ctx context.Context, once bool) (err error) {
	dir, err := os.MkdirTemp("", "masvfs-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cloud := masvtest.NewServer(masvtest.WithRate(1 << 20))
	defer cloud.Close()
	link := cloud.AddPackage(masvtest.Sample())

	s := &settings{
		inbox:       filepath.Join(dir, "inbox"),
		mount:       filepath.Join(dir, "live"),
		state:       filepath.Join(dir, "state"),
		roots:       []string{filepath.Join(dir, "downloads")},
		listen:      rest.Address{Spec: "http://127.0.0.1:0"},
		connections: 8,
		maxActive:   4,
		publish:     fetch.PublishFile,
		log:         slog.New(slog.DiscardHandler),
	}
	if err := s.reach(cloud.URL, ""); err != nil {
		return err
	}
	if err := fusefs.Available(); err != nil {
		fmt.Printf("There is no FUSE here: %v\nThe demo goes on without a mount and shows the destination folder.\n\n", err)
		s.mount = ""
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	address := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, s, func(_ *fetch.Agent, a net.Addr) { address <- a })
	}()
	select {
	case err := <-ended:
		return err
	case a := <-address:
		err = show(ctx, s, "http://"+a.String(), link.URL(), once)
	}
	stop()
	return errors.Join(err, <-ended)
}

// show drops the link and draws what becomes of it, until ctx ends or, once, it is complete.
func show(ctx context.Context, s *settings, address, link string, once bool) error {
	c, err := client.New(client.Config{Address: address})
	if err != nil {
		return err
	}
	place := s.mount
	if place == "" {
		place = s.roots[0]
	}
	fmt.Printf("A link is dropped into %s.\nLook from another terminal:  ls -R %s\n", s.inbox, place)
	if s.mount != "" {
		fmt.Printf("and at the status files:     cat %s/*/progress\n", place)
	}
	fmt.Println()
	// Renamed into place, so that nobody reads half of it.
	part := filepath.Join(s.inbox, "sample.masvlink.part")
	if err := os.WriteFile(part, []byte(link+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Rename(part, filepath.Join(s.inbox, "sample.masvlink")); err != nil {
		return err
	}
	d, err := follow(ctx, c, once)
	if err != nil || ctx.Err() != nil {
		return err
	}
	tree := d.Path
	if d.MountPath != "" {
		tree = filepath.Join(d.MountPath, "files")
	}
	fmt.Printf("\n%s is complete, whole and durable on disk:\n\n", printable(d.Name))
	// Of the disk, never of the mount: a program that waits in its own mount cannot be killed.
	if err := printTree(d.Path); err != nil {
		return err
	}
	if once {
		return nil
	}
	fmt.Printf("\nIt is in %s until you press Ctrl-C.\n", tree)
	<-ctx.Done()
	return nil
}

// follow draws the one download until it is complete.
func follow(ctx context.Context, c *client.Client, once bool) (api.Download, error) {
	b := newBars(os.Stdout)
	defer b.close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		all, err := c.List(ctx, "")
		if ctx.Err() != nil {
			return api.Download{}, nil
		}
		if err != nil {
			return api.Download{}, err
		}
		b.update(all)
		if len(all) == 1 {
			switch d := all[0]; {
			case d.State == api.Complete:
				return d, nil
			case d.State == api.Failed && once:
				return d, fmt.Errorf("the download failed: %s", d.Error.Message)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return api.Download{}, nil
		}
	}
}

// printTree draws a folder as a tree.
func printTree(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		mark := ""
		if d.IsDir() {
			mark = "/"
		}
		fmt.Printf("  %s%s%s\n", strings.Repeat("  ", strings.Count(rel, "/")), printable(d.Name()), mark)
		return nil
	})
}
