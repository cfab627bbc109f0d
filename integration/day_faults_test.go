package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"

	"masvfs/fetch/masv/masvtest"
	"masvfs/integration/cutfs"
)

// A trouble is a way in which the cloud answers wrongly. It names what it
// does; nil is no fault after all.
type trouble func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault)

// fault chooses what is wrong with an answer. It is a function of the seed,
// the hour, the file and how often it was asked for.
func (d *day) fault(q masvtest.Request) *masvtest.Fault {
	h := d.hour.Load()
	if h == nil {
		return nil
	}
	key := uint64(q.Call)<<56 | uint64(d.shipmentOf(q.LinkID))<<48 | uint64(uint16(q.Index))<<32 | uint64(uint32(q.N))
	r := rand.New(rand.NewPCG(d.seed<<16|h.n, key))
	troubles := h.api
	if q.Call == masvtest.CallStorage {
		troubles = h.store
	}
	if len(troubles) == 0 || r.Float64() >= h.chance {
		return nil
	}
	name, f := troubles[r.IntN(len(troubles))](d, r, q)
	if f == nil {
		return nil
	}
	if q.Call != masvtest.CallStorage {
		name = q.Call.String() + ": " + name
	}
	d.count(name)
	// An answer that is lost on its way counts as a use of the link, and one
	// that takes a token for dead lets the agent ask for another.
	switch spoiled := f.Ending == masvtest.EndReset || f.Ending == masvtest.EndClose || f.Ending == masvtest.EndCut; {
	case q.Call == masvtest.CallLink && spoiled && f.After >= 0,
		q.Call == masvtest.CallListing && (f.Status == http.StatusUnauthorized || f.Status == http.StatusForbidden):
		d.excuse(q.LinkID)
	}
	return f
}

func (d *day) shipmentOf(link string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.place[link]
}

// apiStatuses are those that are documented, and some that no one expects.
var apiStatuses = []int{400, 401, 403, 404, 409, 410, 423, 429, 500, 502, 503, 504, 202, 204, 304, 407, 408, 418, 451, 508}

var apiTroubles = []trouble{
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		f := &masvtest.Fault{Status: pick(r, apiStatuses...)}
		if r.IntN(4) == 0 {
			f.RetryAfter = time.Second
		}
		return fmt.Sprint("status ", f.Status), f
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "a web page", masvtest.HTML(pick(r, 200, 403, 404, 502))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "JSON cut off", masvtest.Cut(r.Int64N(400))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "closed early", masvtest.Truncate(r.Int64N(400))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "reset", pick(r, masvtest.Reset(), masvtest.ResetAfter(r.Int64N(400)))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "other JSON", masvtest.JSON(pick(r, "{}", "12", `"text"`, `{"url": 7}`, `{"url": "ftp://127.0.0.1/x"}`, `{"package_id": []}`, `[{"id": 3}]`, `[{"size": -1, "id": "x"}]`, "\x00\xff", "{", "[1"))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		huge := strings.Repeat("a", 2<<20)
		return "absurdly large JSON", masvtest.JSON(pick(r, `{"name": "`+huge+`"}`, `[{"id": "`+huge+`"}]`, huge))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		const deep = 100_000
		return "absurdly deep JSON", masvtest.JSON(pick(r, strings.Repeat("[", deep), strings.Repeat(`{"a":`, deep), `[{"id":`+strings.Repeat("[", deep)))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "slow", pick(r, masvtest.Slow(1000), masvtest.Delay(time.Duration(r.IntN(400))*time.Millisecond))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "stalled", &masvtest.Fault{Ending: masvtest.EndStall, After: r.Int64N(300), StallFor: time.Duration(r.IntN(1000)) * time.Millisecond}
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "redirect to a login page", masvtest.Redirect(pick(r, 302, 303, 307), d.portal.URL)
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "redirect to itself", masvtest.Redirect(pick(r, 301, 302, 308), "self")
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "redirect to another scheme", masvtest.Redirect(302, pick(r, "ftp://127.0.0.1", "https"+strings.TrimPrefix(d.cloud.StorageURL, "http")))
	},
}

var storageTroubles = []trouble{
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		f := &masvtest.Fault{Status: pick(r, 400, 401, 403, 404, 408, 410, 412, 416, 429, 500, 502, 503, 504)}
		if r.IntN(4) == 0 {
			f.RetryAfter = time.Second
		}
		return fmt.Sprint("status ", f.Status), f
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "a web page", masvtest.HTML(pick(r, 200, 403, 502))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "cut", pick(r, masvtest.Reset(), masvtest.ResetAfter(r.Int64N(q.Length+1)), masvtest.Truncate(r.Int64N(q.Length+1)))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		if q.N%16 == 1 { // costs seconds each
			return "stalled for good", masvtest.StallAfter(r.Int64N(q.Length+1), nil)
		}
		return "stalled", &masvtest.Fault{Ending: masvtest.EndStall, After: r.Int64N(q.Length + 1), StallFor: time.Duration(r.IntN(1000)) * time.Millisecond}
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "a slow trickle", masvtest.Slow(max(2000, q.Length/4))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "a wrong length", masvtest.WrongLength(pick(r, -1, 1, -q.Length/2, 4096))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "206 for another range", masvtest.WrongRange(pick(r, 1, -1, 4096, -q.Offset))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "a wrong Content-Range", masvtest.WrongContentRange(pick(r, "", "bytes */5", "bytes 0-0/1", "bytes 5-2/9", "octets 0-1/2", fmt.Sprintf("bytes %d-%d/%d", q.Offset+1, q.Offset+q.Length, q.Offset+q.Length+1)))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "200 for a range", masvtest.Whole()
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		if r.IntN(2) == 0 {
			return "a wrong Content-Encoding", masvtest.Gzip()
		}
		return "a wrong Content-Encoding", &masvtest.Fault{Header: func(h http.Header) { h.Set("Content-Encoding", "br") }}
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "a changed ETag", masvtest.WrongETag(fmt.Sprintf(`"%x"`, r.Uint64()))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		if q.Index < 0 || q.N > 8 {
			return "", nil
		}
		seed := r.Uint64() | 1
		d.mu.Lock()
		defer d.mu.Unlock()
		file := versionOf(q.LinkID, q.Index)
		d.versions[file] = append(d.versions[file], seed)
		return "a new version", masvtest.NewVersion(seed)
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "redirect to itself", masvtest.Redirect(pick(r, 301, 302, 303, 307, 308), "self")
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "redirect to a login page", masvtest.Redirect(302, d.portal.URL)
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		return "redirect to another scheme", masvtest.Redirect(307, pick(r, "ftp://127.0.0.1", "file://", "https"+strings.TrimPrefix(d.cloud.StorageURL, "http")))
	},
	func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
		if q.Index < 0 {
			return "", nil
		}
		d.cloud.ExpireURLs(masvtest.Link{ID: q.LinkID}) // this one too
		return "the URL has expired", &masvtest.Fault{}
	},
}

// versionOf names a file of the cloud.
func versionOf(link string, index int) string { return fmt.Sprint(link, " ", index) }

// some returns a few of the troubles, or all of them.
func some(r *rand.Rand, of []trouble) []trouble {
	if r.IntN(3) == 0 {
		return of
	}
	few := make([]trouble, 1+r.IntN(3))
	for i := range few {
		few[i] = pick(r, of...)
	}
	return few
}

// What follows goes wrong for an hour. Each returns what ends it.

func (d *day) cloudFails(h *hour) func() {
	h.api = append(h.api, some(d.rand, apiTroubles)...)
	return func() {}
}

func (d *day) storageFails(h *hour) func() {
	h.store = append(h.store, some(d.rand, storageTroubles)...)
	return func() {}
}

func (d *day) lineFails(h *hour) func() {
	switch d.rand.IntN(4) {
	case 0:
		d.count("line: connections are reset")
		d.cloud.SetDown(true)
		return func() { d.cloud.SetDown(false) }
	case 1:
		d.count("line: connections are refused")
		d.cloud.SetRefusing(true)
		return func() {
			if err := d.cloud.SetRefusing(false); err != nil {
				d.t.Fatal(err)
			}
		}
	case 2:
		d.count("line: a trickle")
		d.cloud.SetRate(4 << 10)
		return func() { d.cloud.SetRate(256 << 10) }
	default:
		// Everybody gets the page on which to accept the terms.
		d.count("line: a login page in front of everything")
		h.chance = 1
		page := func(d *day, r *rand.Rand, q masvtest.Request) (string, *masvtest.Fault) {
			if q.N%2 == 0 {
				return "captive portal", masvtest.HTML(http.StatusOK)
			}
			return "captive portal", masvtest.Redirect(http.StatusFound, d.portal.URL)
		}
		h.api, h.store = []trouble{page}, []trouble{page}
		return func() {}
	}
}

func (d *day) diskFails(*hour) func() {
	const database = "masvfs.db*"
	f := &cutfs.Fault{
		Kind:  pick(d.rand, cutfs.Write, cutfs.Write, cutfs.Sync, cutfs.SyncDir, cutfs.Rename, cutfs.Name),
		Skip:  d.rand.IntN(10),
		Times: d.rand.IntN(4),
	}
	switch d.rand.IntN(6) {
	case 0:
		f.Match = database
	case 1: // everything
	default:
		f.But = database
	}
	what := string(f.Kind)
	if d.rand.IntN(5) == 0 {
		f.Times = 1 + d.rand.IntN(3)
		f.Wait = time.Duration(500+d.rand.IntN(2000)) * time.Millisecond
		d.count("disk: " + what + " hangs")
	} else {
		f.Errno = pick(d.rand, syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT)
		d.count(fmt.Sprintf("disk: %s: %v", what, f.Errno))
	}
	d.disk.Fail(f)
	return func() { d.disk.Fail() }
}

// rightsEnd ends what the cloud has given out, or changes what it lists.
func (d *day) rightsEnd(*hour) func() {
	p := pick(d.rand, d.shipments...)
	switch d.rand.IntN(4) {
	case 0:
		d.count("cloud: tokens are revoked")
		d.excuse(p.link.ID)
		d.cloud.RevokeTokens(p.link)
	case 1:
		d.count("cloud: URLs are revoked")
		d.cloud.ExpireURLs(p.link)
	case 2:
		d.count("cloud: its clock jumps by a day")
		was := time.Duration(d.ahead.Load())
		jump := 25 * time.Hour
		if was > 0 || was == 0 && d.rand.IntN(2) == 0 {
			jump = -jump
		}
		d.ahead.Store(int64(was + jump))
		for _, p := range d.shipments {
			d.excuse(p.link.ID)
		}
	case 3:
		d.count("cloud: the listing grows")
		added := masvtest.File{Name: fmt.Sprint("late ", d.rand.Uint32()), Path: "late", Size: d.rand.Int64N(100_000)}
		added.LastModified = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)
		d.cloud.Update(p.link, func(q *masvtest.Package) { q.Files = append(q.Files, added) })
		d.mu.Lock()
		defer d.mu.Unlock()
		d.send(p, len(p.Files)+d.late[p.link.ID])
		d.late[p.link.ID]++
	}
	return func() {}
}

func (d *day) machineFails(*hour) func() {
	if d.process == nil {
		return func() {}
	}
	switch d.rand.IntN(4) {
	case 0:
		d.count("machine: stopped")
		d.signal(syscall.SIGTERM)
		d.rise()
	case 1:
		d.count("machine: suspended")
		d.process.Process.Signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(200+d.rand.IntN(1000)) * time.Millisecond)
		d.process.Process.Signal(syscall.SIGCONT)
	default:
		d.count("machine: killed")
		d.kill()
		d.rise()
	}
	return func() {}
}
