package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"masvfs/fetch/masv"
	"masvfs/rest/api"
	"masvfs/rest/client"
)

// clientCommand makes c a command that talks to a running agent.
func clientCommand(c *cli.Command, act func(context.Context, *cli.Command, *client.Client) error) *cli.Command {
	f := newConfigFile(os.Args)
	c.Flags = append(c.Flags, jsonFlag(), configFlag(f), listenFlag(f), tokenFlag(f), caFlag(f))
	c.Action = func(ctx context.Context, c *cli.Command) error {
		if err := checkArguments(c); err != nil {
			return err
		}
		token, err := readToken(c.String("token-file"))
		if err != nil {
			return usagef("--token-file: %w", err)
		}
		agent, err := client.New(client.Config{Address: c.String("listen"), Token: token, CAFile: c.String("ca-file")})
		if err != nil {
			return usageError{err}
		}
		return act(ctx, c, agent)
	}
	return withConfig(f, c, func() []cli.Flag { return agentFlags(f) })
}

// checkArguments refuses arguments where a command takes none, or where --all
// has been said in their place.
func checkArguments(c *cli.Command) error {
	switch {
	case !c.Args().Present():
		return nil
	case c.ArgsUsage == "":
		return usagef("%s takes no arguments, but got %q", c.Name, c.Args().First())
	case c.Bool("all"):
		return usagef("%s takes either IDs or --all", c.Name)
	}
	return nil
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON, for programs"} }

// printJSON prints v for programs.
func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// readPassword reads a password from a file, or from standard input for "-",
// so that it need not stand on the command line for everybody to see.
func readPassword(path string) (masv.Secret, error) {
	var data []byte
	var err error
	switch {
	case path == "":
		return "", nil
	case path == "-" && term.IsTerminal(int(os.Stdin.Fd())):
		fmt.Fprint(os.Stderr, "Password: ")
		data, err = term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
	case path == "-":
		data, err = io.ReadAll(io.LimitReader(os.Stdin, 1<<16))
	default:
		if info, serr := os.Stat(path); serr == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			fmt.Fprintf(os.Stderr, "masvfs: others can read %s; chmod 600 %s keeps the password to you\n", path, path)
		}
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	password := strings.TrimRight(string(data), "\r\n")
	if password == "" {
		return "", usagef("--password-file: there is no password in it")
	}
	return masv.Secret(password), nil
}

func passwordFlag() cli.Flag {
	return &cli.StringFlag{Name: "password-file", Usage: "`FILE` that holds the link's password; - asks for it, or reads standard input"}
}

func allFlag() cli.Flag { return &cli.BoolFlag{Name: "all", Usage: "all downloads"} }

// each calls f for every download that the arguments name, goes on after a
// failure, and fails in the end if any did.
func each(ctx context.Context, c *cli.Command, agent *client.Client, f func(id string) (any, error)) error {
	if c.Args().Len() == 0 {
		return usagef("%s needs at least one ID; masvfs ls shows them", c.Name)
	}
	failed := 0
	results := []any{}
	for _, prefix := range c.Args().Slice() {
		id, err := agent.Resolve(ctx, prefix)
		var result any
		if err == nil {
			result, err = f(id)
		}
		if err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "masvfs: %s: %v\n", prefix, err)
			continue
		}
		results = append(results, result)
	}
	if c.Bool("json") {
		if err := printJSON(results); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d failed", failed, c.Args().Len())
	}
	return nil
}

// tell says to people what has become of a download.
func tell(c *cli.Command, d api.Download) {
	if !c.Bool("json") {
		fmt.Printf("%s  %s  %s\n", shortID(d.ID), d.State, printable(d.Name))
	}
}

// shortID is as much of an ID as people need.
func shortID(id string) string {
	if len(id) > 8 {
		return id[:8]
	}
	return id
}
