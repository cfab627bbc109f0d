package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v3"

	"masvfs/rest/api"
	"masvfs/rest/client"
)

func lsCommand() *cli.Command {
	return clientCommand(&cli.Command{
		Name:  "ls",
		Usage: "list the downloads",
		Flags: []cli.Flag{&cli.StringFlag{Name: "state", Usage: "only those that are `STATE`: transferring, paused, complete or error"}},
	}, func(ctx context.Context, c *cli.Command, agent *client.Client) error {
		switch state := c.String("state"); state {
		case "", api.Transferring, api.Paused, api.Complete, api.Failed:
		default:
			return usagef("--state: %q is none of transferring, paused, complete, error", state)
		}
		all, err := agent.List(ctx, c.String("state"))
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return printJSON(all)
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tSTATE\tDONE\tSIZE\tFILES\tNAME")
		for _, d := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d/%d\t%s\n", shortID(d.ID), d.State, percent(d), humanize.IBytes(uint64(d.BytesTotal)),
				d.FilesDone, d.FilesTotal, printable(d.Name))
		}
		return w.Flush()
	})
}

func percent(d api.Download) string {
	if d.State == api.Complete {
		return "100 %"
	}
	if d.BytesTotal <= 0 {
		return "0 %"
	}
	return fmt.Sprintf("%d %%", min(99, d.BytesDone*100/d.BytesTotal))
}

func statusCommand() *cli.Command {
	return clientCommand(&cli.Command{
		Name:      "status",
		Usage:     "show a download and the state of its files",
		ArgsUsage: "ID…",
		Flags:     []cli.Flag{allFlag()},
	}, func(ctx context.Context, c *cli.Command, agent *client.Client) error {
		ids := c.Args().Slice()
		if c.Bool("all") {
			all, err := agent.List(ctx, "")
			if err != nil {
				return err
			}
			ids = ids[:0]
			for _, d := range all {
				ids = append(ids, d.ID)
			}
		} else if len(ids) == 0 {
			return usagef("status needs an ID, or --all; masvfs ls shows them")
		}
		type whole struct {
			api.Download
			Files []api.File `json:"files"`
		}
		everything := []whole{}
		for _, prefix := range ids {
			id, err := agent.Resolve(ctx, prefix)
			if err != nil {
				return err
			}
			d, files, err := agent.Get(ctx, id)
			if err != nil {
				return err
			}
			if !c.Bool("json") {
				printStatus(d, files)
			}
			everything = append(everything, whole{d, files})
		}
		if c.Bool("json") {
			return printJSON(everything)
		}
		return nil
	})
}

func printStatus(d api.Download, files []api.File) {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	line := func(what, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", what, value)
		}
	}
	line("Download", d.ID)
	line("Name", printable(d.Name))
	line("Link", d.URL)
	line("State", d.State)
	if d.QueuePosition > 0 {
		line("Place in queue", fmt.Sprint(d.QueuePosition))
	}
	line("Done", fmt.Sprintf("%s of %s, %d of %d files", humanize.IBytes(uint64(d.BytesDone)), humanize.IBytes(uint64(d.BytesTotal)), d.FilesDone, d.FilesTotal))
	if d.State == api.Transferring && d.BytesPerSecond > 0 {
		line("Speed", humanize.IBytes(uint64(d.BytesPerSecond))+"/s")
	}
	if c := d.Connections; c != nil {
		line("Connections", fmt.Sprintf("%d of %d (%s)", c.InUse, c.Allowed, c.Why))
	}
	if d.ETASeconds != nil {
		line("Time left", (time.Duration(*d.ETASeconds) * time.Second).String())
	}
	line("From", printable(d.SenderEmail))
	line("On disk", printable(d.Path))
	line("In the mount", printable(d.MountPath))
	if d.ExpiresAt != nil {
		line("Link expires", d.ExpiresAt.Local().Format(time.DateTime))
	}
	if d.Error != nil {
		line("Error", printable(d.Error.Message))
		if d.Error.RetryAt != nil {
			line("Next try", d.Error.RetryAt.Local().Format(time.DateTime))
		}
	}
	w.Flush()
	for _, f := range files {
		fmt.Printf("  %-12s %10s  %s", f.State, humanize.IBytes(uint64(f.Size)), printable(f.Path))
		if f.Error != nil {
			fmt.Printf("  (%s)", printable(f.Error.Message))
		}
		fmt.Println()
	}
}
