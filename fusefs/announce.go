package fusefs

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"masvfs/fetch"
)

// The announcer has those who watch the mount with inotify told of what
// changes in it. The kernel tells watchers of what is done through a file
// system, and of nothing that happens within it; so the announcer does, by
// system calls through the mount itself, what has happened already: it makes
// the file that is there, and the file system answers as if it had not been.
//
// What is there is there for everybody at once, and the announcement follows.
// Only the announcer, known to the file system by its thread, is told that a
// name is not there yet (Linux 5.14 and later ask before they make a name,
// whatever they know), or that it is there still. Nobody else can make
// anything, and an act is only ever answered while the announcer is at it.
//
// It announces where somebody may watch: in folders that the kernel holds,
// which are those that somebody has looked at not long ago, and only while some
// process watches anything in the mount (see watchers). Who comes to watch
// later finds what is there by listing it.
//
// The news of each folder are told in the order in which they came. New folders
// are told of together, and then nothing more of their download for a moment:
// a recursive watcher needs it to watch them, too, before something is told
// that is in them. A download's new state waits until all that was news in its
// tree before is told.
type announcer struct {
	fs     *FS
	secret string        // a name by which the thread makes itself known
	tid    atomic.Uint32 // its number as the kernel tells it; 0: not known
	doing  atomic.Pointer[act]
	ended  chan struct{} // closed when nothing is announced any more
	quiets atomic.Int64  // stories that are quiet
	works  atomic.Bool   // it has been started

	// look returns what is watched in the mount, and how long it took to find
	// out. It is called without mu.
	look func() (watching, time.Duration)

	mu      sync.Mutex // guards what follows
	closing bool
	wake    chan struct{}
	ready   []*news // with something to tell now
	watched bool    // by some process, when that was last asked
	askedAt time.Time
	rest    time.Duration // before it is asked again
	folders map[inode]*news
	stories map[int64]*story
	ticked  map[int64]time.Time // of downloads that are watched: what progress was last of
}

// comeTime is how soon those who watch the root watch a new download, too.
const comeTime = 100 * time.Millisecond

func newAnnouncer(m *FS) *announcer {
	return &announcer{
		fs:     m,
		secret: ".masvfs-" + rand.Text(),
		ended:  make(chan struct{}),

		look:    func() (watching, time.Duration) { return watching{doubt: true}, 0 },
		wake:    make(chan struct{}, 1),
		folders: make(map[inode]*news),
		stories: make(map[int64]*story),
		ticked:  make(map[int64]time.Time),
	}
}

// Tell implements fetch.Audience.
func (m *FS) Tell(e fetch.Event) { m.announcer.tell(e) }

// Settle implements fetch.Audience. Where nobody has come to watch a new
// download soon after it was told of, nothing is waited for.
func (m *FS) Settle(ctx context.Context, seq int64) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !m.announcer.settled(seq) {
		select {
		case <-tick.C:
		case <-m.announcer.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// settled reports whether nothing of a download is left to tell to anybody.
func (a *announcer) settled(seq int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stories[seq]
	if s == nil {
		return true
	}
	if s.removed {
		return false // its story ends with its removal
	}
	if !s.introduced.IsZero() && time.Since(s.introduced) > comeTime && !a.fs.held.has(partInode(seq, folderPart)) {
		return true
	}
	return !s.waiting && s.pending == 0 && !s.quiet && len(s.after) == 0
}

// start begins to announce, until stop or until the mount is gone.
func (a *announcer) start() error {
	t, err := newTeller(a)
	if err != nil {
		close(a.ended)
		a.stop()
		return err
	}
	w := watchers{proc: "/proc", device: deviceField(unix.Major(t.device), unix.Minor(t.device)), shared: a.fs.shared}
	a.look = w.look
	a.works.Store(true)
	go func() {
		defer close(a.ended)
		defer t.thread.close()
		for {
			n, items := a.take()
			if n == nil {
				return
			}
			if err := t.perform(n, items); err != nil {
				a.fs.log.Debug("cannot announce", "mount", a.fs.path, "err", err)
			}
			a.told(n, items)
		}
	}()
	go func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				a.tick()
			case <-a.ended:
				return
			}
		}
	}()
	return nil
}

// stop has the announcer end after what it is at, and take in nothing more.
func (a *announcer) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closing = true
	a.ready, a.folders = nil, make(map[inode]*news)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// act returns what the announcer is at, if it is the one who asks.
func (a *announcer) act(h *fuse.InHeader, name string) *act {
	tid := a.tid.Load()
	if tid == 0 && h.Pid != 0 && name == a.secret {
		a.tid.Store(h.Pid)
		return nil
	}
	if tid == 0 || h.Pid != tid {
		return nil
	}
	return a.doing.Load()
}
