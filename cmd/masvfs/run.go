package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"masvfs/fetch"
	"masvfs/fetch/dirent"
	"masvfs/fusefs"
	"masvfs/rest"
	"masvfs/watcher"
)

// unmountTime is how long a stop waits for those who still use the mount.
const unmountTime = 5 * time.Second

func runCommand() *cli.Command {
	f := newConfigFile(os.Args)
	return withConfig(f, &cli.Command{
		Name:  "run",
		Usage: "run the agent in the foreground: inbox, downloads, REST and mount",
		Description: "Runs until SIGINT or SIGTERM, then stops clean: what has arrived is kept, and the next start goes on.\n" +
			"Every flag is also a key of the configuration file and an environment variable: --max-active is\n" +
			"max-active there and MASVFS_MAX_ACTIVE here. The command line wins, then the environment.",
		Flags: agentFlags(f),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := checkArguments(c); err != nil {
				return err
			}
			s, err := readSettings(c)
			if err != nil {
				return err
			}
			return serve(ctx, s, nil)
		},
	}, func() []cli.Flag { return agentFlags(f) })
}

// serve is the agent's whole life: everything starts, ready is called, and
// when ctx ends or something breaks everything stops, in the reverse order.
func serve(ctx context.Context, s *settings, ready func(*fetch.Agent, net.Addr)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("the agent cannot run: %w", err)
		}
	}()
	if err := checkOpenFiles(); err != nil {
		return err
	}
	if err := s.makeFolders(); err != nil {
		return err
	}
	for _, folder := range []string{s.state, s.inbox} {
		release, err := hold(folder)
		if err != nil {
			return err
		}
		defer release()
	}

	// The address is taken first, so that one in use is known before anything runs.
	listener, err := s.listen.Listen()
	if err != nil {
		return err
	}
	defer listener.Close()

	agent, err := newAgent(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Close()) }()

	if s.mount != "" {
		mount, merr := fusefs.Mount(ctx, fusefs.Config{
			Path:       s.mount,
			Agent:      agent,
			StatfsPath: s.roots[0],
			AllowOther: s.allowOther,
			Ordinary:   s.ordinaryReads,
			Log:        s.log,
		})
		if merr != nil {
			return fmt.Errorf("%w (or run without a mount: --mount=)", merr)
		}
		defer func() { err = errors.Join(err, mount.Unmount(unmountTime)) }()
		agent.Address(mount)
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return agent.Run(ctx) })
	group.Go(func() error {
		return watcher.New(watcher.Config{Folder: s.inbox, Agent: agent, Log: s.log}).Run(ctx)
	})
	group.Go(func() error {
		handler := rest.New(rest.Config{Agent: agent, MountPath: s.mount, Token: s.token, Log: s.log, Hosts: listener.Hosts()})
		return rest.Serve(ctx, listener, handler)
	})
	s.log.Info("agent runs", "inbox", s.inbox, "mount", s.mount, "destination", s.roots[0], "listen", s.listen.Spec)
	if ready != nil {
		ready(agent, listener.Addr())
	}
	err = group.Wait()
	s.log.Info("agent stops")
	return err
}

// leastOpen is how many files the agent must be allowed to have open: those that
// arrive and those that are flushed, their folders, and connections.
const leastOpen = 1024

// checkOpenFiles refuses to run where files would fail one by one. Go has
// raised the limit as far as it may already.
func checkOpenFiles() error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur >= leastOpen {
		return nil
	}
	return fmt.Errorf("only %d files may be open at once here, and it needs %d; raise the limit (ulimit -n %d, or LimitNOFILE=%d in the service's unit)", l.Cur, leastOpen, leastOpen, leastOpen)
}

// makeFolders makes every folder that is missing. State folder and inbox hold
// secrets, and so are private; what leads to them is not.
func (s *settings) makeFolders() error {
	for _, folder := range []string{s.state, s.inbox} {
		if err := dirent.MakeFolder(folder, 0o700); err != nil {
			return err
		}
	}
	// Somebody may have made it for the agent, in the usual way.
	if info, err := os.Stat(s.state); err == nil && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(s.state, 0o700); err != nil {
			s.log.Warn("others can look into the state folder; its database is closed to them by itself", "folder", s.state, "error", err)
		}
	}
	for _, folder := range s.roots {
		if s.away[folder] {
			s.log.Warn("the disk of a destination does not answer; downloads to it wait until it does", "folder", folder)
			continue
		}
		if err := dirent.MakeFolder(folder, 0o755); err != nil {
			return err
		}
	}
	if s.mount != "" {
		// Its own folder is made when it is mounted on: it may be a dead mount now.
		if err := dirent.MakeFolder(filepath.Dir(s.mount), 0o755); err != nil {
			return fmt.Errorf("%w (or run without a mount: --mount=)", err)
		}
	}
	return nil
}

func newAgent(s *settings) (*fetch.Agent, error) {
	keepOut := []string{s.inbox, s.state}
	if s.mount != "" {
		keepOut = append(keepOut, s.mount)
	}
	return fetch.New(fetch.Config{
		Database:    filepath.Join(s.state, "masvfs.db"),
		Cloud:       s.cloud,
		Roots:       s.roots,
		KeepOut:     keepOut,
		Storage:     s.storage,
		UserAgent:   userAgent(),
		Connections: s.connections,
		MaxActive:   s.maxActive,
		RateLimit:   s.rateLimit,
		Reserve:     s.reserve,
		Names:       s.names,
		Publish:     s.publish,
		Log:         s.log,
	})
}
