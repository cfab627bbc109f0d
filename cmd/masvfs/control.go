package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"masvfs/rest/client"
)

func pauseCommand() *cli.Command {
	return clientCommand(&cli.Command{
		Name:      "pause",
		Usage:     "pause downloads; what has arrived stays",
		ArgsUsage: "ID…",
		Flags:     []cli.Flag{allFlag()},
	}, func(ctx context.Context, c *cli.Command, agent *client.Client) error {
		if c.Bool("all") {
			return tellChanged(c)(agent.PauseAll(ctx))
		}
		return each(ctx, c, agent, func(id string) (any, error) {
			d, err := agent.Pause(ctx, id)
			if err == nil {
				tell(c, d)
			}
			return d, err
		})
	})
}

func resumeCommand() *cli.Command {
	return clientCommand(&cli.Command{
		Name:      "resume",
		Usage:     "go on with downloads that are paused or in error",
		ArgsUsage: "ID…",
		Flags:     []cli.Flag{allFlag(), passwordFlag()},
	}, func(ctx context.Context, c *cli.Command, agent *client.Client) error {
		if c.Bool("all") {
			if c.IsSet("password-file") {
				return usagef("a password is for one link: give its ID in place of --all")
			}
			return tellChanged(c)(agent.ResumeAll(ctx))
		}
		password, err := readPassword(c.String("password-file"))
		if err != nil {
			return err
		}
		return each(ctx, c, agent, func(id string) (any, error) {
			d, err := agent.Resume(ctx, id, password)
			if err == nil {
				tell(c, d)
			}
			return d, err
		})
	})
}

func tellChanged(c *cli.Command) func(int, error) error {
	return func(n int, err error) error {
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return printJSON(map[string]int{"changed": n})
		}
		fmt.Printf("%d changed\n", n)
		return nil
	}
}

func rmCommand() *cli.Command {
	return clientCommand(&cli.Command{
		Name:        "rm",
		Usage:       "forget downloads",
		ArgsUsage:   "ID…",
		Description: "Finished files stay on disk unless --remove-files is given; partial data always goes.",
		Flags:       []cli.Flag{allFlag(), &cli.BoolFlag{Name: "remove-files", Usage: "remove the finished files too"}},
	}, func(ctx context.Context, c *cli.Command, agent *client.Client) error {
		remove := func(id string) (any, error) {
			err := agent.Delete(ctx, id, c.Bool("remove-files"))
			if err == nil && !c.Bool("json") {
				fmt.Printf("%s  deleted\n", shortID(id))
			}
			return map[string]string{"download_id": id}, err
		}
		if !c.Bool("all") {
			return each(ctx, c, agent, remove)
		}
		all, err := agent.List(ctx, "")
		if err != nil {
			return err
		}
		for _, d := range all {
			if _, err := remove(d.ID); err != nil {
				return fmt.Errorf("delete %s: %w", shortID(d.ID), err)
			}
		}
		if c.Bool("json") {
			return printJSON(map[string]int{"deleted": len(all)})
		}
		return nil
	})
}
