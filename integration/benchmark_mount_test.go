package integration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"masvfs/fetch/masv/masvtest"
)

// rounds is how often each row of a benchmark is measured, at each place in
// turn, so that what else goes on in the machine falls on all of them.
const rounds = 5

// A place is where the benchmarks read: the folder on disk, or a mount of it.
type place struct {
	name  string
	tree  string // with the package's files
	below string // where they are on disk
	site  *site  // nil: not a mount of masvfs
}

const (
	onDisk = "native"
	rclone = "rclone"
)

const (
	bigName  = "big.mov"
	bigSize  = 512 << 20
	noteName = "note.txt"
)

// benchFiles is how many small files there are, and how many in one folder.
func benchFiles(b *testing.B) (n, folder int) {
	n = 20_000
	if v := os.Getenv("MASVFS_BENCH_FILES"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 1000 {
			b.Fatalf("MASVFS_BENCH_FILES is %q, not a number from 1000 on", v)
		}
	}
	if n >= 300_000 {
		return n, 50_000
	}
	return n, n / 4
}

// benchPackage holds a large file, a note and n small files.
func benchPackage(n, folder int) masvtest.Package {
	return masvtest.Package{Name: "Bench", Count: n + 2, RateInterval: -1, Generate: func(i int) masvtest.File {
		switch {
		case i == 0:
			return masvtest.File{Name: bigName, Size: bigSize}
		case i == 1:
			return masvtest.File{Name: noteName, Size: 512}
		}
		i -= 2
		f := masvtest.File{Name: fmt.Sprintf("frame %06d.dpx", i), Path: "frames", Size: int64(2048 + i*7919%12288)}
		if i >= folder {
			f.Path = fmt.Sprintf("reels/reel %04d", (i-folder)/100)
		}
		return f
	}}
}

// BenchmarkMount compares what reading and listing cost on disk, in the mount
// (in both ways) and in rclone's mount of the same folder. Every figure is the
// median of some rounds; the metrics say how many times as long it takes.
func BenchmarkMount(b *testing.B) {
	n, folder := benchFiles(b)
	var places []place
	for _, w := range ways {
		if p, ok := benchPlace(b, w, benchPackage(n, folder)); ok {
			places = append(places, p)
		}
	}
	disk := filepath.Join(b.TempDir(), "native")
	run(b, "cp", "-a", places[0].below, disk)
	places = append([]place{{name: onDisk, tree: disk, below: disk}}, places...)
	if mount, ok := mountRclone(b, disk); ok {
		places = append(places, place{name: rclone, tree: mount, below: disk})
	}
	b.Logf("%d small files, %d of them in one folder", n, folder)
	seconds := func(text string) float64 {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
	big := func(p place) string { return filepath.Join(p.tree, bigName) }
	frames := func(p place) string { return filepath.Join(p.tree, "frames") }
	// The kernel has the file below in memory before each measurement, whatever
	// the former one did to that: splice moves pages away, and rclone's advice
	// has them dropped. Of a mount's own pages it has none before a first read.
	first := func(p place) string {
		read(b, "sequential", filepath.Join(p.below, bigName), "as it is")
		if p.name == onDisk {
			return "as it is"
		}
		return "forgotten"
	}
	row(b, "read of 512 MiB, first", places, func(p place) float64 {
		return seconds(read(b, "sequential", big(p), first(p)))
	})
	row(b, "read of 512 MiB, again", places, func(p place) float64 {
		first(p)
		read(b, "sequential", big(p), "as it is")
		return seconds(read(b, "sequential", big(p), "as it is"))
	})
	const blocks = 20_000
	row(b, "4 KiB at random, first", places, func(p place) float64 {
		return seconds(read(b, "at random", big(p), first(p), strconv.Itoa(blocks))) / blocks
	})
	const each = 100
	row(b, "64 readers, a small file", places, func(p place) float64 {
		readAll(b, p.below)
		return seconds(read(b, "crowd", p.tree, "64", strconv.Itoa(each))) / (64 * each)
	})
	find := func(p place) float64 { return listed(b, n, "find", p.tree) }
	list := func(p place) float64 { return listed(b, folder, "ls", "-l", frames(p)) }
	if os.Geteuid() == 0 {
		row(b, "find, cold", places, func(p place) float64 { dropCaches(b); return find(p) })
		row(b, "ls -l, cold", places, func(p place) float64 { dropCaches(b); return list(p) })
	} else {
		b.Log("cold rows are left out: only root can have the kernel forget what it knows")
	}
	for _, p := range places {
		find(p)
		list(p)
	}
	row(b, "find, warm", places, find)
	row(b, "ls -l, warm", places, list)
	for _, p := range places {
		if p.site != nil {
			underLoad(b, p, places)
		}
	}
}

// benchPlace downloads the package and mounts it; not ok where reads cannot be
// passed through.
func benchPlace(b *testing.B, w way, pkg masvtest.Package) (place, bool) {
	b.Helper()
	s := newSite(b, true)
	s.fetch(pkg)
	if why := s.startIn(w); why != "" {
		b.Logf("%s is left out: %s", w, why)
		return place{}, false
	}
	b.Cleanup(s.stop)
	return place{string(w), filepath.Join(s.mount, "Bench", "files"), filepath.Join(s.downloads, "Bench"), s}, true
}

// mountRclone mounts a folder with rclone, as its manual has it for reading.
func mountRclone(b *testing.B, folder string) (mount string, ok bool) {
	b.Helper()
	if _, err := exec.LookPath("rclone"); err != nil {
		b.Log("rclone is left out: it is not installed (apt install rclone)")
		return "", false
	}
	mount = b.TempDir()
	cmd := exec.Command("rclone", "mount", "--config", "", "--read-only", "--vfs-cache-mode", "off", folder, mount)
	log := new(syncBuffer)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = log, log, patience
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { cmd.Wait(); close(exited) }()
	b.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(patience):
			cmd.Process.Kill()
			unix.Unmount(mount, unix.MNT_FORCE|unix.MNT_DETACH)
			<-exited
		}
	})
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		select {
		case <-exited:
			b.Fatalf("rclone has ended: %s", log)
		default:
		}
		data, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || time.Now().After(end) {
			b.Fatalf("rclone does not mount: %v: %s", err, log)
		}
		if strings.Contains(string(data), mount) {
			return mount, true
		}
	}
}

// readAll brings a tree's bytes into memory.
func readAll(b *testing.B, folder string) {
	for _, rel := range tree(b, folder) {
		if f, err := os.Open(filepath.Join(folder, rel)); err == nil {
			io.Copy(io.Discard, f)
			f.Close()
		}
	}
}

// dropCaches has the kernel forget all names, inodes and bytes.
func dropCaches(b *testing.B) {
	run(b, "sh", "-c", "sync && echo 3 > /proc/sys/vm/drop_caches")
}

// listed runs a tool that lists at least n names and returns its seconds.
func listed(b *testing.B, n int, name string, args ...string) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest(b))
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = patience
	var out lineCounter
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil || int(out) < n {
		b.Fatalf("%s %s lists %d names, not %d: %v: %s", name, args, out, n, err, &errs)
	}
	return took.Seconds()
}

type lineCounter int

func (c *lineCounter) Write(p []byte) (int, error) {
	*c += lineCounter(bytes.Count(p, []byte("\n")))
	return len(p), nil
}

// row is one row of the benchmark: seconds at each place.
func row(b *testing.B, name string, places []place, measure func(p place) float64) {
	b.Run(name, func(b *testing.B) {
		took := map[string][]float64{}
		for i := range rounds {
			for j := range places {
				p := places[(i+j)%len(places)] // nobody always follows the same one
				took[p.name] = append(took[p.name], measure(p))
			}
		}
		b.ReportMetric(0, "ns/op")
		report(b, name, places, took)
	})
}

// report tells the medians of seconds, and their ratios for the mounts of masvfs.
func report(b *testing.B, name string, places []place, took map[string][]float64) {
	median := map[string]float64{}
	for at, all := range took {
		slices.Sort(all)
		median[at] = all[len(all)/2]
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-30s %10s %23s %9s", name, "median", "from … to", "× native")
	if median[rclone] != 0 {
		fmt.Fprintf(&table, " %9s", "× rclone")
	}
	for _, p := range places {
		all, m := took[p.name], median[p.name]
		fmt.Fprintf(&table, "\n  %-28s %10s %10s … %10s %9.3g", p.name, span(m), span(all[0]), span(all[len(all)-1]), m/median[onDisk])
		if median[rclone] != 0 {
			fmt.Fprintf(&table, " %9.3g", m/median[rclone])
		}
		if p.site == nil {
			continue
		}
		b.ReportMetric(m/median[onDisk], p.name+"/native")
		if median[rclone] != 0 {
			b.ReportMetric(m/median[rclone], p.name+"/rclone")
		}
	}
	b.Log(table.String())
}

// span shows seconds with three digits or four.
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
}

// underLoad measures how long ls and cat take while the agent of one place
// downloads with all its connections as fast as it can.
func underLoad(b *testing.B, at place, places []place) {
	b.Run("while "+at.name+" downloads", func(b *testing.B) {
		defer at.site.load(b)()
		here := slices.DeleteFunc(slices.Clone(places), func(p place) bool { return p.site != nil && p.name != at.name })
		took := map[string][][]float64{}
		for i := range rounds {
			for j := range here {
				p := here[(i+j)%len(here)]
				note := filepath.Join(p.tree, noteName)
				if p.site != nil {
					note = filepath.Join(p.site.mount, "Load", "progress")
				}
				var l latencies
				if err := json.Unmarshal([]byte(read(b, "latency", filepath.Join(p.tree, "reels", "reel 0000"), note)), &l); err != nil {
					b.Fatal(err)
				}
				took[p.name] = append(took[p.name], l.figures())
			}
		}
		b.ReportMetric(0, "ns/op")
		reportLatencies(b, here, took)
	})
}

// figures are what a row of latencies shows, in this order.
var figures = []string{"ls-p50", "ls-p99", "cat-p50", "cat-p99"}

func (l latencies) figures() (all []float64) {
	for _, samples := range [][]float64{l.List, l.Read} {
		slices.Sort(samples)
		all = append(all, samples[len(samples)/2], samples[len(samples)*99/100])
	}
	return all
}

// reportLatencies tells the medians of figures, and their ratios.
func reportLatencies(b *testing.B, places []place, took map[string][][]float64) {
	median := map[string][]float64{}
	for at, all := range took {
		for i := range figures {
			slices.SortFunc(all, func(a, b []float64) int { return cmp.Compare(a[i], b[i]) })
			median[at] = append(median[at], all[len(all)/2][i])
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%-16s", "(× native)")
	for _, figure := range figures {
		fmt.Fprintf(&table, " %20s", figure)
	}
	for _, p := range places {
		fmt.Fprintf(&table, "\n  %-14s", p.name)
		for i, figure := range figures {
			m := median[p.name][i]
			fmt.Fprintf(&table, " %11s (%6.1f)", span(m), m/median[onDisk][i])
			if p.site == nil {
				continue
			}
			b.ReportMetric(m/median[onDisk][i], figure+"-"+p.name+"/native")
			if r := median[rclone]; r != nil {
				b.ReportMetric(m/r[i], figure+"-"+p.name+"/rclone")
			}
		}
	}
	b.Log(table.String())
}

// load has the agent download until the function that it returns is called.
func (s *site) load(b *testing.B) (end func()) {
	b.Helper()
	// Holes cost whoever serves them little.
	hole := filepath.Join(b.TempDir(), "hole")
	if err := errors.Join(os.WriteFile(hole, nil, 0o644), os.Truncate(hole, 256<<20)); err != nil {
		b.Fatal(err)
	}
	pkg := masvtest.Package{Name: "Load"}
	for range 16 {
		addLocal(b, &pkg, hole)
		pkg.Files[len(pkg.Files)-1].Path = strconv.Itoa(len(pkg.Files))
	}
	ctx, stop := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	var bytes int64
	start := time.Now()
	again := func() bool {
		link := s.cloud.AddPackage(pkg)
		id := s.add(link, "")
		var d download
		for d.State != "complete" && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
			d = download{}
			s.call("GET", "/downloads/"+id+"?files=false", "", &d)
		}
		bytes += d.BytesDone
		return s.call("DELETE", "/downloads/"+id, `{"remove_files": true}`, nil) == 204 && ctx.Err() == nil
	}
	wait.Go(func() {
		for again() {
		}
	})
	s.until("it downloads", func() bool {
		all := s.list()
		return slices.ContainsFunc(all, func(d download) bool { return d.Name == "Load" && d.BytesDone > 0 })
	})
	return func() {
		stop()
		wait.Wait()
		b.Logf("meanwhile %.0f MB/s arrived", float64(bytes)/1e6/time.Since(start).Seconds())
	}
}

// What readers do for the benchmarks: each prints the seconds that it took.

// sequential reads a file from its start to its end.
func sequential(args []string) error {
	f, err := openForgotten(args[0], args[1])
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	start, size := time.Now(), 0
	for {
		n, err := f.Read(buf)
		size += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	return printSeconds(start, size == bigSize)
}

// openForgotten opens a file of which the kernel has, if it is to be forgotten,
// no pages of the mount's own.
func openForgotten(path, how string) (*os.File, error) {
	f, err := os.Open(path)
	if err == nil && how == "forgotten" {
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	return f, err
}

func printSeconds(start time.Time, whole bool) error {
	took := time.Since(start)
	if !whole {
		return errors.New("something is missing")
	}
	fmt.Println(took.Seconds())
	return nil
}

// atRandom reads blocks of 4 KiB.
func atRandom(args []string) error {
	f, err := openForgotten(args[0], args[1])
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 4096)
	start := time.Now()
	for range n {
		if _, err := f.ReadAt(buf, random.Int64N(bigSize/4096)*4096); err != nil {
			return err
		}
	}
	return printSeconds(start, true)
}

// crowd has many readers read small files, whole, in any order.
func crowd(args []string) error {
	reels, err := os.ReadDir(filepath.Join(args[0], "reels"))
	if err != nil {
		return err
	}
	var files []string
	for _, reel := range reels {
		folder := filepath.Join(args[0], "reels", reel.Name())
		entries, err := os.ReadDir(folder)
		if err != nil {
			return err
		}
		for _, e := range entries {
			files = append(files, filepath.Join(folder, e.Name()))
		}
	}
	many, errA := strconv.Atoi(args[1])
	each, errB := strconv.Atoi(args[2])
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	failed := make(chan error, many)
	start := time.Now()
	var wait sync.WaitGroup
	for i := range many {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(i)))
			for range each {
				if _, err := os.ReadFile(files[random.IntN(len(files))]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(failed)
	if err := <-failed; err != nil {
		return err
	}
	return printSeconds(start, true)
}

// latencies are the seconds that single calls took.
type latencies struct{ List, Read []float64 }

// latency lists a folder as ls -l does and reads a file as cat does, in turn.
func latency(args []string) error {
	const samples = 200
	var l latencies
	for range samples {
		time.Sleep(2 * time.Millisecond)
		start := time.Now()
		entries, err := os.ReadDir(args[0])
		if err != nil {
			return err
		}
		for _, e := range entries {
			if _, err := e.Info(); err != nil {
				return err
			}
		}
		l.List = append(l.List, time.Since(start).Seconds())
		time.Sleep(2 * time.Millisecond)
		start = time.Now()
		if _, err := os.ReadFile(args[1]); err != nil && !errors.Is(err, os.ErrNotExist) { // between two downloads
			return err
		} else if err == nil {
			l.Read = append(l.Read, time.Since(start).Seconds())
		}
	}
	return json.NewEncoder(os.Stdout).Encode(l)
}
