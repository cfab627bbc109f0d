package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"masvfs/fetch/masv"
	"masvfs/fetch/masv/masvtest"
	"masvfs/fetch/pathname"
)

const patience = 30 * time.Second

// world is a cloud, a disk and, one after the other, agents that work between them.
type world struct {
	testing.TB
	cloud *masvtest.Server
	dir   string
	names pathname.Rules
	agent *Agent
	end   func()
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, cloud: masvtest.NewServer(), dir: t.TempDir()}
	t.Cleanup(w.cloud.Close)
	t.Cleanup(func() { w.end() })
	w.start()
	return w
}

func (w *world) downloads() string { return filepath.Join(w.dir, "downloads") }

// start runs an agent on what the last one has left.
func (w *world) start() {
	w.Helper()
	client, err := masv.NewClient(masv.Config{BaseURL: w.cloud.URL, Transport: &http.Transport{}})
	if err != nil {
		w.Fatal(err)
	}
	if err := os.MkdirAll(w.downloads(), 0o755); err != nil {
		w.Fatal(err)
	}
	w.agent, err = New(Config{
		Database:     filepath.Join(w.dir, "masvfs.db"),
		Cloud:        client,
		Roots:        []string{w.downloads()},
		KeepOut:      []string{filepath.Join(w.dir, "downloads", "inbox")},
		Storage:      &http.Transport{},
		Names:        w.names,
		Log:          slog.New(slog.DiscardHandler),
		MinBackoff:   5 * time.Millisecond,
		MaxBackoff:   50 * time.Millisecond,
		MendInterval: 20 * time.Millisecond,
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.agent.Run(ctx) }()
	w.end = func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
		if err := w.agent.Close(); err != nil {
			w.Error(err)
		}
		w.end = func() {}
	}
}

func (w *world) request(l masvtest.Link) Request {
	w.Helper()
	link, err := masv.ParseLink(l.URL())
	if err != nil {
		w.Fatal(err)
	}
	return Request{Link: link}
}

func (w *world) add(r Request) Download {
	w.Helper()
	d, created, err := w.agent.Add(w.Context(), r)
	if err != nil || !created {
		w.Fatalf("created %v, %v", created, err)
	}
	return d
}

func (w *world) reach(id string, state State) Download {
	w.Helper()
	var d Download
	w.until(string(state), func() bool {
		var err error
		if d, err = w.agent.Get(id); err != nil {
			w.Fatal(err)
		}
		if d.State == Failed && state != Failed {
			w.Fatalf("failed: %+v", d.Problem)
		}
		return d.State == state
	})
	return d
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("still not: %s", what)
		}
	}
}

func (w *world) files(id string) map[string]File {
	w.Helper()
	all := map[string]File{}
	for f, err := range w.agent.Files(w.Context(), id) {
		if err != nil {
			w.Fatal(err)
		}
		all[f.Path] = f
	}
	return all
}

// check compares a finished file with what the cloud serves.
func (w *world) check(path string, f masvtest.File) {
	w.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		w.Error(err)
		return
	}
	want := make([]byte, f.Size)
	masvtest.Content(f.Seed, 0, want)
	if string(got) != string(want) {
		w.Errorf("%s holds %d bytes that are not the %d sent", path, len(got), len(want))
	}
}

func small(names ...string) []masvtest.File {
	var files []masvtest.File
	for i, n := range names {
		files = append(files, masvtest.File{Path: filepath.Dir(n), Name: filepath.Base(n), Size: int64(1000 + i)})
	}
	return files
}

func TestADownloadIsToldOfInTheOrderInWhichItHappens(t *testing.T) {
	w := newWorld(t)
	sub := w.agent.Subscribe()
	defer sub.Close()
	link := w.cloud.AddPackage(masvtest.Package{Name: "Told", Files: small("a/one", "a/two")})
	d := w.add(w.request(link))
	w.reach(d.ID, Complete)
	placed := 0
	var kinds []EventKind
	late := time.AfterFunc(patience, sub.Close)
	defer late.Stop()
	for e := range sub.Events() {
		kinds = append(kinds, e.Kind)
		if e.Kind == Appeared && !e.Dir {
			placed++
		}
		if got, err := w.agent.Get(d.ID); e.Kind == Changed && err == nil && got.State == Complete && placed == 2 {
			break
		}
	}
	if kinds[0] != Added || placed != 2 {
		t.Errorf("events: %v", kinds)
	}
}

func TestHostileNamesStayInsideAndNoFileIsLostWithoutAReason(t *testing.T) {
	w := newWorld(t)
	hostile := []masvtest.File{
		{Path: "../../..", Name: "up", Size: 10}, {Path: "/etc", Name: "passwd", Size: 11}, {Path: "", Name: "..", Size: 12},
		{Path: "", Name: "a/../../b", Size: 13}, {Path: "x\x00y", Name: "nul\x00", Size: 14}, {Path: "", Name: "", Size: 15},
		{Path: "", Name: strings.Repeat("long", 100) + ".mov", Size: 16}, {Path: "same", Name: "twice", Size: 17}, {Path: "same", Name: "twice", Size: 18},
		{Path: "", Name: "same", Size: 19}, {Path: "a//./b", Name: "dots", Size: 20}, {Path: "", Name: ".masvfs-x", Size: 21},
		{Path: `back\slash`, Name: `..\up`, Size: 22},
	}
	link := w.cloud.AddPackage(masvtest.Package{Name: "../../Hostile", Files: hostile})
	d := w.reach(w.add(w.request(link)).ID, Complete)
	if filepath.Dir(d.Path) != w.downloads() {
		t.Fatalf("the package folder is %s", d.Path)
	}
	bySize := map[int64]File{}
	for _, f := range w.files(d.ID) {
		bySize[f.Size] = f
	}
	for i, sent := range hostile {
		f := bySize[sent.Size]
		if f.State != FileComplete || !filepath.IsLocal(f.Path) {
			t.Errorf("%q in %q: %+v", sent.Name, sent.Path, f)
			continue
		}
		w.check(filepath.Join(d.Path, f.Path), w.cloud.File(link, i))
	}
	err := filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasPrefix(path, d.Path) && !strings.HasPrefix(path, filepath.Join(w.dir, "masvfs.db")) {
			t.Errorf("outside of the package: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingThatWasThereIsTouched(t *testing.T) {
	w := newWorld(t)
	there := filepath.Join(w.downloads(), "Taken", "mine")
	if err := os.MkdirAll(filepath.Dir(there), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(there, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	link := w.cloud.AddPackage(masvtest.Package{Name: "Taken", Files: small("mine")})
	d := w.reach(w.add(w.request(link)).ID, Complete)
	if filepath.Base(d.Path) != "Taken (2)" {
		t.Errorf("placed in %s", d.Path)
	}

	loose := w.request(w.cloud.AddPackage(masvtest.Package{Name: "Loose", Files: small("mine")}))
	loose.DstFolder, loose.NoPackageFolder = filepath.Dir(there), true
	d = w.reach(w.add(loose).ID, Complete)
	if _, ok := w.files(d.ID)["mine (2)"]; !ok {
		t.Errorf("files: %v", w.files(d.ID))
	}
	if got, err := os.ReadFile(there); err != nil || string(got) != "mine" {
		t.Errorf("mine holds %q, %v", got, err)
	}
}

func TestAPackagePublishedWholeHasAHiddenNameUntilItIsComplete(t *testing.T) {
	w := newWorld(t)
	gate := make(chan struct{})
	link := w.cloud.AddPackage(masvtest.Package{Name: "Whole", Files: small("first", "second")})
	second := w.cloud.File(link, 1).ID
	w.cloud.Fault(func(r masvtest.Request) *masvtest.Fault {
		if r.Call == masvtest.CallStorage && r.FileID == second {
			return masvtest.StallAfter(10, gate)
		}
		return nil
	})
	r := w.request(link)
	r.Publish = PublishPackage
	id := w.add(r).ID
	w.until("the first file", func() bool { return w.files(id)["first"].State == FileComplete })
	entries, err := os.ReadDir(w.downloads())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s shows already", e.Name())
		}
	}
	close(gate)
	d := w.reach(id, Complete)
	if d.Path != filepath.Join(w.downloads(), "Whole") {
		t.Errorf("placed in %s", d.Path)
	}
	w.check(filepath.Join(d.Path, "first"), w.cloud.File(link, 0))
}

func TestALinkThatIsThereUnfinishedIsNotAddedTwice(t *testing.T) {
	w := newWorld(t)
	pkg := masvtest.Package{Name: "Once", Files: small("a"), Password: "right"}
	link := w.cloud.AddPackage(pkg)
	r := w.request(link)
	id := w.add(r).ID
	if d := w.reach(id, Failed); d.Problem.Code != CodePasswordRequired || d.Name != link.ID {
		t.Errorf("got %q, %+v", d.Name, d.Problem)
	}
	r.Password = "right"
	d, created, err := w.agent.Add(t.Context(), r)
	if err != nil || created || d.ID != id {
		t.Fatalf("got %s, created %v, %v", d.ID, created, err)
	}
	w.reach(id, Complete)
	if other := w.add(r); other.ID == id {
		t.Error("a complete one is not downloaded again")
	}
}

func TestAnOriginIsAcceptedOnce(t *testing.T) {
	w := newWorld(t)
	r := w.request(w.cloud.AddPackage(masvtest.Package{Name: "Origin", Files: small("a")}))
	for range 2 {
		if err := w.agent.Accept(t.Context(), "inbox:1", []Request{r}); err != nil {
			t.Fatal(err)
		}
		w.until("complete", func() bool { return w.agent.After(0, 100)[0].State == Complete })
	}
	if n := len(w.agent.After(0, 100)); n != 1 {
		t.Errorf("%d downloads", n)
	}
	bad := r
	bad.DstFolder = "/etc"
	var inv *InvalidError
	err := w.agent.Accept(t.Context(), "inbox:2", []Request{r, bad})
	if !errors.As(err, &inv) || inv.Index != 1 || inv.Field != "dst_folder" || len(w.agent.After(0, 100)) != 1 {
		t.Errorf("got %v and %d downloads", err, len(w.agent.After(0, 100)))
	}
}

func TestATokenThatNoLongerWorksIsRenewedOnce(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("f%02d", i))
	}
	link := w.cloud.AddPackage(masvtest.Package{Name: "Tokens", Files: small(names...)})
	revoked := false
	w.cloud.Fault(masvtest.On(masvtest.CallFileURL, masvtest.Delay(5*time.Millisecond)))
	id := w.add(w.request(link)).ID
	w.until("some files", func() bool {
		d, _ := w.agent.Get(id)
		if d.FilesDone > 0 && !revoked {
			revoked = true
			w.cloud.RevokeTokens(link)
		}
		return revoked
	})
	w.reach(id, Complete)
	if n := w.cloud.LinkStats(link).Calls; n > 2 {
		t.Errorf("the link was called %d times", n)
	}
}

func TestATokenThatListingAndFilesNeedIsRenewedOnce(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 800 {
		names = append(names, fmt.Sprintf("%04d", i))
	}
	link := w.cloud.AddPackage(masvtest.Package{Name: "Both", Files: small(names...)})
	w.cloud.Fault(masvtest.First(
		masvtest.On(masvtest.CallListing, masvtest.StallAfter(75<<10, nil)),
		masvtest.On(masvtest.CallStorage, masvtest.Stall()),
	))
	id := w.add(w.request(link)).ID
	w.until("files", func() bool { return len(w.files(id)) > 0 })
	w.end()
	w.cloud.RevokeTokens(link)
	w.cloud.Fault(masvtest.On(masvtest.CallLink, masvtest.Delay(100*time.Millisecond)))
	w.start()
	w.reach(id, Complete)
	if n := w.cloud.LinkStats(link).Calls; n != 2 {
		t.Errorf("the link was called %d times", n)
	}
}

func TestAPackageSizeThatCountsMoreThanThereIsToFetchRefusesNothing(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Much", Size: 1 << 60, Files: small("a", "b")})
	w.reach(w.add(w.request(link)).ID, Complete)

	link = w.cloud.AddPackage(masvtest.Package{Name: "More", Size: 1 << 60, Files: append(small("a"), masvtest.File{Name: "b", Size: 1 << 60})})
	id := w.add(w.request(link)).ID
	if d := w.reach(id, Failed); d.Problem.Code != CodeNoSpace || d.FilesDone > 0 || d.Path != "" {
		t.Errorf("got %+v, %+v", d, d.Problem)
	}
}

func TestADisabledLinkDoesNotEndWhatHasBegun(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Begun", Files: []masvtest.File{{Name: "a", Size: 8 << 20}}})
	w.cloud.SetRate(1 << 20)
	id := w.add(w.request(link)).ID
	w.until("bytes", func() bool { d, _ := w.agent.Get(id); return d.BytesDone > 0 })
	w.cloud.Update(link, func(p *masvtest.Package) { p.Disabled = true })
	w.end()
	w.cloud.SetRate(0)
	w.start()
	w.check(filepath.Join(w.reach(id, Complete).Path, "a"), w.cloud.File(link, 0))
	if n := w.cloud.LinkStats(link).Calls; n != 1 {
		t.Errorf("the link was called %d times", n)
	}
}

func TestAPausedDownloadFetchesNothing(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Paused", Files: []masvtest.File{{Name: "a", Size: 8 << 20}}})
	w.cloud.SetRate(1 << 20)
	id := w.add(w.request(link)).ID
	w.until("bytes", func() bool { return w.files(id)["a"].BytesDone > 0 })
	d, err := w.agent.Pause(t.Context(), id)
	if err != nil || d.State != Paused || d.BytesDone == 0 || d.BytesPerSecond != 0 {
		t.Errorf("got %+v, %v", d, err)
	}
	if f := w.files(id)["a"]; f.State != FilePending || f.BytesDone == 0 {
		t.Errorf("the file: %+v", f)
	}
	again, err := w.agent.Pause(t.Context(), id)
	if err != nil || again.State != Paused {
		t.Errorf("paused again: %+v, %v", again, err)
	}
	w.cloud.SetRate(0)
	if _, err := w.agent.Resume(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	w.check(filepath.Join(w.reach(id, Complete).Path, "a"), w.cloud.File(link, 0))
	if d, err := w.agent.Pause(t.Context(), id); err != nil || d.State != Complete {
		t.Errorf("pausing a complete download: %+v, %v", d, err)
	}
}

func TestFilesComeWhileTheListingIsStillBeingRead(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 800 {
		names = append(names, fmt.Sprintf("%04d", i))
	}
	link := w.cloud.AddPackage(masvtest.Package{Name: "Long", Files: small(names...)})
	release := make(chan struct{})
	w.cloud.Fault(masvtest.Times(1, masvtest.On(masvtest.CallListing, &masvtest.Fault{Ending: masvtest.EndStall, After: 75 << 10, Release: release})))
	id := w.add(w.request(link)).ID
	w.until("finished files", func() bool { d, _ := w.agent.Get(id); return d.FilesDone > 30 })
	d, err := w.agent.Get(id)
	if err != nil || d.State != Transferring || d.FilesDone > 780 {
		t.Errorf("while the listing stands still: %+v, %v", d, err)
	}
	// What has come is kept when the program ends meanwhile.
	w.end()
	close(release)
	w.start()
	d = w.reach(id, Complete)
	if d.FilesTotal != 800 || d.FilesDone != 800 {
		t.Errorf("%d of %d files are done", d.FilesDone, d.FilesTotal)
	}
	for i := range 800 {
		if gets := w.cloud.FileStats(link, i).Requests; gets == 0 || gets > 2 {
			t.Errorf("file %d was fetched %d times", i, gets)
		}
	}
}

func TestAListingThatFailsInTheEndEndsWhatHasBegun(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Bad", Files: append(small("a", "b"), make([]masvtest.File, 600)...)})
	w.cloud.Fault(masvtest.On(masvtest.CallListing, &masvtest.Fault{Ending: masvtest.EndCut, After: 40 << 10}))
	id := w.add(w.request(link)).ID
	w.until("a finished file", func() bool { d, _ := w.agent.Get(id); return d.FilesDone > 0 })
	if d, err := w.agent.Get(id); err != nil || d.State == Complete {
		t.Errorf("without the rest of the listing: %+v, %v", d, err)
	}
	w.cloud.Fault(nil)
	w.reach(id, Complete)
}

func TestWhatIsWrongWithALinkIsSaid(t *testing.T) {
	tests := []struct {
		name string
		pkg  masvtest.Package
		code Code
	}{
		{"disabled", masvtest.Package{Disabled: true}, CodeLinkNotFound},
		{"expired", masvtest.Package{Expiry: time.Now().Add(-time.Hour)}, CodeLinkNotFound},
		{"sign-in", masvtest.Package{SignIn: true}, CodeSignInRequired},
		{"password", masvtest.Package{Password: "x"}, CodePasswordRequired},
	}
	w := newWorld(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			link := w.cloud.AddPackage(test.pkg)
			d := w.reach(w.add(w.request(link)).ID, Failed)
			if d.Problem.Code != test.code || strings.Contains(d.Problem.Message, link.Secret) {
				t.Errorf("problem: %+v", d.Problem)
			}
		})
	}
}

func TestALinkThatIsNotReadyIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Soon", Files: small("a"), NotReady: 3, NotReadyStatus: 423})
	w.reach(w.add(w.request(link)).ID, Complete)
}

func TestSkippedFilesAreNamedAndNotCounted(t *testing.T) {
	w := newWorld(t)
	files := append(small("good"), masvtest.File{Name: "bad", Size: 5, VirusDetected: true}, masvtest.File{Name: "odd", Kind: "hologram", Size: 5},
		masvtest.File{Name: "all.zip", Kind: "zip_mac", Size: 5})
	link := w.cloud.AddPackage(masvtest.Package{Name: "Skips", Files: files})
	d := w.reach(w.add(w.request(link)).ID, Complete)
	if d.FilesTotal != 1 || d.BytesTotal != 1000 {
		t.Errorf("totals: %+v", d)
	}
	all := w.files(d.ID)
	if all["bad"].State != FileSkipped || all["bad"].Problem.Code != CodeQuarantined || all["odd"].Problem.Code != CodeUnknownKind || len(all) != 3 {
		t.Errorf("files: %+v", all)
	}
	r := w.request(w.cloud.AddPackage(masvtest.Package{Name: "Refuses", Files: files}))
	r.RefuseQuarantine = true
	if d := w.reach(w.add(r).ID, Failed); d.Problem.Code != CodeQuarantined {
		t.Errorf("problem: %+v", d.Problem)
	}
}

func TestOnlyTheFilesAskedForCome(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Some", Files: small("a", "b", "c")})
	r := w.request(link)
	r.FileIDs = []string{w.cloud.File(link, 1).ID}
	d := w.reach(w.add(r).ID, Complete)
	if all := w.files(d.ID); len(all) != 1 || all["b"].State != FileComplete {
		t.Errorf("files: %+v", all)
	}
	r = w.request(w.cloud.AddPackage(masvtest.Package{Name: "None", Files: small("a")}))
	r.FileIDs = []string{"nope"}
	if d := w.reach(w.add(r).ID, Failed); d.Problem.Code != CodeUnknownFile {
		t.Errorf("problem: %+v", d.Problem)
	}
}

func TestDeletingLeavesNothingOfItsOwn(t *testing.T) {
	w := newWorld(t)
	for _, remove := range []bool{false, true} {
		link := w.cloud.AddPackage(masvtest.Package{Name: "Del", Files: append(small("d/one", "d/two"), masvtest.File{Name: "big", Size: 16 << 20})})
		w.cloud.SetRate(1 << 20)
		id := w.add(w.request(link)).ID
		w.until("small files", func() bool { d, _ := w.agent.Get(id); return d.FilesDone == 2 })
		path := func() string { d, _ := w.agent.Get(id); return d.Path }()
		if err := w.agent.Delete(t.Context(), id, remove); err != nil {
			t.Fatal(err)
		}
		if _, err := w.agent.Get(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(filepath.Join(path, "d", "one")); (err == nil) == remove {
			t.Errorf("remove %v: %v", remove, err)
		}
		entries, _ := os.ReadDir(w.downloads())
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") || remove && e.Name() == filepath.Base(path) {
				t.Errorf("left behind: %s", e.Name())
			}
		}
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestALinkCallThatIsUnderWayWhenItIsPausedCounts(t *testing.T) {
	w := newWorld(t)
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	w.cloud.Fault(func(r masvtest.Request) *masvtest.Fault {
		if r.Call != masvtest.CallLink {
			return nil
		}
		asked <- struct{}{}
		return masvtest.StallAfter(masvtest.BeforeHeader, answer)
	})
	link := w.cloud.AddPackage(masvtest.Package{Name: "Once", Files: small("a"), AccessLimit: 1})
	id := w.add(w.request(link)).ID
	<-asked
	time.AfterFunc(50*time.Millisecond, func() { close(answer) })
	if _, err := w.agent.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.end()
	w.cloud.Fault(nil)
	w.start()
	if _, err := w.agent.Resume(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	w.reach(id, Complete)
	if n := w.cloud.LinkStats(link).Calls; n != 1 {
		t.Errorf("the link was called %d times", n)
	}
}

func TestTokensThatLiveShortlyAreRenewedEachTime(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("f%02d", i))
	}
	w.cloud.Fault(masvtest.On(masvtest.CallFileURL, masvtest.Delay(600*time.Millisecond)))
	link := w.cloud.AddPackage(masvtest.Package{Name: "Short", Files: small(names...), TokenLife: time.Second})
	w.reach(w.add(w.request(link)).ID, Complete)
}

func TestADestinationThatIsAwayIsNotMadeAgain(t *testing.T) {
	for _, flat := range []bool{false, true} {
		w := newWorld(t)
		link := w.cloud.AddPackage(masvtest.Package{Name: "Away", Files: append(small("a"), masvtest.File{Name: "b", Size: 8 << 20})})
		w.cloud.SetRate(1 << 20)
		r := w.request(link)
		r.DstFolder, r.NoPackageFolder = filepath.Join(w.downloads(), "disk"), flat
		id := w.add(r).ID
		w.until("the first file", func() bool { d, _ := w.agent.Get(id); return d.FilesDone == 1 })
		if _, err := w.agent.Pause(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		away := r.DstFolder + "-away"
		if err := os.Rename(r.DstFolder, away); err != nil {
			t.Fatal(err)
		}
		w.cloud.SetRate(0)
		if _, err := w.agent.Resume(t.Context(), id, ""); err != nil {
			t.Fatal(err)
		}
		if d := w.reach(id, Failed); d.Problem.Code != CodeDestination {
			t.Errorf("problem: %+v", d.Problem)
		}
		if _, err := os.Lstat(r.DstFolder); !os.IsNotExist(err) {
			t.Errorf("it was made again: %v", err)
		}
		if err := os.Rename(away, r.DstFolder); err != nil {
			t.Fatal(err)
		}
		// It goes on by itself.
		w.until("complete", func() bool { d, _ := w.agent.Get(id); return d.State == Complete })
		d, _ := w.agent.Get(id)
		w.check(filepath.Join(d.Path, "a"), w.cloud.File(link, 0))
		w.check(filepath.Join(d.Path, "b"), w.cloud.File(link, 1))
	}
}

func TestADeleteWhileTheDiskIsAwayIsFinishedWhenItIsBack(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Del", Files: append(small("a"), masvtest.File{Name: "b", Size: 8 << 20})})
	w.cloud.SetRate(1 << 20)
	r := w.request(link)
	r.DstFolder = filepath.Join(w.downloads(), "disk")
	id := w.add(r).ID
	w.until("the first file", func() bool { d, _ := w.agent.Get(id); return d.FilesDone == 1 })
	if _, err := w.agent.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.DstFolder, r.DstFolder+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := w.agent.Delete(t.Context(), id, true); err != nil {
		t.Fatal(err)
	}
	if n := len(w.agent.After(0, 100)); n != 0 {
		t.Errorf("%d downloads are still there", n)
	}
	if err := os.Rename(r.DstFolder+"-away", r.DstFolder); err != nil {
		t.Fatal(err)
	}
	w.until("nothing is left", func() bool { left, err := os.ReadDir(r.DstFolder); return err == nil && len(left) == 0 })
}

func TestOtherRulesForNamesHideNoDownload(t *testing.T) {
	w := newWorld(t)
	id := w.add(w.request(w.cloud.AddPackage(masvtest.Package{Name: "My Package", Files: small("a")}))).ID
	w.reach(id, Complete)
	w.end()
	w.names = pathname.Portable
	w.start()
	if d, ok := w.agent.ByName("My Package"); !ok || d.ID != id {
		t.Errorf("found %v, %+v", ok, d)
	}
}

func TestWhatIsReservedAlreadyIsNotNeededAgain(t *testing.T) {
	w := newWorld(t)
	link := w.cloud.AddPackage(masvtest.Package{Name: "Big", Files: []masvtest.File{{Name: "a", Size: 64 << 20}}})
	w.cloud.SetRate(1 << 20)
	id := w.add(w.request(link)).ID
	w.until("bytes", func() bool { d, _ := w.agent.Get(id); return d.BytesDone > 0 })
	w.agent.mu.Lock()
	d := w.agent.downloads[id]
	tree, totals := d.tree, d.totals
	w.agent.mu.Unlock()
	claimed, err := tree.Claimed()
	if err != nil || claimed == 0 {
		t.Fatalf("%d bytes are claimed, %v", claimed, err)
	}
	if need, err := needs(totals.Bytes-totals.BytesDone, tree); err != nil || need != max(0, 64<<20-claimed) {
		t.Errorf("%d more are needed beside %d, %v", need, claimed, err)
	}
}

func TestNoSecretOutlivesItsUse(t *testing.T) {
	w := newWorld(t)
	pkg := masvtest.Package{Name: "Secrets", Files: small("a"), Password: "hunter2hunter2"}
	link := w.cloud.AddPackage(pkg)
	r := w.request(link)
	r.Password = "hunter2hunter2"
	d := w.reach(w.add(r).ID, Complete)
	if text := fmt.Sprintf("%+v", d); strings.Contains(text, link.Secret) || strings.Contains(text, "hunter2") {
		t.Errorf("a snapshot shows a secret: %s", text)
	}
	row := w.agent.row(w.agent.downloads[d.ID])
	if row.LinkSecret != "" || row.Password != "" || row.Token != "" {
		t.Error("a complete download keeps its secrets")
	}
	inFiles := func(when string) {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(w.dir, "masvfs.db*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), link.Secret) || strings.Contains(string(data), "hunter2") {
				t.Errorf("%s, %s holds a secret", when, filepath.Base(file))
			}
		}
	}
	// The state is told before the database's log is emptied.
	w.until("the log is empty", func() bool {
		info, err := os.Stat(filepath.Join(w.dir, "masvfs.db-wal"))
		return err == nil && info.Size() == 0
	})
	inFiles("while the agent runs")
	w.end()
	inFiles("when it has ended")
	if _, err := os.Stat(filepath.Join(w.dir, "masvfs.db-wal")); !os.IsNotExist(err) {
		t.Errorf("the log is left: %v", err)
	}
}
