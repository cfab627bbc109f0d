package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Weather is what a line between two network namespaces is like.
type weather struct {
	RTT  time.Duration // of a packet and its answer
	Rate int64         // bits per second, each way
	Loss float64       // the share of the packets that is lost
}

// A line leads from a near namespace, where the programs run that download, to
// a far one with the servers. Packets pass through a process that delays and
// loses them: the kernel's own emulation (netem) is not everywhere.
type line struct{ nearEnd, farEnd *netns }

const (
	nearAddress = "10.77.0.2"
	farAddress  = "10.77.0.1"
)

func (l *line) near() *netns {
	if l == nil {
		return nil
	}
	return l.nearEnd
}

func (l *line) far() *netns {
	if l == nil {
		return nil
	}
	return l.farEnd
}

// A netns is a network namespace: that of a process. It goes with it.
type netns struct{ pid int }

// command is a command that is to run in the namespace; nil: in our own.
func (n *netns) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if n != nil {
		args = append([]string{"--net=" + n.path(), "--", name}, args...)
		name = "nsenter"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = patience
	return cmd
}

func (n *netns) path() string { return fmt.Sprintf("/proc/%d/ns/net", n.pid) }

// lineMissing says why there can be no line, "" if there can.
func lineMissing() string {
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	for _, name := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(name); err != nil {
			return name + " is not installed (apt install iproute2 util-linux)"
		}
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return "there is no TUN device: " + err.Error()
	}
	f.Close()
	return ""
}

// A relaySetup is what the process between the namespaces is told.
type relaySetup struct {
	weather
	Near, Far string // paths of the namespaces
}

// newLine makes a line that lasts as long as tb.
func (s *stage) newLine(tb testing.TB, w weather) (*line, error) {
	l := &line{}
	for _, end := range []**netns{&l.nearEnd, &l.farEnd} {
		n, err := newNetns(tb)
		if err != nil {
			return nil, err
		}
		*end = n
	}
	var device string
	s.serve(tb, "relay", relaySetup{w, l.nearEnd.path(), l.farEnd.path()}, nil, &device)
	for _, end := range []struct {
		at         *netns
		own, other string
	}{{l.nearEnd, nearAddress, farAddress}, {l.farEnd, farAddress, nearAddress}} {
		for _, words := range []string{
			"link set lo up",
			"link set " + device + " txqueuelen 20000 up",
			"addr add " + end.own + " peer " + end.other + " dev " + device,
		} {
			if out, err := end.at.command(tb.Context(), "ip", strings.Fields(words)...).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("ip %s: %w: %s", words, err, out)
			}
		}
	}
	return l, nil
}

// newNetns starts a process in a namespace of its own that ends with ours.
func newNetns(tb testing.TB) (*netns, error) {
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	tb.Cleanup(func() { in.Close(); cmd.Wait() })
	return &netns{cmd.Process.Pid}, nil
}

// lineDevice is the name of the device at both ends.
const lineDevice = "line"

// serveRelay carries packets between two namespaces.
func serveRelay(setup relaySetup) (any, error) {
	// Where packets are lost, each is one of its own; else many pass at once.
	single := setup.Loss > 0
	near, err := openTUN(setup.Near, single)
	if err != nil {
		return nil, err
	}
	far, err := openTUN(setup.Far, single)
	if err != nil {
		return nil, err
	}
	go setup.carry(near, far)
	go setup.carry(far, near)
	return lineDevice, nil
}

// openTUN makes a device in a namespace, which lasts until we end.
func openTUN(namespace string, single bool) (int, error) {
	type result struct {
		fd  int
		err error
	}
	opened := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread has left our namespace
		fd, err := openTUNHere(namespace, single)
		opened <- result{fd, err}
	}()
	r := <-opened
	return r.fd, r.err
}

func openTUNHere(namespace string, single bool) (int, error) {
	ns, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", namespace, err)
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("enter %s: %w", namespace, err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if !single {
		flags |= unix.IFF_VNET_HDR
	}
	request, err := unix.NewIfreq(lineDevice)
	if err != nil {
		return -1, err
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return -1, fmt.Errorf("make the device: %w", err)
	}
	if !single { // the kernel hands over trains of TCP segments whole
		const checksum, tso4 = 1, 2 // TUN_F_CSUM, TUN_F_TSO4
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, checksum|tso4); err != nil {
			return -1, fmt.Errorf("set the device up: %w", err)
		}
	}
	return fd, nil
}

// carry takes packets from one end to the other. What does not fit into a
// tenth of a second of the rate is dropped, as a router does.
func (w weather) carry(from, to int) {
	type packet struct {
		due  time.Time
		data []byte
	}
	const queueTime = 100 * time.Millisecond
	queue := make(chan packet, 1<<16)
	go func() {
		for p := range queue {
			time.Sleep(time.Until(p.due))
			if _, err := unix.Write(to, p.data); err != nil && !errors.Is(err, unix.EIO) { // EIO: the device is not up yet
				fmt.Fprintln(os.Stderr, "write:", err)
			}
		}
	}()
	random := rand.New(rand.NewPCG(uint64(from), uint64(to)))
	buf := make([]byte, 128*kiB)
	var free time.Time // when the line has sent what is queued
	for {
		n, err := unix.Read(from, buf)
		if err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			fmt.Fprintln(os.Stderr, "read:", err)
			return
		}
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		if free.Sub(now) > queueTime || w.Loss > 0 && random.Float64() < w.Loss {
			continue
		}
		free = free.Add(time.Duration(int64(n) * 8 * int64(time.Second) / w.Rate))
		queue <- packet{free.Add(w.RTT / 2), append([]byte(nil), buf[:n]...)}
	}
}

// sink reads what its input lists, "URL bytes" a line, over 16 connections and
// throws it away. Its argument is the file of the authority that it trusts.
func sink(args []string) error {
	client, err := trusting(args[0])
	if err != nil {
		return err
	}
	list, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	type piece struct {
		url      string
		from, to int64
	}
	var pieces []piece
	for text := range strings.Lines(string(list)) {
		url, number, _ := strings.Cut(strings.TrimSpace(text), " ")
		size, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return err
		}
		step := size
		if size >= 16*miB {
			step = (size + 15) / 16
		}
		for from := int64(0); from < size; from += step {
			pieces = append(pieces, piece{url, from, min(from+step, size)})
		}
	}
	work, failed := make(chan piece, len(pieces)), make(chan error, 16)
	for _, p := range pieces {
		work <- p
	}
	close(work)
	for range 16 {
		go func() {
			buf := make([]byte, 256*kiB)
			for p := range work {
				if err := throwAway(client, p.url, p.from, p.to, buf); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range 16 {
		if err := <-failed; err != nil {
			return err
		}
	}
	return nil
}
