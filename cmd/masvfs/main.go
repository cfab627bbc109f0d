// Command masvfs receives packages that are sent over MASV: an agent that
// downloads what links lead to, and the commands that talk to it.
//
// One file holds one command; config.go says where a flag's value comes from.
// There is no logic here beyond flags, wiring and signals.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v3"
)

// Exit statuses.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a mistake in how the program was called.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	// A reader of our output that goes away, as head does, is an error like
	// any other, and must not leave a mount behind.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The second signal ends the program at once, should a clean end take too long.
	context.AfterFunc(ctx, stop)
	err := run(ctx, newApp(), os.Args)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "masvfs: %v\n", err)
	if errors.As(err, new(usageError)) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}

// run runs the program. An error from before a command acts is one in how it
// was called, be it on the command line, in the environment or in the
// configuration file: package cli has no word for that of its own.
func run(ctx context.Context, app *cli.Command, args []string) error {
	acted := false
	for _, c := range app.Commands {
		action := c.Action
		c.Action = func(ctx context.Context, c *cli.Command) error {
			acted = true
			return action(ctx, c)
		}
	}
	err := app.Run(ctx, args)
	if err != nil && !acted && !errors.As(err, new(usageError)) {
		return usageError{err}
	}
	return err
}

func newApp() *cli.Command {
	cli.HelpFlag = &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help", HideDefault: true, Local: true}
	app := &cli.Command{
		Name:                  "masvfs",
		Usage:                 "receive MASV packages: drop a link into a folder, browse the tree while it arrives",
		Version:               version(),
		EnableShellCompletion: true,
		Suggest:               true,
		// A path may hold a comma.
		DisableSliceFlagSeparator: true,
		ConfigureShellCompletionCommand: func(c *cli.Command) {
			c.Hidden = false
			c.Usage = "print a completion script for bash, zsh or fish"
		},
		Commands: []*cli.Command{
			runCommand(), demoCommand(),
			addCommand(), lsCommand(), statusCommand(), watchCommand(),
			pauseCommand(), resumeCommand(), rmCommand(),
			cloudCommand(), doctorCommand(),
		},
		// Errors are printed once, by main.
		ExitErrHandler: func(context.Context, *cli.Command, error) {},
		Action: func(_ context.Context, c *cli.Command) error {
			if c.Args().Present() {
				return usagef("there is no command %q; masvfs --help lists them", c.Args().First())
			}
			return cli.ShowRootCommandHelp(c)
		},
	}
	usage := func(_ context.Context, c *cli.Command, err error, _ bool) error {
		return usagef("%w; %s --help explains", err, c.FullName())
	}
	app.OnUsageError = usage
	for _, c := range app.Commands {
		c.OnUsageError = usage
	}
	return app
}

// version tells what was built: a released version, or the commit.
func version() string {
	build, ok := debug.ReadBuildInfo()
	if !ok || build.Main.Version == "" {
		return "unknown"
	}
	return build.Main.Version
}
