package integration

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"

	"masvfs/integration/cutfs"
)

// TestAFaultyDisk has the disk fail in every way that it can. What is under way
// ends complete once the disk is well, by itself or when it is resumed, or
// before; what is in error meanwhile says why. Nothing is ever wrong, and a
// power cut takes nothing that was called complete.
func TestAFaultyDisk(t *testing.T) {
	const files = "masvfs.db*" // all but these
	const full = "nothing"     // has room for more
	for name, fault := range map[string]cutfs.Fault{
		"a write fails":                          {Kind: cutfs.Write, But: files, Skip: 3, Times: 1, Errno: syscall.EIO},
		"all writes fail":                        {Kind: cutfs.Write, But: files, Skip: 5, Errno: syscall.EIO},
		"there is no room for writes":            {Kind: cutfs.Write, But: files, Skip: 6, Errno: syscall.ENOSPC},
		"a flush fails":                          {Kind: cutfs.Sync, But: files, Skip: 1, Times: 1, Errno: syscall.EIO},
		"all flushes fail":                       {Kind: cutfs.Sync, But: files, Errno: syscall.EIO},
		"there is no room when it flushes":       {Kind: cutfs.Sync, But: files, Times: 2, Errno: syscall.ENOSPC},
		"a flush of a folder fails":              {Kind: cutfs.SyncDir, Skip: 4, Times: 1, Errno: syscall.EIO},
		"all flushes of folders fail":            {Kind: cutfs.SyncDir, Errno: syscall.EIO},
		"a rename fails":                         {Kind: cutfs.Rename, Skip: 2, Times: 1, Errno: syscall.EIO},
		"all renames fail":                       {Kind: cutfs.Rename, Errno: syscall.EIO},
		"nothing can be made or removed":         {Kind: cutfs.Name, Skip: 7, Errno: syscall.EIO},
		"there is no room for names":             {Kind: cutfs.Name, Errno: syscall.ENOSPC},
		"a write of the database fails":          {Kind: cutfs.Write, Match: files, Skip: 20, Times: 1, Errno: syscall.EIO},
		"all writes of the database fail":        {Kind: cutfs.Write, Match: files, Skip: 20, Errno: syscall.EIO},
		"the database has no room":               {Kind: cutfs.Write, Match: files, Skip: 25, Errno: syscall.ENOSPC},
		"a flush of the database fails":          {Kind: cutfs.Sync, Match: files, Skip: 3, Times: 1, Errno: syscall.EIO},
		"all flushes of the database fail":       {Kind: cutfs.Sync, Match: files, Skip: 4, Errno: syscall.EIO},
		"some flushes of the database fail":      {Kind: cutfs.Sync, Match: files, Skip: 2, Times: 3, Errno: syscall.EIO},
		"the database has no room to flush":      {Kind: cutfs.Sync, Match: files, Skip: 3, Times: 2, Errno: syscall.ENOSPC},
		"the disk is full, for the database too": {Kind: full},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, seed := range seeds(t, 1, 20) {
				l := newLife(t, seed)
				for _, p := range l.shipments {
					p.dropped = false
				}
				l.start()
				f := fault
				l.disk.Fail(&f)
				if f.Kind == full {
					l.disk.Room(400_000)
				}
				why := l.endure()
				l.disk.Fail()
				l.disk.Room(1 << 40)
				l.resume()
				t.Logf("seed %d: it said: %s", seed, strings.Join(why, "; "))
				l.checkAll()
				l.cut(merciless(seed), func() {})
				l.checkStored()
				l.start()
				l.complete()
				l.checkAll()
				l.signal(syscall.SIGTERM)
			}
		})
	}
}

// endure waits until each download is complete or says why not.
func (l *life) endure() (why []string) {
	t := l.t
	t.Helper()
	if !l.post(context.Background()) {
		why = append(why, "not accepted")
	}
	var all []linked
	l.until("each is complete or in error", func() bool {
		all = nil
		l.call("GET", "/downloads", "", &all)
		return !slices.ContainsFunc(all, func(d linked) bool { return d.State != "complete" && d.State != "error" }) ||
			strings.Contains(l.log.String(), "cannot be recorded")
	})
	for _, d := range all {
		l.note(l.get(d.ID))
		if d.State != "error" {
			continue
		}
		if d.Error == nil || d.Error.Message == "" || !d.Error.Recoverable {
			t.Errorf("%s is in error and does not say why, or is so for good: %+v", d.Name, d.Error)
		} else {
			why = append(why, d.Error.Code+": "+d.Error.Message)
		}
	}
	return why
}

// resume resumes what is in error until all is complete.
func (l *life) resume() {
	l.t.Helper()
	l.add()
	l.until("all complete", func() bool {
		var all []linked
		l.call("GET", "/downloads", "", &all)
		complete := 0
		for _, d := range all {
			switch d.State {
			case "complete":
				complete++
			case "error":
				l.call("POST", "/downloads/"+d.ID+"/resume", "", nil)
			}
		}
		return complete == len(l.shipments)
	})
}
