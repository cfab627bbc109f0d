package fusefs

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// ErrNoFUSE: this machine, or this user, cannot mount.
var ErrNoFUSE = errors.New("FUSE cannot be used")

// Config says what to mount where.
type Config struct {
	Path       string // absolute; made when missing, and empty
	Agent      Agent
	StatfsPath string // a folder of the file system that holds the data
	AllowOther bool   // let other users read
	Ordinary   bool   // read files through this process, even where the kernel could by itself
	Log        *slog.Logger
}

// FS is a mount.
type FS struct {
	path       string
	agent      Agent
	statfsPath string
	log        *slog.Logger
	uid, gid   uint32
	shared     bool // other users may come in

	server      *fuse.Server
	served      chan struct{} // closed when the kernel is served no longer
	leaving     atomic.Bool   // it is being unmounted by us
	handles     handles
	held        held
	open        *openFiles
	passthrough *passthrough
	announcer   *announcer

	// ctx is what calls of the agent are made with; it ends with the mount. A
	// request's own context says nothing here: calls are short, and a reader
	// that is interrupted can wait for one.
	ctx  context.Context
	stop context.CancelFunc
}

// Available returns nil if mounts are possible, else ErrNoFUSE with what to do about it.
func Available() error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: there is no /dev/fuse; load the kernel's module (modprobe fuse), or give the container the device", ErrNoFUSE)
	case err != nil:
		return fmt.Errorf("%w: %w; let this user read and write /dev/fuse", ErrNoFUSE, err)
	}
	f.Close()
	if mayMount() {
		return nil
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		return fmt.Errorf("%w: an ordinary user needs fusermount3 to mount; install it (apt install fuse3)", ErrNoFUSE)
	}
	return nil
}

// Mount mounts, and serves until Unmount. A mount that a killed agent has
// left behind is cleared first; one that another agent serves is refused.
func Mount(ctx context.Context, cfg Config) (*FS, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if err := prepare(cfg.Path); err != nil {
		return nil, fmt.Errorf("mount %s: %w", cfg.Path, err)
	}
	m := &FS{
		path:       cfg.Path,
		agent:      cfg.Agent,
		statfsPath: cfg.StatfsPath,
		log:        cfg.Log,
		uid:        uint32(os.Geteuid()),
		gid:        uint32(os.Getegid()),
		shared:     cfg.AllowOther,
		served:     make(chan struct{}),
	}
	m.ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.open = newOpenFiles(m)
	m.announcer = newAnnouncer(m)
	server, err := fuse.NewServer(server{m, refusing()}, cfg.Path, &fuse.MountOptions{
		AllowOther:    cfg.AllowOther,
		DirectMount:   mayMount(),
		FsName:        "masvfs",
		Name:          "masvfs",
		MaxWrite:      1 << 20,
		MaxReadAhead:  1 << 20,
		MaxStackDepth: stackDepth,
		Logger:        log.New(debugLog{cfg.Log}, "", 0),
	})
	if err != nil {
		m.stop()
		return nil, fmt.Errorf("mount %s: %w", cfg.Path, err)
	}
	m.server = server
	m.passthrough = newPassthrough(server, cfg.Ordinary)
	// The library's own way to wait for the mount opens a file in it; a process
	// that is killed just then would never die.
	go m.serve()
	if err := m.announcer.start(); err != nil {
		m.log.Warn("those who watch the mount are told of nothing, and who stands in a removed folder sees its names for a second", "mount", m.path, "err", err)
	}
	m.log.Info("mounted", "mount", m.path, "reads", m.Reads())
	return m, nil
}

// serve answers the kernel until the mount is gone.
func (m *FS) serve() {
	m.server.Serve()
	m.announcer.stop()
	if !m.leaving.Load() {
		m.log.Error("mount was taken away by somebody; downloads go on without it until the next start", "mount", m.path)
	}
	close(m.served)
}

// debugLog passes on what the library complains of.
type debugLog struct{ log *slog.Logger }

func (q debugLog) Write(p []byte) (int, error) {
	q.log.Debug("fuse", "message", string(p))
	return len(p), nil
}

// prepare makes sure that there is an empty folder to mount on.
func prepare(path string) error {
	mounted, err := Mounted(path)
	if err != nil {
		return err
	}
	if mounted {
		if !Stale(path) {
			return fmt.Errorf("another agent, process %s, serves it; stop that one, or choose another folder with --mount", servedBy(path))
		}
		if err := detach(path); err != nil {
			return fmt.Errorf("clear what a killed agent has left behind: %w", err)
		}
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("the folder is not empty, and the mount would hide %s; move that away, or choose another folder with --mount", entries[0].Name())
	}
	return nil
}

// Unmount unmounts. Whoever still uses the mount after timeout is named in
// the log and loses it.
func (m *FS) Unmount(timeout time.Duration) error {
	defer m.stop()
	m.leaving.Store(true)
	m.announcer.stop()
	select {
	case <-m.announcer.ended:
	case <-time.After(timeout):
	}
	select {
	case <-m.served:
		return nil // somebody has unmounted it
	default:
	}
	end := time.Now().Add(timeout)
	for time.Now().Before(end) {
		// The library unmounts, then waits for the kernel's last word. That
		// does not come while another mount namespace has a copy of the mount.
		unmounted := make(chan error, 1)
		go func() { unmounted <- m.server.Unmount() }()
		select {
		case err := <-unmounted:
			if err == nil {
				<-m.served
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		case <-time.After(time.Until(end)):
			if mounted, err := Mounted(m.path); err == nil && !mounted {
				m.log.Warn("a copy of the mount is in use in another mount namespace, and ends with this process", "mount", m.path)
				return nil
			}
		}
	}
	m.log.Warn("mount is in use and is detached all the same", "mount", m.path, "users", users(m.path))
	if err := detach(m.path); err != nil {
		return fmt.Errorf("unmount %s: %w", m.path, err)
	}
	return nil
}

// detach unmounts lazily: the name is free at once, whoever has something open keeps it.
func detach(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err == nil || mayMount() {
		return err
	}
	if out, err := exec.Command("fusermount3", "-uz", "--", path).CombinedOutput(); err != nil {
		return fmt.Errorf("fusermount3 -uz %s: %w: %s", filepath.Clean(path), err, out)
	}
	return nil
}
