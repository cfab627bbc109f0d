package integration

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"masvfs/fetch/masv/masvtest"
)

// of returns what a list of downloads has of a link.
func (s *sending) of(all []linked) []linked {
	return slices.DeleteFunc(slices.Clone(all), func(d linked) bool { return !strings.Contains(d.URL, s.link.ID) })
}

// look compares what REST lists with what was sent, before any link can be
// opened in this life of the agent, and then lets links be opened.
func (v *victim) look(u *uptime) {
	t := v.t
	t.Helper()
	defer close(u.open)
	var all []linked
	v.call("GET", "/downloads", "", &all)
	for _, s := range v.sent {
		of := s.of(all)
		switch {
		case len(of) > 1:
			t.Errorf("%s is there %d times", s.Name, len(of))
			continue
		case len(of) == 0 && s.deleting:
			s.deleted, s.deleting = true, false
			continue
		case len(of) == 0 && s.posted && !s.deleted:
			t.Errorf("%s was accepted and is gone", s.Name)
			continue
		case len(of) == 0:
			continue // deleted, still in the inbox, or never heard of
		case s.deleted:
			t.Errorf("%s was deleted and is back", s.Name)
			continue
		}
		d := of[0]
		if s.id != "" && s.id != d.ID {
			t.Errorf("%s was %s and is %s", s.Name, s.id, d.ID)
		}
		if d.State == "error" {
			t.Errorf("%s is in error: %+v", s.Name, d.Error)
		}
		s.id, s.posted, s.deleting = d.ID, true, false
		calls, known := v.cloud.LinkStats(s.link).Initiated, d.Name != s.link.ID
		if s.known && !known {
			t.Errorf("what the link of %s leads to was known and is forgotten", s.Name)
		}
		v.checkCalls(s, calls)
		s.calls, s.known, s.complete = calls, known, d.State == "complete"
		v.met[like(d)]++
	}
}

// checkCalls finds a link that was opened more than once in one life, or after
// the answer was recorded. An agent that is killed between the answer and its
// record must ask again.
func (v *victim) checkCalls(s *sending, calls int) {
	v.t.Helper()
	switch again := calls - s.calls; {
	case s.known && again > 0:
		v.t.Errorf("the link of %s was opened %d times more after the answer was recorded", s.Name, again)
	case again > 1:
		v.t.Errorf("the link of %s was opened %d times in one life", s.Name, again)
	}
}

// like says what a download is like, for the log: which moments were met.
func like(d linked) string {
	switch {
	case d.State != "transferring":
		return d.State
	case strings.Contains(d.URL, d.Name):
		return "not opened"
	case d.BytesDone == 0 && d.FilesDone == 0:
		return "opened"
	}
	return "under way"
}

// files returns the packages' files by their place in the destination, and
// which of them stay, or may stay.
func (v *victim) files() (files map[string]masvtest.File, of map[string]*sending) {
	files, of = make(map[string]masvtest.File), make(map[string]*sending)
	for _, s := range v.sent {
		for _, f := range s.Files {
			path := filepath.Join(s.Name, f.Path, f.Name)
			files[path], of[path] = f, s
		}
	}
	return files, of
}

// lookAtDisk finds that what a kill has left under its own name is whole.
func (v *victim) lookAtDisk() {
	t := v.t
	t.Helper()
	files, _ := v.files()
	err := filepath.WalkDir(v.downloads, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if e.IsDir() && strings.HasPrefix(e.Name(), ".masvfs-") {
			return fs.SkipDir
		}
		rel, _ := filepath.Rel(v.downloads, path)
		if e.IsDir() || v.seen[rel] {
			return nil
		}
		f, ok := files[rel]
		if !ok {
			t.Errorf("nobody has sent %s", path)
			return nil
		}
		v.seen[rel] = true
		sameContent(t, path, f)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// finish takes everything to its end and looks at all of it.
func (v *victim) finish() {
	t := v.t
	t.Helper()
	v.call("POST", "/downloads/all/resume", "", nil)
	var all []linked
	v.until("everything that was sent is complete", func() bool {
		all = nil
		v.call("GET", "/downloads", "", &all)
		for _, d := range all {
			if d.State == "error" {
				t.Fatalf("%s is in error: %+v", d.Name, d.Error)
			}
			if d.State != "complete" {
				return false
			}
		}
		for _, s := range v.sent {
			if len(s.of(all)) == 0 && !s.deleted && (s.posted || s.dropped) {
				return false
			}
		}
		left, _ := filepath.Glob(filepath.Join(v.inbox, "*.masvlink"))
		return len(left) == 0
	})
	for _, s := range v.sent {
		of := s.of(all)
		if len(of) > 1 || len(of) == 1 && s.deleted {
			t.Errorf("%s is there %d times", s.Name, len(of))
		}
		if !s.deleted {
			v.checkCalls(s, v.cloud.LinkStats(s.link).Initiated)
		}
		state, err := os.ReadFile(filepath.Join(v.mount, s.Name, "state"))
		if there := err == nil && string(state) == "complete\n"; there != (len(of) == 1) {
			t.Errorf("%s is listed %d times, and in the mount: %q, %v", s.Name, len(of), state, err)
		}
	}
	// What was begun to be deleted before the last kill is deleted meanwhile.
	var wrong []string
	v.until("what was deleted is gone", func() bool { wrong = v.stray(all); return len(wrong) == 0 || t.Failed() })
	v.seen = make(map[string]bool)
	v.lookAtDisk()
}

// stray returns what is on disk and should not be, and what should and is not.
func (v *victim) stray(all []linked) (wrong []string) {
	v.t.Helper()
	files, of := v.files()
	wanted, kept := make(map[string]bool), make(map[string]bool)
	for path, s := range of {
		switch {
		case len(s.of(all)) > 0:
			wanted[path] = true
		case s.deleted && s.keeps:
			kept[path] = true
		}
	}
	allowed := map[string]bool{".": true}
	for path := range files {
		for up := path; wanted[path] && up != "."; up = filepath.Dir(up) {
			allowed[up] = true
		}
	}
	err := filepath.WalkDir(v.downloads, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(v.downloads, path)
		if kept[rel] {
			for up := rel; up != "."; up = filepath.Dir(up) {
				allowed[up] = true
			}
		}
		return nil
	})
	if err != nil {
		v.t.Fatal(err)
	}
	found := make(map[string]bool)
	filepath.WalkDir(v.downloads, func(path string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(v.downloads, path)
		found[rel] = true
		if !allowed[rel] {
			wrong = append(wrong, "stray: "+rel)
		}
		return nil
	})
	for path := range wanted {
		if !found[path] {
			wrong = append(wrong, "missing: "+path)
		}
	}
	return wrong
}
