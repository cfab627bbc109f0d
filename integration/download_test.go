package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"masvfs/fetch/masv/masvtest"
)

// rushes is a small package with what packages have.
func rushes() masvtest.Package {
	day := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	return masvtest.Package{Name: "Rushes", Files: []masvtest.File{
		{Name: "A001.mov", Path: "Day 1/Cam A", Size: 5<<20 + 17, LastModified: day},
		{Name: "B001.mov", Path: "Day 1/Cam B", Size: 3 << 20, LastModified: day},
		{Name: "notes.txt", Path: "Day 1", Size: 321, LastModified: day},
		{Name: "empty.txt", Size: 0, LastModified: day},
		{Kind: "directory", Name: "Stills", Path: "Day 1"},
		{Name: "bad.exe", Size: 100, VirusDetected: true},
		{Kind: "zip_windows", Name: "package.zip", Size: 8 << 20},
	}}
}

func checkRushes(t *testing.T, s *site, link masvtest.Link, tree string) {
	t.Helper()
	for i, rel := range []string{"Day 1/Cam A/A001.mov", "Day 1/Cam B/B001.mov", "Day 1/notes.txt", "empty.txt"} {
		sameContent(t, filepath.Join(tree, rel), s.cloud.File(link, i))
	}
	if info, err := os.Stat(filepath.Join(tree, "Day 1/Stills")); err != nil || !info.IsDir() {
		t.Errorf("the empty folder is missing: %v", err)
	}
	for _, never := range []string{"bad.exe", "package.zip"} {
		if _, err := os.Lstat(filepath.Join(tree, never)); !os.IsNotExist(err) {
			t.Errorf("%s should not be there: %v", never, err)
		}
	}
}

func TestALinkDroppedIntoTheInboxBecomesAFinishedTree(t *testing.T) {
	forms := map[string]func(url string) string{
		"plain.masvlink":  func(url string) string { return "# from the client\r\n" + url + "\r\n" },
		"json.masvlink":   func(url string) string { return fmt.Sprintf(`[{"url": %q, "priority": 3}]`, url) },
		"browser.url":     func(url string) string { return "[InternetShortcut]\r\nURL=" + url + "\r\n" },
		"desktop.desktop": func(url string) string { return "[Desktop Entry]\nType=Link\nName=x\nURL=" + url + "\n" },
		"mac.webloc": func(url string) string {
			return `<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>URL</key><string>` +
				strings.ReplaceAll(url, "&", "&amp;") + `</string></dict></plist>`
		},
	}
	s := newSite(t, true)
	s.start()
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			pkg := rushes()
			pkg.Name = "Rushes " + strings.TrimSuffix(name, filepath.Ext(name))
			link := s.cloud.AddPackage(pkg)
			s.drop(name, form(link.URL()))
			var d download
			s.until(pkg.Name+" complete", func() bool {
				for _, d = range s.list() {
					if d.Name == pkg.Name {
						return d.State == "complete"
					}
				}
				return false
			})
			checkRushes(t, s, link, d.Path)
			checkRushes(t, s, link, filepath.Join(d.MountPath, "files"))
			if _, err := os.Stat(filepath.Join(s.inbox, "accepted", name)); err != nil {
				t.Errorf("the link file was not moved: %v", err)
			}
			state, err := os.ReadFile(filepath.Join(d.MountPath, "state"))
			if err != nil || string(state) != "complete\n" {
				t.Errorf("state holds %q, %v", state, err)
			}
			if calls := s.cloud.LinkStats(link).Calls; calls != 1 {
				t.Errorf("the link was called %d times", calls)
			}
		})
	}
	if stray := hidden(t, s.downloads); len(stray) > 0 {
		t.Errorf("left behind: %v", stray)
	}
	if n := s.cloud.Stats().Leaks; n != 0 {
		t.Errorf("the storage saw secrets: %v", s.cloud.Stats().Leaked)
	}
	s.signal(syscall.SIGTERM)
	if data, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(data), s.mount) {
		t.Errorf("still mounted after SIGTERM: %v", err)
	}
}

func TestABadLinkFileIsRejectedWithAReason(t *testing.T) {
	s := newSite(t, false)
	s.start()
	s.drop("bad.masvlink", "https://example.com/something?secret=hunter2hunter2\n")
	report := filepath.Join(s.inbox, "rejected", "bad.masvlink.error.txt")
	s.until("the report", func() bool { _, err := os.Stat(report); return err == nil })
	text, err := os.ReadFile(report)
	if err != nil || !strings.Contains(string(text), "line 1") || strings.Contains(string(text), "hunter2") {
		t.Errorf("the report says %q, %v", text, err)
	}
	if all := s.list(); len(all) != 0 {
		t.Errorf("queued: %+v", all)
	}
}

func TestPausedThroughTheMountItWaitsAndResumes(t *testing.T) {
	s := newSite(t, true)
	link := s.cloud.AddPackage(masvtest.Package{Name: "Slow", Files: []masvtest.File{{Name: "a.bin", Size: 64 << 20}}})
	s.cloud.SetRate(2 << 20)
	s.start()
	id := s.add(link, "")
	s.until("bytes arrive", func() bool { return s.get(id).BytesDone > 1<<20 })
	state := filepath.Join(s.mount, "Slow", "state")
	if err := os.WriteFile(state, []byte("pause\n"), 0); err != nil {
		t.Fatal(err)
	}
	d := s.waitFor(id, "paused")
	if data, _ := os.ReadFile(state); string(data) != "paused\n" {
		t.Errorf("state holds %q", data)
	}
	if _, err := os.Stat(filepath.Join(s.mount, "Slow", "files", "a.bin")); !os.IsNotExist(err) {
		t.Errorf("an unfinished file shows: %v", err)
	}
	s.cloud.SetRate(0)
	if err := os.WriteFile(state, []byte("resume\n"), 0); err != nil {
		t.Fatal(err)
	}
	d = s.waitFor(id, "complete")
	sameContent(t, filepath.Join(d.Path, "a.bin"), s.cloud.File(link, 0))
}

func TestAWrongPasswordIsMendedByResume(t *testing.T) {
	s := newSite(t, false)
	pkg := rushes()
	pkg.Password = "right"
	link := s.cloud.AddPackage(pkg)
	s.start()
	id := s.add(link, `, "password": "wrong"`)
	if d := s.waitFor(id, "error"); d.Error == nil || d.Error.Code != "access_denied" || !d.Error.Recoverable {
		t.Errorf("error: %+v", d.Error)
	}
	s.call("POST", "/downloads/"+id+"/resume", `{"password": "right"}`, nil)
	checkRushes(t, s, link, s.waitFor(id, "complete").Path)
}

func TestOneFileGoneForEverStopsNoOther(t *testing.T) {
	s := newSite(t, false)
	pkg := rushes()
	pkg.Files[1].Gone = true
	link := s.cloud.AddPackage(pkg)
	s.start()
	id := s.add(link, "")
	d := s.waitFor(id, "error")
	if d.Error == nil || d.Error.Code != "files_failed" || !strings.Contains(d.Error.Message, "B001.mov") {
		t.Errorf("error: %+v", d.Error)
	}
	sameContent(t, filepath.Join(d.Path, "Day 1/Cam A/A001.mov"), s.cloud.File(link, 0))
	s.cloud.Update(link, func(p *masvtest.Package) { p.Files[1].Gone = false })
	s.call("POST", "/downloads/"+id+"/resume", "", nil)
	checkRushes(t, s, link, s.waitFor(id, "complete").Path)
}

func TestDeleteRemovesWhatItSaysAndNothingElse(t *testing.T) {
	s := newSite(t, true)
	s.start()
	for _, remove := range []bool{false, true} {
		link := s.cloud.AddPackage(rushes())
		id := s.add(link, "")
		d := s.waitFor(id, "complete")
		if status := s.call("DELETE", "/downloads/"+id, fmt.Sprintf(`{"remove_files": %v}`, remove), nil); status != 204 {
			t.Errorf("DELETE answers %d", status)
		}
		if _, err := os.Stat(d.MountPath); !os.IsNotExist(err) {
			t.Errorf("still in the mount: %v", err)
		}
		if _, err := os.Stat(d.Path); os.IsNotExist(err) != remove {
			t.Errorf("with remove_files %v, stat of the tree says %v", remove, err)
		}
		if status := s.call("GET", "/downloads/"+id, "", nil); status != 404 {
			t.Errorf("GET answers %d", status)
		}
	}
}
