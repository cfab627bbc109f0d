package integration

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A trial is one row of the benchmark: what is downloaded, from where, by whom.
type trial struct {
	name    string // of the benchmark: Download/name
	title   string // what people read
	parcels []parcel
	origin  originKind
	line    *weather      // nil: loopback
	delay   time.Duration // before each answer of the API
	peers   []peer
	left    string // which peers are left out, and why
	sinks   bool   // measure the limits too
	limit   limit
	goal    goal
	rounds  int // at most; 0: as many as the form has

	// Those for masvfs alone:

	first bool // measure the time to the first finished file, and no more
	fewer int  // measure also how fast so many of the files come; 0: not
}

// A goal is the most that masvfs may take; 0 is none.
type goal struct {
	peer  float64 // of the time of the best peer
	limit float64 // of the limit
}

// A limit is what nobody could do better, out of the medians in seconds.
type limit struct {
	what    string
	seconds func(sink, disk float64) float64
}

// A form is how much there is to do.
type form struct {
	name   string
	rounds int
	index  int // of the form in size's arguments
}

var (
	fullForm  = form{"full", 5, 0}
	quickForm = form{"quick", 3, 1}
	tinyForm  = form{"tiny", 1, 2} // for the correctness of all this
)

func (f form) of(full, quick, tiny int64) int64 { return [...]int64{full, quick, tiny}[f.index] }

// BenchmarkDownload downloads the same bytes with masvfs and with the programs
// that people would take instead, as far as they are installed, and prints
// tables. A peer's time is that of its run and of the sync that makes its bytes
// durable; that of masvfs is from the call that adds the links until their
// state is complete, which is durable already. The programs take turns, over
// several rounds; who brings wrong bytes is dropped, and named.
//
// MASVFS_BENCH=quick takes smaller sizes and fewer rounds. MASVFS_BENCH_DIR is
// the folder that is downloaded to, by default that of temporary files; the
// full form needs 13 GiB there. MASVFS_BENCH_MOUNT=yes has masvfs mount, too.
func BenchmarkDownload(b *testing.B) {
	f := fullForm
	switch v := os.Getenv("MASVFS_BENCH"); v {
	case "", "full":
	case "quick":
		f = quickForm
	default:
		b.Fatalf("MASVFS_BENCH is %q, neither full nor quick", v)
	}
	s := newStage(b, f, os.Stdout)
	for _, t := range trials(f) {
		b.Run(t.name, func(b *testing.B) {
			o := s.run(b, t)
			b.ReportMetric(0, "ns/op")
			if r := o.overPeer(); r != 0 {
				b.ReportMetric(r, "ours/peer")
			}
			if r := o.overLimit(); r != 0 {
				b.ReportMetric(r, "ours/limit")
			}
		})
	}
	s.summarise()
}

const (
	kiB = 1 << 10
	miB = 1 << 20
	giB = 1 << 30
)

// trials are the rows in that form.
func trials(f form) []trial {
	larger := limit{"reading over 16 connections, or copying and flushing, whichever takes longer", math.Max}
	reading := limit{"reading over 16 connections", func(sink, _ float64) float64 { return sink }}
	copying := limit{"copying and flushing", func(_, disk float64) float64 { return disk }}
	calls := func(n int, rtt time.Duration, l limit) limit {
		return limit{fmt.Sprintf("%s, and %d round trips of the API", l.what, n), func(sink, disk float64) float64 {
			return l.seconds(sink, disk) + float64(n)*rtt.Seconds()
		}}
	}
	big := []parcel{oneFile(f.of(4*giB, giB, 5*miB+7))}
	middle := []parcel{oneFile(f.of(giB, 256*miB, 3*miB+1))}
	frames := int(f.of(500, 100, 5))
	small := int(f.of(100, 20, 3))
	const rtt = 50 * time.Millisecond
	const oneConnection = "curl and wget, which read over one connection"
	all := []trial{
		{
			name: "tls", title: "one file of " + size(big[0].Sizes[0]) + " over TLS", parcels: big,
			origin: originKind{TLS: true}, peers: []peer{curlOne, aria2One, rcloneOne, wgetAll},
			sinks: true, limit: larger, goal: goal{0.9, 1.2},
		},
		{
			name: "plain", title: "one file of " + size(big[0].Sizes[0]) + ", plain HTTP", parcels: big,
			peers: []peer{curlOne, aria2One, rcloneOne, wgetAll}, sinks: true, limit: copying, goal: goal{0.8, 1.2},
		},
		{
			name: "frames", title: fmt.Sprintf("%d files of 4 MiB over TLS, %v before each answer of the API", frames, rtt),
			parcels: []parcel{{Name: "Frames", Sizes: equal(frames, f.of(4*miB, 4*miB, 100*kiB))}}, delay: rtt,
			origin: originKind{TLS: true}, peers: []peer{curlMany, curlInTurn, aria2Many, rcloneMany, wgetAll},
			sinks: true, limit: larger, goal: goal{0.9, 1.2},
		},
		{
			name: "capped", title: size(middle[0].Sizes[0]) + ", 20 MiB/s a connection", parcels: middle,
			origin: originKind{Rate: 20 * miB}, peers: []peer{aria2One, rclone16}, left: oneConnection,
			sinks: true, limit: reading, goal: goal{0.8, 1.1},
		},
		{
			name: "far", title: size(middle[0].Sizes[0]) + fmt.Sprintf(", %v round trip, 1 Gbit/s", rtt), parcels: middle,
			line: &weather{RTT: rtt, Rate: 1e9}, peers: []peer{curlOne, aria2One, rclone16}, left: "wget, which reads over one connection as curl does",
			sinks: true, limit: calls(3, rtt, reading), goal: goal{0.95, 1.03},
		},
		{
			name: "loss", title: "256 MiB, " + rtt.String() + " round trip, 1 Gbit/s, 0.1 % of the packets lost",
			parcels: []parcel{oneFile(f.of(256*miB, 64*miB, miB))},
			line:    &weather{RTT: rtt, Rate: 1e9, Loss: 0.001}, peers: []peer{aria2One, rclone16}, left: oneConnection,
			sinks: true, goal: goal{peer: 0.8},
		},
		{
			name: "stall", title: size(middle[0].Sizes[0]) + fmt.Sprintf(", %v round trip, 1 Gbit/s, one connection in four stalls for %v", rtt, stallTime),
			parcels: middle, line: &weather{RTT: rtt, Rate: 1e9}, origin: originKind{Stall: true},
			peers: []peer{aria2One, rclone16}, left: oneConnection, goal: goal{peer: 0.8}, rounds: 2,
		},
		{
			name: "small", title: fmt.Sprintf("%d files of 16 KiB in %d folders", small*100, small),
			parcels: []parcel{{Name: "Small", Sizes: equal(small*100, 16*kiB), Folder: 100}},
			peers:   []peer{curlMany, curlInTurn, aria2Many, rcloneMany, rcloneNoHead, wgetAll}, sinks: true, goal: goal{peer: 0.9},
		},
		{
			name: "mixed", title: fmt.Sprintf("%d files of log-normal sizes, together %s", f.of(200, 50, 10), size(f.of(2*giB, 512*miB, miB))),
			parcels: []parcel{{Name: "Mixed", Sizes: logNormal(int(f.of(200, 50, 10)), f.of(2*giB, 512*miB, miB)), Folder: 20}},
			peers:   []peer{curlMany, curlInTurn, aria2Many, rcloneMany, wgetAll}, sinks: true, goal: goal{peer: 0.9},
		},
		{
			name: "packages", title: "10 packages of 20 files of " + size(f.of(8*miB, 2*miB, 10*kiB)) + " at once",
			parcels: severalParcels(10, 20, f.of(8*miB, 2*miB, 10*kiB)),
			peers:   []peer{curlMany, curlInTurn, aria2Many, rcloneMany, wgetAll}, sinks: true, goal: goal{peer: 0.9},
		},
		{
			name: "first", title: fmt.Sprintf("the first file of a package of %d, %v round trip", f.of(20_000, 20_000, 500), rtt),
			parcels: []parcel{{Name: "First", Sizes: equal(int(f.of(1000, 1000, 100)), 16*kiB), Count: int(f.of(20_000, 20_000, 500)), Folder: 100}},
			line:    &weather{RTT: rtt, Rate: 1e9}, first: true,
			limit: limit{"6 round trips and 100 ms", func(_, _ float64) float64 { return (6*rtt + 100*time.Millisecond).Seconds() }},
			goal:  goal{limit: 1},
		},
	}
	if f == fullForm {
		all = append(all, trial{
			name: "million", title: "1,000,000 files of up to 300 bytes, and 10,000 of them",
			parcels: []parcel{{Name: "Million", Sizes: upTo(1000, 300), Count: 1_000_000, Folder: 1000}},
			fewer:   10_000, goal: goal{limit: 1.25}, rounds: 1,
			limit: limit{what: "the time a file of 10,000"},
		})
	}
	return all
}

// A parcel is a package of the benchmark. It goes to the cloud as JSON.
type parcel struct {
	Name   string
	Sizes  []int64 // of the objects
	Count  int     // of files, which share the objects; 0: as many as there are objects
	Folder int     // files in a folder; 0: there are no folders
}

func (p parcel) count() int {
	if p.Count != 0 {
		return p.Count
	}
	return len(p.Sizes)
}

// object is the index of the first file with the same content as file i.
func (p parcel) object(i int) int { return i % len(p.Sizes) }

func (p parcel) size(i int) int64 { return p.Sizes[p.object(i)] }

// file is where file i is, below the package. Its name needs no escaping.
func (p parcel) file(i int) (folder, name string) {
	name = fmt.Sprintf("frame-%07d.dpx", i)
	if p.Folder == 0 {
		return "", name
	}
	return fmt.Sprintf("reel-%05d", i/p.Folder), name
}

// path is where file i is, below the folder of all packages.
func (p parcel) path(i int) string {
	folder, name := p.file(i)
	return filepath.Join(p.Name, folder, name)
}

// bytesOf are those of all files.
func bytesOf(parcels []parcel) (n int64) {
	for _, p := range parcels {
		for i := range p.count() {
			n += p.size(i)
		}
	}
	return n
}

func oneFile(size int64) parcel { return parcel{Name: "One", Sizes: []int64{size}} }

func equal(n int, size int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = size
	}
	return all
}

func upTo(n int, size int64) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = int64(i) * size / int64(n)
	}
	return all
}

func severalParcels(n, files int, size int64) (all []parcel) {
	for i := range n {
		all = append(all, parcel{Name: fmt.Sprintf("Package-%d", i), Sizes: equal(files, size)})
	}
	return all
}

// logNormal are sizes as those of files people have, some large and many small.
func logNormal(n int, sum int64) []int64 {
	random := rand.New(rand.NewPCG(1, 2))
	weights, total := make([]float64, n), 0.0
	for i := range weights {
		weights[i] = math.Exp(1.5 * random.NormFloat64())
		total += weights[i]
	}
	all := make([]int64, n)
	for i, w := range weights {
		all[i] = int64(w / total * float64(sum))
	}
	return all
}

// size shows bytes as people write them.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{giB, "GiB"}, {miB, "MiB"}, {kiB, "KiB"}} {
		if n >= unit.bytes {
			return fmt.Sprintf("%.3g %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
