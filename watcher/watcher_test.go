package watcher_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch"
	"masvfs/watcher"
)

func TestEveryKindOfLinkFileIsTakenAndMovedToAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"plain.masvlink":      "# hello\n" + linkA + "\n",
		"UPPER.MASVLINK":      linkA,
		"json.masvlink":       `{"url":"` + linkA + `"}`,
		"Windows.url":         "[InternetShortcut]\r\nURL=" + linkA + "\r\n",
		"freedesktop.desktop": "[Desktop Entry]\nType=Link\nURL=" + linkA + "\n",
		"Mac.webloc":          `<?xml version="1.0"?><plist version="1.0"><dict><key>URL</key><string>` + linkA + `</string></dict></plist>`,
	} {
		t.Run(name, func(t *testing.T) {
			in := newInbox(t)
			in.watch(nil)
			in.drop(name, text)
			in.eventually("it is in accepted", func() bool { return in.has("accepted/" + name) })
			in.forgotten()
			in.wantsAccepted(idA)
			in.wants("accepted", "accepted/"+name)
			if info, err := os.Stat(in.path("accepted")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("accepted: %v, %v, want mode 0700", info, err)
			}
		})
	}
}

func TestFilesThatWereThereBeforeAreTakenInTheOrderOfTheirNames(t *testing.T) {
	in := newInbox(t)
	in.drop("2.masvlink", linkB)
	in.drop("1.masvlink", linkA)
	in.watch(nil)
	in.eventually("both are accepted", func() bool { return in.has("accepted/2.masvlink") })
	in.wantsAccepted(idA, idB)
}

func TestAClosedFileIsTakenWithoutSettling(t *testing.T) {
	needsLeases(t)
	in := newInbox(t)
	in.watch(nil)
	in.must(os.WriteFile(in.path("x.masvlink"), []byte(linkA), 0o600))
	in.eventually("it is in accepted", func() bool { return in.has("accepted/x.masvlink") })
	in.wantsAccepted(idA)
}

func TestAFileThatGrowsSlowlyIsTakenWholeWhenItIsClosed(t *testing.T) {
	needsLeases(t)
	in := newInbox(t)
	in.watch(nil)
	f, err := os.Create(in.path("x.masvlink"))
	in.must(err)
	defer f.Close()
	for _, part := range []string{linkA[:30], linkA[30:] + "\n", linkB + "\n"} {
		_, err := f.WriteString(part)
		in.must(err)
		in.passBy()
		in.wantsAccepted()
	}
	in.must(f.Close())
	in.eventually("it is in accepted", func() bool { return in.has("accepted/x.masvlink") })
	in.wantsAccepted(idA, idB)
}

func TestLinksThatAScriptAppendsOneByOneAreAllTaken(t *testing.T) {
	in := newInbox(t)
	in.watch(nil)
	want := make([]string, 50)
	for i := range want {
		want[i] = fmt.Sprintf("01D2TMG9F5GHMHX8RWZ453VA%02d", i)
		f, err := os.OpenFile(in.path("x.masvlink"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		in.must(err)
		_, err = fmt.Fprintf(f, "https://get.massive.io/%s?secret=%s\n", want[i], secret)
		in.must(err)
		in.must(f.Close())
	}
	all := func() []string {
		got := in.agent.accepted()
		slices.Sort(got)
		return slices.Compact(got)
	}
	in.eventually("all are accepted", func() bool { return slices.Equal(all(), want) })
}

func TestAFileThatStaysOpenIsTakenWhenItHasSettled(t *testing.T) {
	in := newInbox(t)
	in.watch(func(c *watcher.Config) { c.Settle = 100 * time.Millisecond })
	f, err := os.Create(in.path("x.masvlink"))
	in.must(err)
	defer f.Close()
	_, err = f.WriteString(linkA)
	in.must(err)
	in.eventually("it is in accepted", func() bool { return in.has("accepted/x.masvlink") })
	in.wantsAccepted(idA)
}

func TestAFileThatStaysOpenAndIsIncompleteIsRejectedOnlyWhenGivenUp(t *testing.T) {
	in := newInbox(t)
	stop := in.watch(func(c *watcher.Config) { c.Settle = 50 * time.Millisecond })
	f, err := os.Create(in.path("x.masvlink"))
	in.must(err)
	defer f.Close()
	_, err = f.WriteString(linkA[:30])
	in.must(err)
	in.eventually("it was read, and not only once", func() bool {
		in.agent.mu.Lock()
		defer in.agent.mu.Unlock()
		return in.agent.asked > 3 || runtime.GOOS != "linux" && in.agent.asked > 0
	})
	if !in.has("x.masvlink") {
		t.Error("it was moved before the time was up")
	}
	stop()
	in.watch(func(c *watcher.Config) { c.Settle, c.GiveUp = 20*time.Millisecond, 100*time.Millisecond })
	in.eventually("it is in rejected", func() bool { return in.has("rejected/x.masvlink") })
	in.wantsAccepted()
}

func TestABadFileIsRejectedWithAnExplanation(t *testing.T) {
	tests := []struct{ name, text, says string }{
		{"an option that is not known", linkA + "\n\npasword = hunter2\n", "line 3: this is neither a link"},
		{"an empty file", "", "line 1: the file is empty"},
		{"one bad link among good ones", linkB + "\n" + linkA + "\nhttps://example.com/" + secret + "\n", "line 3: "},
		{"JSON with an error", "{\n\"url\": \"" + linkA + "\"\n\"name\"", "line 3: this is not valid JSON"},
		{"more than 1 MiB", strings.Repeat(linkA+"\n", 20_000), "at most 1 MiB"},
		{"a folder that the agent does not allow", linkB + "\n\n" + linkA + "\n# the folder\ndst_folder = /etc\n", "line 5: dst_folder: is under no allowed folder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := newInbox(t)
			in.agent.refuse = func(requests []fetch.Request) error {
				for i, r := range requests {
					if r.DstFolder == "/etc" {
						return fmt.Errorf("accept: %w", &fetch.InvalidError{Index: i, Field: "dst_folder", Message: "is under no allowed folder"})
					}
				}
				return nil
			}
			in.watch(func(c *watcher.Config) { c.Settle = 50 * time.Millisecond })
			in.drop("x.masvlink", tt.text)
			in.eventually("it is in rejected", func() bool { return in.has("rejected/x.masvlink") })
			in.passBy()
			in.wants("accepted", "rejected", "rejected/x.masvlink", "rejected/x.masvlink.error.txt")
			in.wantsAccepted()
			said := in.text("rejected/x.masvlink.error.txt")
			if !strings.Contains(said, tt.says) {
				t.Errorf("the explanation is %q, want %q in it", said, tt.says)
			}
			for _, private := range []string{secret, idA, idB, "hunter2"} {
				if strings.Contains(said, private) {
					t.Errorf("the explanation quotes %q: %q", private, said)
				}
			}
			if info, err := os.Stat(in.path("rejected/x.masvlink.error.txt")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("explanation: %v, %v, want mode 0600", info, err)
			}
			if got := in.text("rejected/x.masvlink"); got != tt.text {
				t.Errorf("the file itself was changed to %q", got)
			}
		})
	}
}

func TestWhatIsNoLinkFileIsLeftAlone(t *testing.T) {
	in := newInbox(t)
	outside := filepath.Join(t.TempDir(), "outside.masvlink")
	in.must(os.WriteFile(outside, []byte(linkA), 0o600))
	for _, name := range []string{"x.txt", ".x.masvlink", "x.masvlink.part", "x.masvlink.tmp", "x.masvlink~"} {
		in.drop(name, linkA)
	}
	in.drop("elsewhere.url", "[InternetShortcut]\nURL=https://example.com/")
	in.drop("program.desktop", "[Desktop Entry]\nType=Application\nURL="+linkA)
	in.must(os.Mkdir(in.path("folder.masvlink"), 0o700))
	in.must(os.Symlink(outside, in.path("symlink.masvlink")))
	in.must(syscall.Mkfifo(in.path("fifo.masvlink"), 0o600))
	in.must(os.Mkdir(in.path("bookmark.url"), 0o700))
	before := names(t, in.folder)

	in.watch(func(c *watcher.Config) {
		c.Settle, c.GiveUp, c.Rescan = 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
	})
	in.passBy()
	in.passBy()
	if after := slices.DeleteFunc(names(t, in.folder), func(n string) bool { return n == "accepted" }); !slices.Equal(before, after) {
		t.Errorf("the inbox held %q, now %q", before, after)
	}
	in.wantsAccepted()
	for name, times := range map[string]int{
		"x.": 0, "elsewhere": 0, "program": 0, "bookmark": 0, // somebody else's, not to be reported
		"folder.masvlink": 1, "symlink.masvlink": 1, "fifo.masvlink": 1, // whoever calls a thing so waits for it to be taken
	} {
		if got := strings.Count(in.logged(), "file="+name); got != times {
			t.Errorf("%s was reported %d times, want %d:\n%s", name, got, times, in.logged())
		}
	}
}

func TestNothingInAcceptedOrRejectedIsOverwritten(t *testing.T) {
	in := newInbox(t)
	in.watch(func(c *watcher.Config) { c.Settle = 50 * time.Millisecond })
	in.must(os.MkdirAll(in.path("rejected"), 0o755))
	in.must(os.WriteFile(in.path("rejected/bad.masvlink.error.txt"), []byte("mine"), 0o600))
	for range 3 {
		in.drop("good.masvlink", linkA)
		in.drop("bad.masvlink", "nonsense")
		in.eventually("both are moved", func() bool { return !in.has("good.masvlink") && !in.has("bad.masvlink") })
	}
	in.passBy()
	in.wants("accepted", "accepted/good.masvlink", "accepted/good (2).masvlink", "accepted/good (3).masvlink",
		"rejected", "rejected/bad.masvlink.error.txt",
		"rejected/bad (2).masvlink", "rejected/bad (2).masvlink.error.txt",
		"rejected/bad (3).masvlink", "rejected/bad (3).masvlink.error.txt",
		"rejected/bad (4).masvlink", "rejected/bad (4).masvlink.error.txt")
	if got := in.text("rejected/bad.masvlink.error.txt"); got != "mine" {
		t.Errorf("a file that was there holds %q", got)
	}
	if info, err := os.Stat(in.path("rejected")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("rejected: %v, %v, want mode 0700", info, err)
	}
}

func TestTheLongestNameThatThereIsCanBeRejected(t *testing.T) {
	in := newInbox(t)
	in.watch(func(c *watcher.Config) { c.Settle = 50 * time.Millisecond })
	name := strings.Repeat("ü", 123) + ".masvlink" // 255 bytes
	in.drop(name, "nonsense")
	in.eventually("it is in rejected", func() bool { return in.has("rejected/" + name) })
	in.wants("rejected", "rejected/"+name, "rejected/"+strings.Repeat("ü", 122)+".error.txt")
}

func TestASymlinkInPlaceOfAcceptedIsNotFollowed(t *testing.T) {
	in := newInbox(t)
	outside := t.TempDir()
	in.must(os.Symlink(outside, in.path("accepted")))
	in.watch(func(c *watcher.Config) { c.Settle = 20 * time.Millisecond })
	in.drop("x.masvlink", linkA)
	in.eventually("the trouble is logged", func() bool { return strings.Contains(in.logged(), "must be a folder") })
	in.wants("accepted", "x.masvlink")
	if got := names(t, outside); len(got) > 0 {
		t.Errorf("%q appeared outside of the inbox", got)
	}
	in.must(os.Remove(in.path("accepted")))
	in.eventually("it is in accepted", func() bool { return in.has("accepted/x.masvlink") })
	in.wantsAccepted(idA)
}

func TestAnErrorThatMayPassIsWaitedOut(t *testing.T) {
	in := newInbox(t)
	in.agent.refuse = func([]fetch.Request) error { return errDatabase }
	in.watch(func(c *watcher.Config) { c.Settle = 20 * time.Millisecond })
	in.drop("x.masvlink", linkA)
	in.eventually("the trouble is logged", func() bool { return strings.Contains(in.logged(), errDatabase.Error()) })
	in.wants("x.masvlink")
	in.agent.set(func(a *agent) { a.refuse = nil })
	in.eventually("it is in accepted", func() bool { return in.has("accepted/x.masvlink") })
	in.wantsAccepted(idA)
	if n := strings.Count(in.logged(), errDatabase.Error()); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
}

func TestALinkWrittenBetweenReadingAndMovingIsNotLost(t *testing.T) {
	in := newInbox(t)
	in.agent.onTaken = func() {
		in.agent.set(func(a *agent) { a.onTaken = nil })
		f, err := os.OpenFile(in.path("x.masvlink"), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if _, err := f.WriteString(linkB + "\n"); err != nil {
			t.Error(err)
		}
	}
	in.watch(func(c *watcher.Config) { c.Rescan = 20 * time.Millisecond })
	in.drop("x.masvlink", linkA+"\n")
	in.eventually("it is in accepted", func() bool { return in.has("accepted/x.masvlink") })
	in.wantsAccepted(idA, idA, idB) // the agent knows that the first is there
	in.forgotten()
}

func TestRescansDoWithoutEvents(t *testing.T) {
	in := newInbox(t)
	in.drop("elsewhere.url", "[InternetShortcut]\nURL=https://example.com/")
	in.watch(func(c *watcher.Config) { c.NoEvents, c.Rescan = true, 5*time.Millisecond })
	for i := range 5 {
		name := fmt.Sprintf("%d.masvlink", i)
		in.drop(name, linkA)
		in.eventually("it is in accepted", func() bool { return in.has("accepted/" + name) })
	}
	in.wantsAccepted(idA, idA, idA, idA, idA)
	// One question for each file: what does not change is not read again.
	in.agent.mu.Lock()
	defer in.agent.mu.Unlock()
	if in.agent.asked != 6 {
		t.Errorf("files were read %d times, want 6", in.agent.asked)
	}
}

func TestABurstOfFilesIsTakenOneByOne(t *testing.T) {
	in := newInbox(t)
	in.watch(func(c *watcher.Config) { c.Rescan = 50 * time.Millisecond })
	const n = 600
	for i := range n {
		in.drop(fmt.Sprintf("%03d.masvlink", i), linkA)
	}
	in.eventually("all are in accepted", func() bool { return in.has("accepted") && len(names(t, in.path("accepted"))) == n })
	in.forgotten()
	if got := len(in.agent.accepted()); got != n {
		t.Errorf("%d links accepted, want %d", got, n)
	}
}

func TestAnInboxThatIsRemovedAndMadeAgainIsServedAgain(t *testing.T) {
	in := newInbox(t)
	in.watch(nil)
	in.passBy()
	in.must(os.RemoveAll(in.folder))
	in.eventually("the loss is logged", func() bool { return strings.Contains(in.logged(), "inbox cannot be read") })
	in.must(os.Mkdir(in.folder, 0o700))
	in.drop("x.masvlink", linkA)
	in.eventually("it is in accepted", func() bool { return in.has("accepted/x.masvlink") })
	in.passBy() // by an event: rescans are far apart as long as the inbox is there
}

func TestAnInboxThatIsReplacedIsServedAgain(t *testing.T) {
	in := newInbox(t)
	in.watch(nil)
	in.passBy()
	in.must(os.Rename(in.folder, in.folder+".old"))
	in.must(os.Mkdir(in.folder, 0o700))
	in.passBy()
}

func TestRunMakesTheInboxAndRefusesWhatCannotBeOne(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "b")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := watcher.New(watcher.Config{Folder: folder, Agent: &agent{}}).Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := watcher.New(watcher.Config{Folder: filepath.Join(folder, "file"), Agent: &agent{}}).Run(context.Background()); err == nil {
		t.Error("a file served as an inbox")
	}
}

func needsLeases(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells whether a file is open for writing")
	}
}

func names(t testing.TB, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
