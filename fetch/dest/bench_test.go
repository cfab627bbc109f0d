package dest

import (
	"fmt"
	"sync"
	"testing"
)

// BenchmarkSmallFiles places 10,000 files of 16 KiB in 100 folders, written by
// 8 writers, durably.
func BenchmarkSmallFiles(b *testing.B) {
	const n, writers = 10_000, 8
	body := content(16<<10, 'x')
	for _, batch := range []int{128, 2000} {
		b.Run(fmt.Sprintf("in batches of %d", batch), func(b *testing.B) {
			for b.Loop() {
				tree := newDisk(b).placedTree(b)
				j := newJournal()
				c := NewCommitter(j, Config{MaxBatch: batch, MaxOpen: 2 * batch})
				var all sync.WaitGroup
				for w := range writers {
					all.Go(func() {
						for i := w; i < n; i += writers {
							if err := c.Commit(b.Context(), written(b, tree, int64(i), fmt.Sprintf("a/%d/%d", i/100, i), body)); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
				if err := c.Drain(b.Context(), tree); err != nil {
					b.Fatal(err)
				}
				c.Close()
				if len(j.placed) != n {
					b.Fatalf("%d placed", len(j.placed))
				}
			}
		})
	}
}
