package fusefs

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"masvfs/fetch"
)

// oneDownload is an agent with one download, number 7.
type oneDownload struct {
	Agent // nothing else is asked of it
	name  string
}

func (o *oneDownload) Shown(seq int64) bool { return seq == 7 && o.name != "" }

func (o *oneDownload) BySeq(seq int64) (fetch.Download, error) {
	if !o.Shown(seq) {
		return fetch.Download{}, fetch.ErrNotFound
	}
	return fetch.Download{Seq: seq, Name: o.name}, nil
}

// withAnnouncer runs a test of what is told when, with a clock of its own. What
// is told is sent to the test in place of the kernel.
func withAnnouncer(t *testing.T, test func(m *FS, agent *oneDownload, told func() []item)) {
	synctest.Test(t, func(t *testing.T) {
		agent := &oneDownload{name: "reels"}
		m := &FS{agent: agent}
		m.announcer = newAnnouncer(m)
		var all []item
		go func() {
			for {
				n, items := m.announcer.take()
				if n == nil {
					return
				}
				all = append(all, items...)
				m.announcer.told(n, items)
			}
		}()
		test(m, agent, func() []item {
			time.Sleep(time.Minute)
			synctest.Wait()
			some := all
			all = nil
			return some
		})
		m.announcer.stop()
	})
}

// leftovers are what an announcer with nothing to tell should not have.
func leftovers(a *announcer) int { return len(a.stories) + len(a.folders) + int(a.quiets.Load()) }

func TestWhatComesIntoAFolderAfterItWasNewsIsTold(t *testing.T) {
	withAnnouncer(t, func(m *FS, _ *oneDownload, told func() []item) {
		own, files := partInode(7, folderPart), partInode(7, filesPart)
		folder, file := inode(61), inode(62)
		for _, i := range []inode{own, files, folder} {
			m.held.add(i, false)
		}
		m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: folder.node(), Dir: true})
		if got := told(); !slices.Equal(got, []item{{made, files, folder}}) {
			t.Errorf("of the folder is told %v", got)
		}
		m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Folder: folder.node(), Node: file.node()})
		m.Tell(fetch.Event{Kind: fetch.Changed, Seq: 7, Name: "reels", State: fetch.Complete, Was: fetch.Transferring})
		if got := told(); !slices.Equal(got, []item{{made, folder, file}, {modified, own, partInode(7, statePart)}}) {
			t.Errorf("of what comes later is told %v", got)
		}
		if n := leftovers(m.announcer); n != 0 {
			t.Errorf("%d things are remembered of what is told", n)
		}
	})
}

func TestNothingIsToldWhereNobodyCanWatch(t *testing.T) {
	withAnnouncer(t, func(m *FS, agent *oneDownload, told func() []item) {
		m.Tell(fetch.Event{Kind: fetch.Added, Seq: 7, Name: "reels"})
		for id := range int64(1000) {
			m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: 100 + id, Dir: id%10 == 0})
		}
		m.Tell(fetch.Event{Kind: fetch.Changed, Seq: 7, Name: "reels", State: fetch.Complete, Was: fetch.Transferring})
		if got := told(); !slices.Equal(got, []item{{made, rootInode, partInode(7, folderPart)}}) {
			t.Errorf("told: %v", got)
		}
		agent.name = ""
		m.Tell(fetch.Event{Kind: fetch.Removed, Seq: 7, Name: "reels"})
		m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: 99})
		if got := told(); !slices.Equal(got, []item{{removed, rootInode, partInode(7, folderPart)}}) {
			t.Errorf("of the removal is told %v", got)
		}
		if n := leftovers(m.announcer); n != 0 {
			t.Errorf("%d things are remembered of what is gone", n)
		}
	})
}

func TestNothingIsToldWhereNobodyWatches(t *testing.T) {
	withAnnouncer(t, func(m *FS, agent *oneDownload, told func() []item) {
		m.announcer.look = func() (watching, time.Duration) { return watching{}, time.Millisecond }
		own, files := partInode(7, folderPart), partInode(7, filesPart)
		m.Tell(fetch.Event{Kind: fetch.Added, Seq: 7, Name: "reels"})
		// A poller has been everywhere.
		m.held.add(own, false)
		m.held.add(files, false)
		for id := range int64(1000) {
			m.held.add(inodeOf(fetch.Node{ID: 100 + id}), false)
			m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: 100 + id, Dir: id%10 == 0})
			m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: 5000 + id, Folder: 100 + id/10*10})
		}
		m.Tell(fetch.Event{Kind: fetch.Changed, Seq: 7, Name: "reels", State: fetch.Complete, Was: fetch.Transferring})
		begun := time.Now()
		m.Settle(context.Background(), 7)
		if waited := time.Since(begun); waited > 2*nameWait {
			t.Errorf("the download is held up for %v", waited)
		}
		if got := told(); !slices.Equal(got, []item{{made, rootInode, own}}) {
			t.Errorf("told: %v", got)
		}
		if n := leftovers(m.announcer); n != 0 {
			t.Errorf("%d things are remembered", n)
		}
	})
}

func TestWhoComesToWatchMeanwhileMissesNothing(t *testing.T) {
	withAnnouncer(t, func(m *FS, _ *oneDownload, told func() []item) {
		files := partInode(7, filesPart)
		m.held.add(files, false)
		before, after := inode(61), inode(62)
		watch := false
		m.announcer.look = func() (watching, time.Duration) {
			// While the answer is on its way somebody comes, and then a file.
			defer func() { watch = true }()
			if !watch {
				m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: after.node()})
			}
			return watching{doubt: watch}, time.Second
		}
		m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: before.node()})
		if got := told(); !slices.Equal(got, []item{{made, files, after}}) {
			t.Errorf("told: %v", got)
		}
	})
}

func TestAnAnswerThatTakesLongHoldsNothingUpForLong(t *testing.T) {
	withAnnouncer(t, func(m *FS, _ *oneDownload, told func() []item) {
		m.held.add(partInode(7, filesPart), false)
		m.announcer.look = func() (watching, time.Duration) {
			time.Sleep(5 * time.Second)
			return watching{}, 5 * time.Second
		}
		for node := range int64(2) {
			begun := time.Now()
			m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: 60 + node})
			m.Settle(context.Background(), 7)
			if waited := time.Since(begun); waited > 7*time.Second {
				t.Errorf("news are held up for %v", waited)
			}
		}
	})
}

func TestADownloadIsRemovedWhileItIsAskedWhoWatches(t *testing.T) {
	withAnnouncer(t, func(m *FS, agent *oneDownload, told func() []item) {
		m.held.add(partInode(7, filesPart), false)
		m.announcer.look = func() (watching, time.Duration) {
			if agent.name != "" {
				agent.name = ""
				m.Tell(fetch.Event{Kind: fetch.Removed, Seq: 7, Name: "reels"})
			}
			return watching{}, time.Millisecond
		}
		m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: 99})
		if got := told(); !slices.Equal(got, []item{{removed, rootInode, partInode(7, folderPart)}}) {
			t.Errorf("told: %v", got)
		}
		if n := leftovers(m.announcer); n != 0 {
			t.Errorf("%d things are remembered of what is gone", n)
		}
	})
}

func TestWhoComesAtTheLastMomentWatchesANewDownloadBeforeItsFilesAreTold(t *testing.T) {
	withAnnouncer(t, func(m *FS, _ *oneDownload, told func() []item) {
		own, files := partInode(7, folderPart), partInode(7, filesPart)
		m.held.add(own, false)
		m.held.add(files, false)
		var begun, complete time.Time
		m.announcer.look = func() (watching, time.Duration) {
			switch {
			case begun.IsZero(): // he comes just after
				begun = time.Now()
				return watching{}, time.Millisecond
			case time.Since(begun) < 200*time.Millisecond:
				return watching{sets: []map[inode]bool{{rootInode: true}}}, time.Millisecond
			}
			if complete.IsZero() {
				complete = time.Now()
			}
			return watching{sets: []map[inode]bool{{rootInode: true, own: true, files: true}}}, time.Millisecond
		}
		m.Tell(fetch.Event{Kind: fetch.Added, Seq: 7, Name: "reels"})
		m.Tell(fetch.Event{Kind: fetch.Renamed, Seq: 7, Name: "reels", OldName: "reels"})
		m.Tell(fetch.Event{Kind: fetch.Appeared, Seq: 7, Name: "reels", Node: 61})
		m.Settle(context.Background(), 7)
		if complete.IsZero() {
			t.Error("the file was told of before he watched")
		}
		if got := told(); !slices.Equal(got, []item{{made, rootInode, own}, {made, files, 62}}) {
			t.Errorf("told: %v", got)
		}
	})
}
