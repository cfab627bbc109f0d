package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/urfave/cli/v3"

	"masvfs/rest/api"
	"masvfs/rest/client"
)

func watchCommand() *cli.Command {
	return clientCommand(&cli.Command{
		Name:        "watch",
		Usage:       "show the downloads as they go, with progress bars",
		Description: "Shows those that are not complete until interrupted; --all shows all. With --json, prints one array a second.",
		Flags:       []cli.Flag{allFlag(), &cli.DurationFlag{Name: "interval", Value: time.Second / 2, Usage: "`TIME` between two looks"}},
	}, func(ctx context.Context, c *cli.Command, agent *client.Client) error {
		interval := c.Duration("interval")
		if interval < 50*time.Millisecond {
			return usagef("--interval: %v is too short", interval)
		}
		show := json.NewEncoder(os.Stdout).Encode
		if !c.Bool("json") {
			b := newBars(os.Stdout)
			defer b.close()
			show = func(v any) error {
				b.update(v.([]api.Download))
				return nil
			}
		}
		tick := time.NewTicker(interval)
		defer tick.Stop()
		watched := map[string]bool{}
		for {
			all, err := agent.List(ctx, "")
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			some := []api.Download{}
			for _, d := range all {
				// One that was seen at work stays in sight when it is complete.
				watched[d.ID] = watched[d.ID] || c.Bool("all") || d.State != api.Complete
				if watched[d.ID] {
					some = append(some, d)
				}
			}
			if err := show(some); err != nil {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
}
