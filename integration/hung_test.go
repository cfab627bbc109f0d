package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
	"masvfs/integration/cutfs"
)

// hung is a site with one download onto a disk that answers nothing any more.
type hung struct {
	*site
	disk *cutfs.Remote
	slow string // the folder on that disk
	link masvtest.Link
	id   string
}

// bounded is how long anything may take that a dead disk has no part in.
const bounded = 20 * time.Second

func newHung(t *testing.T, extra ...string) *hung {
	t.Helper()
	h := &hung{site: newSite(t, true)}
	h.slow = filepath.Join(filepath.Dir(h.downloads), "network")
	h.disk = startDisk(t, h.slow)
	t.Cleanup(h.clear) // before the file system goes
	h.extra = append([]string{"--allow-dst", h.slow, "--reserve-free", "0"}, extra...)
	h.link = h.cloud.AddPackage(masvtest.Package{Name: "Hung", Files: []masvtest.File{{Name: "a.bin", Size: 64 << 20}, {Name: "b.txt", Size: 1000}}})
	h.cloud.SetRate(256 << 10)
	h.start()
	h.id = h.add(h.link, fmt.Sprintf(`, "dst_folder": %q`, h.slow))
	h.until("bytes arrive", func() bool { return h.get(h.id).BytesDone > 1<<20 })
	h.disk.Hang()
	return h
}

// answer makes a call that has to be answered soon.
func (h *hung) answer(method, path, body string) int {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), bounded)
	defer cancel()
	status, err := h.ask(ctx, method, path, body, nil)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status
}

// others finds that another download goes on, and what does not concern the disk answers.
func (h *hung) others(name string) {
	t := h.t
	t.Helper()
	link := h.cloud.AddPackage(masvtest.Package{Name: name, Files: []masvtest.File{{Name: "c.bin", Size: 8 << 20}, {Name: "d.txt", Size: 1000}}})
	h.cloud.SetRate(0)
	id := h.add(link, "")
	tree := h.waitFor(id, "complete").Path
	sameContent(t, filepath.Join(tree, "c.bin"), h.cloud.File(link, 0))
	if h.answer("GET", "/downloads/"+h.id, "") != http.StatusOK {
		t.Error("REST does not tell of the download whose disk hangs")
	}
	names, err := os.ReadDir(h.mount)
	if err != nil || len(names) < 2 {
		t.Errorf("the mount lists %v, %v", names, err)
	}
	for _, n := range names {
		if _, err := os.ReadFile(filepath.Join(h.mount, n.Name(), "state")); err != nil {
			t.Error(err)
		}
	}
}

// says waits until the download says what is wrong.
func (h *hung) says() {
	h.t.Helper()
	h.until("the download says that its disk does not answer", func() bool {
		d := h.get(h.id)
		return d.State == "error" && d.Error.Code == "destination" && d.Error.Recoverable &&
			strings.Contains(d.Error.Message, h.slow) && strings.Contains(d.Error.Message, "does not answer")
	})
}

// complete finds the download complete by itself, now that the disk answers.
func (h *hung) complete() {
	h.t.Helper()
	h.cloud.SetRate(0)
	sameContent(h.t, filepath.Join(h.again(h.id), "a.bin"), h.cloud.File(h.link, 0))
	if n := h.cloud.LinkStats(h.link).Calls; n != 1 {
		h.t.Errorf("the link was called %d times", n)
	}
	if left := hidden(h.t, h.slow); len(left) > 0 {
		h.t.Errorf("left behind: %v", left)
	}
}

func TestADiskThatHangsStopsNoOtherDownload(t *testing.T) {
	t.Parallel()
	h := newHung(t, "--max-active", "1")
	h.says()
	h.others("Others")
	h.disk.Wake()
	h.complete()
	h.signal(syscall.SIGTERM)
}

func TestWhatHangsCanBePausedAndResumed(t *testing.T) {
	t.Parallel()
	h := newHung(t)
	if status := h.answer("POST", "/downloads/"+h.id+"/pause", ""); status != http.StatusOK {
		t.Errorf("pause answers %d", status)
	}
	if d := h.get(h.id); d.State != "paused" {
		t.Errorf("it is %s", d.State)
	}
	if status := h.answer("POST", "/downloads/"+h.id+"/resume", ""); status != http.StatusOK {
		t.Errorf("resume answers %d", status)
	}
	h.says()
	h.others("Others")
	h.disk.Wake()
	h.complete()
	h.signal(syscall.SIGTERM)
}

func TestWhatHangsCanBeDeleted(t *testing.T) {
	t.Parallel()
	h := newHung(t)
	// It is not done, and is not said to be; but it leaves all lists, and is
	// done when the disk answers.
	if status := h.answer("DELETE", "/downloads/"+h.id, `{"remove_files": true}`); status != http.StatusServiceUnavailable {
		t.Errorf("DELETE answers %d", status)
	}
	if all := h.list(); len(all) != 0 {
		t.Errorf("still listed: %+v", all)
	}
	if names, err := os.ReadDir(h.mount); err != nil || len(names) != 0 {
		t.Errorf("the mount still lists %v, %v", names, err)
	}
	link := h.cloud.AddPackage(masvtest.Package{Name: "Other", Files: []masvtest.File{{Name: "c", Size: 1000}}})
	h.waitFor(h.add(link, ""), "complete")
	h.disk.Wake()
	h.until("all of it is gone", func() bool {
		left, err := os.ReadDir(h.slow)
		return err == nil && len(left) == 0
	})
	h.signal(syscall.SIGTERM)
}

func TestAnAgentWhoseDiskHangsEnds(t *testing.T) {
	t.Parallel()
	h := newHung(t)
	began := time.Now()
	h.signal(syscall.SIGTERM)
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("it took %v to end, and systemd gives it 30 s", took)
	}
	if !strings.Contains(h.log.String(), "does not answer") {
		t.Errorf("it does not say what it left behind:\n%s", h.log)
	}
	if _, err := os.ReadDir(h.mount); err != nil {
		t.Errorf("a dead mount is left: %v", err)
	}
	// Nor does the next one wait for the disk before it does anything.
	h.start()
	h.says()
	h.others("Others")
	h.disk.Wake()
	h.complete()
	h.signal(syscall.SIGTERM)
}
