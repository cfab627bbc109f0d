package dest

import (
	"bytes"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
)

// Whatever goes past the page cache and whatever does not, the bytes are those
// that were written: large and small pieces, from several goroutines, that
// begin and end anywhere.
func TestBytesAreWhatWasWrittenPastTheCacheAndThroughIt(t *testing.T) {
	for name, open := range map[string]func(*os.File) (*os.File, error){
		"where the disk takes both":               openDirect,
		"where it is refused to open it for that": func(*os.File) (*os.File, error) { return nil, syscall.EINVAL },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			d.sys.traits = func(*os.File) (traits, error) { return traits{allocate: true, direct: true}, nil }
			d.sys.openDirect = open
			const size = 6<<20 + 777
			p, _, err := d.tree(t, Spec{ID: testID}, "").Partial(1, size)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()

			want := make([]byte, size)
			for i := range want {
				want[i] = byte(rand.Uint32())
			}
			var writers sync.WaitGroup
			const share = size/4 + 1
			for w := range 4 {
				writers.Go(func() {
					buf := make([]byte, 512<<10)
					for at := w * share; at < min((w+1)*share, size); {
						n := 1 + rand.IntN(len(buf))
						if rand.IntN(2) == 0 {
							n = len(buf)
						}
						// Half of them lie in memory as in the file.
						from := at % block
						if rand.IntN(2) == 0 {
							from = rand.IntN(block)
						}
						n = min(n, len(buf)-from, min((w+1)*share, size)-at)
						copy(buf[from:], want[at:at+n])
						if m, err := p.WriteAt(buf[from:from+n], int64(at)); err != nil || m != n {
							t.Errorf("%d of %d bytes at %d: %v", m, n, at, err)
							return
						}
						at += n
					}
				})
			}
			writers.Wait()
			if err := p.Sync(); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, size)
			if _, err := p.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Error("other bytes were read than were written")
			}
		})
	}
}

func TestWholeBlocksAreFoundWhereMemoryLiesAsTheFile(t *testing.T) {
	memory := make([]byte, 1<<20) // its allocator aligns so much to pages, and the check below says so
	if from, to := blocks(memory, 0); from != 0 || to != len(memory) {
		t.Fatalf("large slices are not aligned: %d to %d", from, to)
	}
	for name, c := range map[string]struct {
		start    int // in memory
		length   int
		off      int64
		from, to int
	}{
		"all of it":               {0, 3 * block, 8 * int64(block), 0, 3 * block},
		"all but a tail":          {0, 3*block + 9, 0, 0, 3 * block},
		"all but a head":          {100, 3*block - 100, 100, block - 100, 3*block - 100},
		"the middle":              {100, 3 * block, 5*int64(block) + 100, block - 100, 3*block - 100},
		"none, it is too short":   {100, block, 100, block - 100, block - 100},
		"none, it lies otherwise": {100, 3 * block, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := blocks(memory[c.start:c.start+c.length], c.off)
			if from != c.from || to != c.to {
				t.Errorf("from %d to %d, want %d to %d", from, to, c.from, c.to)
			}
		})
	}
}
