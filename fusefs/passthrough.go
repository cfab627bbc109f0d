package fusefs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"masvfs/fetch/dirent"
)

// passthrough has the kernel read files by itself, where it can: Linux 6.9 and
// later, with CAP_SYS_ADMIN, from a file system that is not stacked upon
// another one. Source: Documentation/filesystems/fuse/fuse-passthrough.rst.
//
// An offer is not asked for twice where the answer is known: of a mount that
// may not at all, and of a file system that cannot.
type passthrough struct {
	server *fuse.Server

	mu     sync.Mutex // guards what follows
	denied string     // why it is not to be had at all; "": it may be
	cannot map[uint64]string
}

// stackDepth is how many file systems the kernel may find stacked below this
// one: none may be a stacked one itself.
const stackDepth = 1

func newPassthrough(server *fuse.Server, ordinary bool) *passthrough {
	p := &passthrough{server: server, cannot: make(map[uint64]string)}
	switch {
	case ordinary:
		p.denied = "it is switched off"
	case server.KernelSettings().Flags64()&fuse.CAP_PASSTHROUGH == 0:
		p.denied = "this kernel has no passthrough for FUSE; Linux 6.9 and later do"
	}
	return p
}

// offer gives the kernel a file to read from, and returns its number there. It
// returns 0 if the kernel does not take it. The caller keeps f, and may close it.
func (p *passthrough) offer(f *os.File) int32 {
	device := deviceOf(f)
	p.mu.Lock()
	known := p.denied != "" || p.cannot[device] != ""
	p.mu.Unlock()
	if known {
		return 0
	}
	id, errno := p.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(f.Fd())})
	if errno == 0 {
		return id
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch errno {
	case syscall.EPERM:
		p.denied = "this process lacks CAP_SYS_ADMIN"
	case syscall.ENOMEM, syscall.ENFILE, syscall.EINTR:
		// Another time it may.
	case syscall.ELOOP:
		p.cannot[device] = "the file system below is stacked upon another one"
	default:
		p.cannot[device] = fmt.Sprintf("the kernel refuses files of that file system (%v)", errno)
	}
	return 0
}

// withdraw says that a file is no longer needed.
func (p *passthrough) withdraw(id int32) { p.server.UnregisterBackingFd(id) }

// why returns why files of a device are not read by the kernel itself; "" if they are.
func (p *passthrough) why(device uint64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.denied != "" {
		return p.denied
	}
	return p.cannot[device]
}

// Reads tells how files of the first destination are read, and why: by the
// kernel itself ("passthrough"), or through this process ("ordinary: why").
func (m *FS) Reads() string { return m.passthrough.reads(m.statfsPath) }

// reads tries it with a file without a name in a folder.
func (p *passthrough) reads(folder string) string {
	f, err := trialFile(folder)
	if err != nil {
		return "ordinary: it cannot be tried: " + err.Error()
	}
	defer f.Close()
	if id := p.offer(f); id != 0 {
		p.withdraw(id)
	}
	if why := p.why(deviceOf(f)); why != "" {
		return "ordinary: " + why
	}
	return "passthrough"
}

// TryReads returns what FS.Reads would say of a mount that this process makes,
// for files in a folder that exists. It makes one for that moment, which is
// empty and in a temporary folder.
func TryReads(folder string, ordinary bool) (how string, err error) {
	at, err := os.MkdirTemp("", "masvfs-trial-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.Remove(at)) }()
	trial, err := fuse.NewServer(refusing(), at, &fuse.MountOptions{
		DirectMount: mayMount(), FsName: "masvfs", Name: "masvfs", MaxStackDepth: stackDepth,
	})
	if err != nil {
		return "", err
	}
	go trial.Serve()
	defer func() { err = errors.Join(err, trial.Unmount()) }()
	return newPassthrough(trial, ordinary).reads(folder), nil
}

// trialName is what a trial's file is called for a moment. It is always the
// same, so that one that an end of the program or a power cut has left behind
// goes with the next trial.
const trialName = ".masvfs-trial"

// trialFile opens a file on the file system of a folder, one without a name if possible.
func trialFile(folder string) (*os.File, error) {
	fd, err := unix.Open(folder, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), folder), nil
	}
	in, oerr := os.OpenRoot(folder)
	if oerr != nil {
		return nil, errors.Join(err, oerr)
	}
	defer in.Close()
	if left, lerr := in.Lstat(trialName); lerr == nil && left.Mode().IsRegular() && left.Size() == 0 {
		in.Remove(trialName)
	}
	f, cerr := in.OpenFile(trialName, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if cerr != nil {
		return nil, errors.Join(err, cerr)
	}
	if err := in.Remove(trialName); err != nil && !errors.Is(err, fs.ErrNotExist) { // another trial may have been first
		f.Close()
		return nil, err
	}
	if d, err := in.Open("."); err == nil {
		_ = dirent.Sync(d) // else a power cut brings it back, until the next trial
		d.Close()
	}
	return f, nil
}

func deviceOf(f *os.File) uint64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	return st.Dev
}
