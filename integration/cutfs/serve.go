package cutfs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// order is what the process of the file system is told, a JSON object a line.
// It answers each with one.
type order struct {
	Do     string  // mount, stop, cut, fail, lie, room, hang, wake
	Moment *Moment // stop: then; nil: at once
	Cut    Cut
	Faults []*Fault
	Lies   []Lie
	Room   int64 // bytes
}

// answer is what it says: to an order, or by itself that it has stopped.
type answer struct {
	Error   string
	Stopped int64 // which mount, from 1; 0: it is the answer to an order
}

// Serve is the process of a file system that is mounted on a folder. It ends,
// and the mount with it, when its standard input does.
func Serve(mountpoint string) error {
	var out sync.Mutex
	tell := func(a answer) {
		out.Lock()
		defer out.Unlock()
		json.NewEncoder(os.Stdout).Encode(a)
	}
	p := &power{mountpoint: mountpoint, tell: tell}
	p.next = newDisk(0o755, uint32(os.Getuid()), uint32(os.Getgid()))
	defer p.unmount()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var o order
		err := json.Unmarshal(in.Bytes(), &o)
		if err == nil {
			err = p.obey(o)
		}
		if err != nil {
			tell(answer{Error: fmt.Sprintf("%s: %v", o.Do, err)})
		} else {
			tell(answer{})
		}
	}
	return in.Err()
}

// power is what there is of the file system while it has power, and while it
// has none.
type power struct {
	mountpoint string
	tell       func(answer)
	disk       *disk // mounted
	next       *disk // to be mounted
	mounts     int64
}

func (p *power) obey(o order) error {
	if o.Do == "mount" {
		return p.mount()
	}
	d := p.disk
	if d == nil {
		return fmt.Errorf("there is no power")
	}
	if o.Do == "cut" {
		d.powerOff()
		p.unmount()
		p.next = d.after(o.Cut)
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch o.Do {
	case "stop":
		if d.moment = o.Moment; o.Moment == nil {
			d.freeze()
		}
	case "fail":
		d.faults = o.Faults
	case "lie":
		d.lies = o.Lies
	case "room":
		d.room = o.Room
	case "hang":
		if d.hung == nil {
			d.hung = make(chan struct{})
		}
	case "wake":
		if d.hung != nil {
			close(d.hung)
			d.hung = nil
		}
	default:
		return fmt.Errorf("unknown")
	}
	return nil
}

func (p *power) mount() error {
	if p.disk != nil {
		return fmt.Errorf("it is mounted")
	}
	d := p.next
	p.mounts++
	n := p.mounts
	d.frozen = func() { p.tell(answer{Stopped: n}) }
	server, err := fuse.NewServer(newSystem(d), p.mountpoint, &fuse.MountOptions{
		FsName:                   "cutfs",
		Name:                     "cutfs",
		DirectMount:              os.Geteuid() == 0,
		DisableReadDirPlus:       true,
		DisableXAttrs:            true,
		ExplicitDataCacheControl: true, // nobody but the kernel changes anything
		MaxWrite:                 1 << 20,
	})
	if err != nil {
		return err
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return err
	}
	p.disk, p.next = d, nil
	return nil
}

// unmount takes the file system away from under whoever uses it.
func (p *power) unmount() {
	if p.disk == nil {
		return
	}
	p.disk.powerOff()
	p.disk = nil
	Unmount(p.mountpoint)
}

// Unmount takes a mount away from under whoever uses it, if it is there.
func Unmount(mountpoint string) {
	if os.Geteuid() == 0 {
		syscall.Unmount(mountpoint, detach)
		return
	}
	exec.Command("fusermount3", "-u", "-z", "-q", mountpoint).Run()
}
