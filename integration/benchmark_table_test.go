package integration

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An outcome is what a trial has brought.
type outcome struct {
	trial      trial
	server     string
	load       string // of the machine when it began
	contenders []contender
	costs      map[string][]cost // by the contender's name
	dropped    []string
}

// middle is the median of something about costs.
func middle(all []cost, of func(cost) float64) float64 {
	if len(all) == 0 {
		return 0
	}
	figures := make([]float64, len(all))
	for i, c := range all {
		figures[i] = of(c)
	}
	slices.Sort(figures)
	return figures[len(figures)/2]
}

func wall(c cost) float64 { return c.wall }

// medians are those of all figures, each for itself.
func medians(all []cost) cost {
	return cost{
		wall: middle(all, wall),
		sync: middle(all, func(c cost) float64 { return c.sync }),
		cpu:  middle(all, func(c cost) float64 { return c.cpu }),
		peak: int64(middle(all, func(c cost) float64 { return float64(c.peak) })),
	}
}

// median is that of the contender in a role; of those in the same, the fastest.
func (o *outcome) median(r role) cost {
	_, c := o.best(r)
	return c
}

func (o *outcome) best(r role) (name string, fastest cost) {
	for _, c := range o.contenders {
		m := medians(o.costs[c.name])
		if c.role == r && m.wall != 0 && (name == "" || m.wall < fastest.wall) {
			name, fastest = c.name, m
		}
	}
	return name, fastest
}

// limit is what nobody could do better, 0 if that is not known.
func (o *outcome) limit() float64 {
	if o.trial.limit.seconds == nil {
		return 0
	}
	return o.trial.limit.seconds(o.median(sinking).wall, o.median(copying).wall)
}

func (o *outcome) overPeer() float64  { return ratio(o.median(ours).wall, o.median(theirs).wall) }
func (o *outcome) overLimit() float64 { return ratio(o.median(ours).wall, o.limit()) }

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// figure shows a number with three digits, and nothing for none.
func figure(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// load is how many processes have run or waited to, over the last minute.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

// introduce says on what the trials run.
func (s *stage) introduce() {
	var name unix.Utsname
	unix.Uname(&name)
	kind := "an unknown file system"
	if out, err := exec.Command("stat", "-f", "-c", "%T", s.dir).Output(); err == nil {
		kind = strings.TrimSpace(string(out))
	}
	s.say("\n## Downloads, %s form\n", s.form.name)
	s.say("%s, Linux %s, %d CPUs, downloaded to %s. masvfs runs %s.", time.Now().Format(time.DateOnly),
		unix.ByteSliceToString(name.Release[:]), runtime.NumCPU(), kind, map[bool]string{true: "with a mount", false: "without a mount"}[s.mounts])
	s.say("Seconds are medians, of up to %d rounds, until the bytes are durable: a peer's own and those of `sync -f` after it.", s.form.rounds)
	versions := []string{version(program)}
	for _, name := range []string{"curl", "aria2c", "rclone", "wget"} {
		if s.installed(name) {
			versions = append(versions, version(name))
		}
	}
	if s.nginx == "" {
		s.say("nginx is not used: it is not installed. The file server of Go is the origin.")
	} else {
		versions = append(versions, version(s.nginx))
	}
	s.say("Versions: %s.", strings.Join(versions, ", "))
}

// print prints the table of a trial.
func (s *stage) print(o *outcome) {
	s.say("\n### %s: %s\n", o.trial.name, o.trial.title)
	s.say("From %s. The machine's load was %s when it began.%s\n", o.server, o.load, map[bool]string{true: " Left out: " + o.trial.left + "."}[o.trial.left != ""])
	s.say("| program | wall s | of it sync | from … to | CPU s | peak MiB | × best peer | × limit |")
	s.say("| --- | --: | --: | --: | --: | --: | --: | --: |")
	best, limit := o.median(theirs).wall, o.limit()
	for _, c := range o.contenders {
		all := o.costs[c.name]
		if len(all) == 0 {
			s.say("| %s | dropped | | | | | | |", c.name)
			continue
		}
		m := medians(all)
		order := func(a, b cost) int { return int(1e6 * (a.wall - b.wall)) }
		low, high := slices.MinFunc(all, order).wall, slices.MaxFunc(all, order).wall
		name := c.name
		overPeer, overLimit := figure(ratio(m.wall, best)), figure(ratio(m.wall, limit))
		switch c.role {
		case ours:
			name = "**" + name + "**"
		case sinking, copying:
			overPeer, overLimit = "", ""
		}
		s.say("| %s | %s | %s | %s … %s | %s | %s | %s | %s |", name, figure(m.wall), figure(m.sync), figure(low), figure(high),
			figure(m.cpu), figure(float64(m.peak)/miB), overPeer, overLimit)
	}
	if limit != 0 {
		s.say("\nThe limit: %s, %s s.", o.trial.limit.what, figure(limit))
	}
	for _, d := range o.dropped {
		s.say("\nDropped: %s", d)
	}
}

// summarise prints one line for each trial.
func (s *stage) summarise() {
	if len(s.outcomes) == 0 {
		return
	}
	s.say("\n### All\n")
	s.say("| trial | masvfs s | best peer | its s | ours/peer | goal | limit s | ours/limit | goal | CPU ours | CPU best | peak MiB ours |")
	s.say("| --- | --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
	for _, o := range s.outcomes {
		peer, theirs := o.best(theirs)
		us := o.median(ours)
		if peer == "" {
			peer = "–"
		}
		s.say("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |", o.trial.name, figure(us.wall), peer, figure(theirs.wall),
			figure(o.overPeer()), figure(o.trial.goal.peer), figure(o.limit()), figure(o.overLimit()), figure(o.trial.goal.limit),
			figure(us.cpu), figure(theirs.cpu), figure(float64(us.peak)/miB))
	}
}
