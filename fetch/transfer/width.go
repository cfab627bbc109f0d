package transfer

import "time"

// width decides how many connections are worth it. More of them help where
// each is slow by itself: capped, far away, or losing packets. Where the line,
// the processor or the disk is the limit they do not, and are not kept.
//
// When all that there may be are in use and the rate has stopped growing by
// itself, there may be twice as many, for a trial. What was tried in vain is
// tried again later, more and more rarely.
type width struct {
	most int // there may never be more
	now  int // there may be now

	trying   bool // there are twice as many as before, to see what it brings
	from     int  // how many there were before
	rate     float64
	again    time.Time // not before is the next trial
	patience time.Duration
	why      string // there are as many as there are, for people
}

const (
	// firstWidth is how many there may be before anything is known.
	firstWidth = 16

	// worthIt is how much more must arrive with twice the connections.
	worthIt = 1.2

	minPatience = 5 * time.Second
	maxPatience = time.Minute

	// perConnection is what a connection can be expected to bring, bytes a
	// second: under a rate limit no more are used than it takes.
	perConnection = 256 << 10
)

func newWidth(most int) width {
	return width{most: most, now: min(firstWidth, most), patience: minPatience, why: "enough to begin with"}
}

// measured takes in how much arrived lately, bytes a second, while all the
// connections that there may be were in use. It reports whether their number
// changes.
func (w *width) measured(rate float64, at time.Time) bool {
	before, last := w.now, w.rate
	w.rate = rate
	switch {
	case w.trying && rate >= worthIt*last:
		w.trying, w.patience = false, minPatience
		w.why = "twice as many brought clearly more"
	case w.trying:
		w.now, w.trying, w.rate = w.from, false, last
		w.again = at.Add(w.patience)
		w.patience = min(2*w.patience, maxPatience)
		w.why = "twice as many brought little more"
	case rate >= worthIt*last, at.Before(w.again), w.now == w.most:
	default:
		w.from, w.now = w.now, min(2*w.now, w.most)
		w.trying, w.why = true, "on trial, whether twice as many bring more"
	}
	return w.now != before
}

// allowed returns how many connections there may be just now, and why.
func (e *Engine) allowed() (n int, why string) {
	n, why = e.width.now, e.width.why
	if limit := e.RateLimit(); limit > 0 && limit < int64(n*perConnection) {
		// Each job gets one, for its share.
		return min(n, max(1, len(e.jobs), int(limit/perConnection))), "the rate limit needs no more"
	}
	return n, why
}

// A gauge measures what arrives, for the width.
type gauge struct {
	begun    time.Time
	due      time.Time
	settling bool          // the number of connections has just changed
	moved    int64         // bytes since begun
	full     int           // how often all connections that there may be were in use,
	spare    int           // and how often there was nothing for one to do
	first    time.Duration // what the first byte of an answer takes, lately
}

const (
	// What connections bring shows over so many times as long as the first
	// byte of an answer takes; of new ones later, when TCP has found out how
	// fast it may send.
	gaugeFor  = 4
	settleFor = 8

	minGauge = 150 * time.Millisecond
	maxGauge = 2 * time.Second

	// fileWorth is what a finished file counts, in bytes, beside its own: small
	// ones are mostly that.
	fileWorth = 64 << 10
)

// answered takes in how long the first byte of an answer took.
func (g *gauge) answered(took time.Duration) { g.first += (took - g.first) / 4 }

// measure has the number of connections changed if what has arrived says so.
// Called with e.mu held, now and then.
func (e *Engine) measure(now time.Time) {
	g := &e.gauge
	if now.Before(g.due) {
		return
	}
	changed := false
	if !g.settling && g.full > g.spare {
		before, rate := e.width.now, float64(g.moved)/now.Sub(g.begun).Seconds()
		if changed = e.width.measured(rate, now); changed {
			e.cfg.Log.Debug("number of connections changes", "from", before, "to", e.width.now,
				"why", e.width.why, "bytes_per_second", int64(rate))
		}
	}
	g.restart(now, changed)
}

// restart begins to measure anew.
func (g *gauge) restart(now time.Time, settling bool) {
	g.moved, g.full, g.spare, g.begun, g.settling = 0, 0, 0, now, settling
	times := time.Duration(gaugeFor)
	if settling {
		times = settleFor
	}
	g.due = now.Add(min(max(times*g.first, minGauge), maxGauge))
}
