package integration

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"masvfs/integration/cutfs"
)

// TestAFlushLeftOutIsFound leaves one kind of flush out, and finds that
// TestPowerCut finds it: otherwise it would prove nothing.
func TestAFlushLeftOutIsFound(t *testing.T) {
	for name, lies := range map[string][]cutfs.Lie{
		"of the files":                 {{Kind: cutfs.Sync, But: "masvfs.db*"}},
		"of the database":              {{Kind: cutfs.Sync, Match: "masvfs.db"}},
		"of the database's log":        {{Kind: cutfs.Sync, Match: "masvfs.db-wal"}},
		"of all folders":               {{Kind: cutfs.SyncDir}},
		"of the database's folder":     {{Kind: cutfs.SyncDir, Match: "state"}},
		"of the destination":           {{Kind: cutfs.SyncDir, Match: "downloads"}},
		"of the package's folder":      {{Kind: cutfs.SyncDir, Match: "Package *"}},
		"of a folder below":            {{Kind: cutfs.SyncDir, Match: "a"}},
		"of the folder of all of them": {{Kind: cutfs.SyncDir, Match: "/"}},
		"of the inbox":                 {{Kind: cutfs.SyncDir, Match: "inbox"}, {Kind: cutfs.SyncDir, Match: "accepted"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const enough = 20
			for _, seed := range seeds(t, enough, enough) {
				found := &rehearsal{}
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					found.TB = t
					found.run(func() { newLife(found, seed, lies...).run(merciless) })
				})
				if found.failed {
					t.Logf("seed %d: %s", seed, found.why)
					return
				}
			}
			t.Errorf("nothing was found with %d seeds", enough)
		})
	}
}

// merciless is the cut that nothing survives.
func merciless(uint64) cutfs.Cut { return cutfs.Cut{Sector: 4096} }

// rehearsal is a test whose failure is no failure.
type rehearsal struct {
	testing.TB

	mu     sync.Mutex // guards what follows
	failed bool
	why    string
}

// run runs f, which may end itself with Fatal.
func (t *rehearsal) run(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

func (t *rehearsal) fail(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.failed {
		t.failed, t.why = true, why
	}
}

func (t *rehearsal) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *rehearsal) Fail()                             { t.fail("it failed") }
func (t *rehearsal) Error(args ...any)                 { t.fail(fmt.Sprint(args...)) }
func (t *rehearsal) Errorf(format string, args ...any) { t.fail(fmt.Sprintf(format, args...)) }
func (t *rehearsal) FailNow()                          { t.Fail(); runtime.Goexit() }
func (t *rehearsal) Fatal(args ...any)                 { t.Error(args...); runtime.Goexit() }
func (t *rehearsal) Fatalf(format string, args ...any) { t.Errorf(format, args...); runtime.Goexit() }
func (t *rehearsal) Log(args ...any)                   {}
func (t *rehearsal) Logf(format string, args ...any)   {}
