package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"masvfs/rest/api"
)

// bars shows downloads as they go: as progress bars on a terminal, as a line
// for each change of state and each tenth elsewhere.
type bars struct {
	out      io.Writer
	progress *mpb.Progress // nil where there is no terminal
	rows     map[string]*row
}

// row is one download's bar.
type row struct {
	bar *mpb.Bar

	mu   sync.Mutex // guards last, which the bar draws from a goroutine of its own
	last api.Download

	told string // the last plain line
}

func newBars(out *os.File) *bars {
	b := &bars{out: out, rows: make(map[string]*row)}
	if term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb" {
		b.progress = mpb.New(mpb.WithOutput(out), mpb.WithWidth(60), mpb.WithRefreshRate(150*time.Millisecond))
	}
	return b
}

// update shows what downloads are like now.
func (b *bars) update(all []api.Download) {
	seen := make(map[string]bool, len(all))
	for _, d := range all {
		seen[d.ID] = true
		r := b.rows[d.ID]
		if r == nil {
			r = &row{}
			b.rows[d.ID] = r
			if b.progress != nil {
				r.bar = b.progress.New(max(1, d.BytesTotal), mpb.BarStyle().Lbound("").Rbound("").Filler("█").Tip("█").Padding("░"),
					mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return r.name() }, decor.WCSyncSpaceR)),
					mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return r.figures() }, decor.WCSyncSpaceR)))
			}
		}
		r.show(b, d)
	}
	for id, r := range b.rows {
		if !seen[id] {
			if r.bar != nil {
				r.bar.Abort(true)
			}
			delete(b.rows, id)
		}
	}
}

// close leaves the bars as they are.
func (b *bars) close() {
	if b.progress == nil {
		return
	}
	for _, r := range b.rows {
		r.bar.Abort(false)
	}
	b.progress.Wait()
}

func (r *row) show(b *bars, d api.Download) {
	r.mu.Lock()
	r.last = d
	r.mu.Unlock()
	if r.bar != nil {
		// A total that is reached would end the bar; one byte is kept back until complete.
		total := max(1, d.BytesTotal)
		r.bar.SetTotal(total+1, false)
		r.bar.SetCurrent(min(total, d.BytesDone))
		return
	}
	line := fmt.Sprintf("%s: %s, %d %%", printable(d.Name), d.State, 10*tenths(d))
	if line != r.told {
		r.told = line
		fmt.Fprintf(b.out, "%s, %s\n", line, r.figures())
	}
}

func tenths(d api.Download) int64 {
	if d.State == api.Complete {
		return 10
	}
	if d.BytesTotal <= 0 {
		return 0
	}
	return min(9, d.BytesDone*10/d.BytesTotal)
}

func (r *row) name() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := []rune(printable(r.last.Name))
	if len(name) > 28 {
		name = append(name[:27], '…')
	}
	return string(name)
}

func (r *row) figures() string {
	r.mu.Lock()
	d := r.last
	r.mu.Unlock()
	parts := []string{
		fmt.Sprintf("%s of %s", humanize.IBytes(uint64(d.BytesDone)), humanize.IBytes(uint64(d.BytesTotal))),
		fmt.Sprintf("%d/%d files", d.FilesDone, d.FilesTotal),
	}
	switch {
	case d.State == api.Failed && d.Error != nil:
		parts = append(parts, "error: "+d.Error.Code)
	case d.State != api.Transferring:
		parts = append(parts, d.State)
	case d.QueuePosition > 0:
		parts = append(parts, fmt.Sprintf("waits, place %d", d.QueuePosition))
	default:
		parts = append(parts, humanize.IBytes(uint64(d.BytesPerSecond))+"/s")
		if d.ETASeconds != nil {
			parts = append(parts, (time.Duration(*d.ETASeconds) * time.Second).String())
		}
	}
	return strings.Join(parts, "  ")
}

// printable makes a sender's name safe to show: it could hold what a terminal obeys.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, name)
}
