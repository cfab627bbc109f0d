package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v3"

	"masvfs/fetch/masv/masvtest"
)

func cloudCommand() *cli.Command {
	return &cli.Command{
		Name:      "cloud",
		Usage:     "run an embedded MASV cloud that serves a local folder as a package, for trying things out",
		ArgsUsage: "FOLDER",
		Description: "Serves until interrupted. Point an agent at it with the --api-url that it prints, and add the link.\n" +
			"It is for trying things out on this machine: whoever has the link can read the folder.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "api-listen", Value: "127.0.0.1:0", Usage: "`ADDRESS` of the API; port 0 takes a free one"},
			&cli.StringFlag{Name: "storage-listen", Value: "127.0.0.1:0", Usage: "`ADDRESS` of the storage"},
			&cli.StringFlag{Name: "name", Usage: "name of the package (default: the folder's)"},
			&cli.StringFlag{Name: "password-file", Usage: "`FILE` that holds a password for the link"},
			&cli.StringFlag{Name: "rate", Value: "0", Usage: "bytes per second and connection, such as 20MB; 0 is no limit"},
		},
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() != 1 {
				return usagef("cloud takes one folder to serve")
			}
			dir, err := filepath.Abs(c.Args().First())
			if err != nil {
				return err
			}
			rate, err := parseRate(c.String("rate"))
			if err != nil {
				return usagef("--rate: %w", err)
			}
			password, err := readPassword(c.String("password-file"))
			if err != nil {
				return err
			}
			pkg, err := masvtest.Folder(dir)
			if err != nil {
				return fmt.Errorf("serve %s: %w", dir, err)
			}
			pkg.Password = password.Reveal()
			if pkg.Name = c.String("name"); pkg.Name == "" {
				pkg.Name = filepath.Base(dir)
			}
			server, err := masvtest.Listen(
				masvtest.WithAPIAddr(c.String("api-listen")),
				masvtest.WithStorageAddr(c.String("storage-listen")),
				masvtest.WithRate(rate),
			)
			if err != nil {
				return err
			}
			defer server.Close()
			link := server.AddPackage(pkg)
			fmt.Fprintf(os.Stdout, "link:     %s\napi-url:  %s\n", link.URL(), server.URL)
			fmt.Fprintf(os.Stderr, "Serving %d entries of %s until interrupted. In another terminal:\n  masvfs run --api-url %s\n  masvfs add '%s'\n",
				len(pkg.Files), dir, server.URL, link.URL())
			<-ctx.Done()
			return nil
		},
	}
}
