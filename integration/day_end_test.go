package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// isRight says what is wrong with a file that has a finished name, if anything.
func (d *day) isRight(path, rel string) string {
	d.mu.Lock()
	f, ok := d.sent[rel]
	seeds := append([]uint64{f.Seed}, d.versions[versionOf(f.link, f.index)]...)
	d.mu.Unlock()
	if !ok {
		return "nobody has sent it"
	}
	got, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer got.Close()
	if info, err := got.Stat(); err != nil || info.Size() != f.Size || !info.ModTime().Equal(f.LastModified) {
		return fmt.Sprintf("%d bytes of %v, not %d of %v (%v)", info.Size(), info.ModTime(), f.Size, f.LastModified, err)
	}
	if !slices.ContainsFunc(seeds, func(seed uint64) bool { return holds(got, f.Size, seed) }) {
		return fmt.Sprintf("its bytes are none of %d versions of it", len(seeds))
	}
	return ""
}

// holds reports whether a file holds what a seed makes.
func holds(f io.ReaderAt, size int64, seed uint64) bool {
	var a, b [64 << 10]byte
	for off := int64(0); off < size; {
		n := min(size-off, int64(len(a)))
		if _, err := f.ReadAt(a[:n], off); err != nil && err != io.EOF {
			return false
		}
		masvtest.Content(seed, off, b[:n])
		if !bytes.Equal(a[:n], b[:n]) {
			return false
		}
		off += n
	}
	return true
}

// causes are what an error has to name, by its code; FOLDER is the destination.
var causes = map[string]string{
	"link_not_found":    "MASV does not know this link",
	"link_invalid":      "MASV's answer about this link makes no sense (",
	"access_denied":     "MASV refuses this link",
	"password_required": "MASV refuses this link without a password",
	"listing_refused":   "MASV refuses to list",
	"listing_invalid":   "MASV's list of this package's files makes no sense (",
	"no_space":          "FOLDER",
	"destination":       "FOLDER",
	"files_failed":      "could not be downloaded, among them ",
	"internal":          "database",
}

// checkWhy finds that a download in error says why: in a sentence, with the cause.
func (d *day) checkWhy(l linked) {
	d.t.Helper()
	if l.Error == nil {
		d.t.Errorf("%s is in error and does not say why", l.Name)
		return
	}
	cause := strings.ReplaceAll(causes[l.Error.Code], "FOLDER", d.downloads)
	if cause == "" || !strings.Contains(l.Error.Message, cause) || !strings.HasSuffix(l.Error.Message, ".") {
		d.t.Errorf("%s is in error %s, and the message names no cause: %s", l.Name, l.Error.Code, l.Error.Message)
	}
	d.whys[l.Error.Code] = true
}

// heal waits until all is complete, now that nothing fails any more. What is
// in error is resumed, which mends it.
func (d *day) heal(ctx context.Context) {
	t := d.t
	t.Helper()
	d.cloud.SetRate(0)
	d.rise()
	const enough = 3 // what had failed before may be told of only now
	resumed := make(map[string]int)
	for end := time.Now().Add(3 * patience); ; time.Sleep(20 * time.Millisecond) {
		posted := d.post(ctx)
		all, ok := d.listen(ctx)
		complete := 0
		for _, l := range all {
			switch l.State {
			case "complete":
				complete++
			case "error":
				if resumed[l.ID]++; resumed[l.ID] > enough {
					t.Fatalf("%s is not mended by resuming it: %+v", l.Name, l.Error)
				}
				if status := d.call("POST", "/downloads/"+l.ID+"/resume", "", nil); status != http.StatusOK {
					t.Errorf("resume answers %d", status)
				}
			}
		}
		if posted && ok && complete == len(d.shipments) {
			t.Logf("%d downloads; in error were: %v", complete, d.whys)
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d downloads are complete, and nothing has failed for long: %+v", complete, len(d.shipments), all)
		}
	}
}

// checkEnd finds all that was sent, on disk and in the mount, and nothing else.
func (d *day) checkEnd() {
	t := d.t
	t.Helper()
	wanted := map[string]bool{} // a file, or else a folder
	folder := func(rel string) {
		for ; rel != "."; rel = filepath.Dir(rel) {
			wanted[rel] = false
		}
	}
	for _, p := range d.shipments {
		l := d.get(p.id)
		has := make(map[string]bool)
		for _, f := range l.Files {
			has[f.Path] = true
			if f.State != "complete" {
				t.Errorf("%s of %s is %s", f.Path, p.Name, f.State)
			}
			folder(filepath.Dir(p.place(f.Path)))
			wanted[p.place(f.Path)] = true
		}
		for _, f := range p.Files {
			switch path := filepath.Join(f.Path, f.Name); {
			case f.Kind == "directory":
				folder(p.place(path))
			case !has[path]:
				t.Errorf("%s of %s is not known", path, p.Name)
			}
		}
		if state, err := os.ReadFile(filepath.Join(d.mount, l.Name, "state")); err != nil || string(state) != "complete\n" {
			t.Errorf("in the mount %s is %q, %v", l.Name, state, err)
		}
		for path := range has {
			if what := d.isRight(filepath.Join(d.mount, l.Name, "files", path), p.place(path)); what != "" {
				t.Errorf("in the mount: %s of %s: %s", path, p.Name, what)
			}
		}
		d.mu.Lock()
		most := 1 + d.excused[p.link.ID]
		d.mu.Unlock()
		if n := d.cloud.LinkStats(p.link).Initiated; n > most {
			t.Errorf("the link of %s was opened %d times, and there was reason for %d", p.Name, n, most)
		}
	}
	err := filepath.WalkDir(d.downloads, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(d.downloads, path)
		file, ok := wanted[rel]
		delete(wanted, rel)
		switch {
		case rel == ".":
		case !ok || file == e.IsDir():
			t.Errorf("stray: %s", path)
		case file:
			if what := d.isRight(path, rel); what != "" {
				t.Errorf("%s: %s", path, what)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for rel := range wanted {
		t.Errorf("missing: %s", rel)
	}
	d.until("the inbox is empty", func() bool {
		left, _ := filepath.Glob(filepath.Join(d.inbox, "*.masvlink"))
		return len(left) == 0
	})
	if stats := d.cloud.Stats(); stats.Leaks > 0 {
		t.Errorf("the storage was sent what only the API may see: %v", stats.Leaked)
	}
}
