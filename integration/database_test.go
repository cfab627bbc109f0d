package integration

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"masvfs/fetch/masv/masvtest"
)

// used returns a site whose agent has downloaded something and has ended.
func used(t *testing.T) (s *site, database string) {
	t.Helper()
	s = newSite(t, false)
	var files []masvtest.File
	for i := range 100 {
		files = append(files, masvtest.File{Name: fmt.Sprint("file ", i), Path: fmt.Sprint("folder ", i%7), Size: int64(i)})
	}
	link := s.cloud.AddPackage(masvtest.Package{Name: "Used", Files: files})
	s.start()
	s.waitFor(s.add(link, ""), "complete")
	s.signal(syscall.SIGTERM)
	return s, filepath.Join(s.state, "masvfs.db")
}

// refuses finds that the agent does not run, says why, and has left the
// database as it was.
func (s *site) refuses(database string, says ...string) {
	s.t.Helper()
	before, err := os.ReadFile(database)
	if err != nil {
		s.t.Fatal(err)
	}
	s.launch()
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.t.Fatal("the agent runs")
	}
	status := s.process.ProcessState.ExitCode()
	s.process = nil
	if status != 1 {
		s.t.Errorf("exit status %d", status)
	}
	for _, words := range append(says, database) {
		if !strings.Contains(s.log.String(), words) {
			s.t.Errorf("it does not say %q:\n%s", words, s.log)
		}
	}
	if after, err := os.ReadFile(database); err != nil || !bytes.Equal(before, after) {
		s.t.Errorf("the database was changed: %v", err)
	}
}

func TestADatabaseThatCannotBeUsedIsKeptAndSaidToBe(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(data []byte) []byte
		says   []string
	}{
		"a garbled header":  {func(b []byte) []byte { copy(b, "garbage, garbage"); return b }, []string{"damaged", "move it away"}},
		"garbled pages":     {func(b []byte) []byte { clear(b[4096:]); return b }, []string{"damaged", "move it away"}},
		"cut short":         {func(b []byte) []byte { return b[:5000] }, []string{"damaged", "move it away"}},
		"cut very short":    {func(b []byte) []byte { return b[:50] }, []string{"damaged", "move it away"}},
		"of a newer masvfs": {func(b []byte) []byte { copy(b[60:], "\x00\x00\x03\xe7"); return b }, []string{"newer version", "run that version"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, database := used(t)
			data, err := os.ReadFile(database)
			if err != nil {
				t.Fatal(err)
			}
			whole := bytes.Clone(data)
			if err := os.WriteFile(database, c.damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			s.refuses(database, c.says...)
			// The way out that it names: here a copy of it is put back.
			if err := os.WriteFile(database, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			s.start()
			if all := s.list(); len(all) != 1 || all[0].State != "complete" {
				t.Errorf("with a copy of it: %+v", all)
			}
			s.signal(syscall.SIGTERM)
		})
	}
}

// TestOneDamagedPageIsNoCrash damages one page of the database after the
// other. The agent says so at its start, or where it needs that page; what it
// tells of downloads is right or an error.
func TestOneDamagedPageIsNoCrash(t *testing.T) {
	s, database := used(t)
	whole, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	refused, ran := 0, 0
	for at := page; at < len(whole); at += page {
		damaged := bytes.Clone(whole)
		for i := range page {
			damaged[at+i] ^= 0xa5
		}
		if err := os.WriteFile(database, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, beside := range []string{"-wal", "-shm"} {
			os.Remove(database + beside)
		}
		s.launch()
		runs := false
		s.until("it runs or has ended", func() bool {
			select {
			case <-s.exited:
				return true
			default:
			}
			_, err := s.ask(t.Context(), "GET", "/downloads", "", nil)
			runs = err == nil
			return runs
		})
		if !runs {
			refused++
			if log := s.log.String(); s.process.ProcessState.ExitCode() != 1 || !strings.Contains(log, "damaged") {
				t.Errorf("page at %d: %s", at, log)
			}
			s.process = nil
			continue
		}
		ran++
		for _, d := range s.list() {
			if d.State != "complete" || d.FilesDone != 100 {
				t.Errorf("page at %d: %+v", at, d)
			}
			var got download
			// An answer that has begun is cut off.
			if status, err := s.ask(t.Context(), "GET", "/downloads/"+d.ID, "", &got); err == nil && status == http.StatusOK && len(got.Files) != 100 {
				t.Errorf("page at %d: %d files", at, len(got.Files))
			}
		}
		s.signal(syscall.SIGTERM)
		if strings.Contains(s.log.String(), "panic") {
			t.Errorf("page at %d: %s", at, s.log)
		}
	}
	t.Logf("%d damaged pages kept the agent from running, %d did not", refused, ran)
}

func TestADatabaseThatAnotherProgramHoldsIsWaitedFor(t *testing.T) {
	t.Parallel()
	s, database := used(t)
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	hold := func() (release func()) {
		t.Helper()
		if _, err := db.Exec("BEGIN EXCLUSIVE"); err != nil {
			t.Fatal(err)
		}
		return func() {
			if _, err := db.Exec("ROLLBACK"); err != nil {
				t.Error(err)
			}
		}
	}
	release := hold()
	s.refuses(database, "another program is using it", "end that program")
	release()

	s.cloud.SetRate(512 << 10)
	var files []masvtest.File
	for i := range 40 {
		files = append(files, masvtest.File{Name: fmt.Sprint(i), Size: 100_000})
	}
	files = append(files, masvtest.File{Name: "big", Size: 24 << 20})
	link := s.cloud.AddPackage(masvtest.Package{Name: "Held up", Files: files})
	s.start()
	id := s.add(link, "")
	s.until("bytes", func() bool { return s.get(id).BytesDone > 0 })
	release = hold()
	s.until("it says so", func() bool { return strings.Contains(s.log.String(), "another program is using it") })
	if s.answers(); s.get(id).State == "complete" {
		t.Error("it was complete before it could be recorded")
	}
	release()
	s.cloud.SetRate(0)
	if s.get(id).State == "error" {
		s.call("POST", "/downloads/"+id+"/resume", "", nil) // it would go on by itself, in a while
	}
	tree := s.again(id)
	for i := range files {
		f := s.cloud.File(link, i)
		sameContent(t, filepath.Join(tree, f.Name), f)
	}
	if n := s.cloud.LinkStats(link).Calls; n != 1 {
		t.Errorf("the link was called %d times", n)
	}
	s.signal(syscall.SIGTERM)
}
