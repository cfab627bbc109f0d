package transfer

import (
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"
)

func TestASetOfSpansIsTheSetOfItsBytes(t *testing.T) {
	const size = 64
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var set spans
		var model [size]bool
		for range 12 {
			s := Span{r.Int64N(size + 1), r.Int64N(size + 1)}
			var grown int64
			for i := s.Start; i < s.End; i++ {
				if !model[i] {
					grown++
				}
				model[i] = true
			}
			if got := set.add(s); got != grown {
				t.Fatalf("adding %v gave %d new bytes, want %d", s, got, grown)
			}
		}
		var want, gaps spans
		for i := range int64(size) {
			if model[i] {
				want.add(Span{i, i + 1})
			} else {
				gaps.add(Span{i, i + 1})
			}
		}
		if !slices.Equal(set, want) {
			t.Fatalf("the set is %v, want %v", set, want)
		}
		if got := set.missing(nil, Span{0, size}); !slices.Equal(got, gaps) {
			t.Fatalf("missing are %v, want %v, of %v", got, gaps, set)
		}
		for i := 1; i < len(set); i++ {
			if set[i-1].End >= set[i].Start {
				t.Fatalf("%v is not merged", set)
			}
		}
	}
}

func TestArrivedIsTheSameAfterEncoding(t *testing.T) {
	for _, want := range [][]Span{nil, {{0, 1}}, {{5, 9}, {10, 1 << 40}}, {{math.MaxInt64 - 1, math.MaxInt64}}} {
		data, err := Arrived{ETag: "left out", Spans: want}.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		got := Arrived{ETag: "kept"}
		if err := got.UnmarshalBinary(data); err != nil || !slices.Equal(got.Spans, want) || got.ETag != "kept" {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
	}
	if _, err := (Arrived{Spans: []Span{{5, 9}, {3, 4}}}).MarshalBinary(); err == nil {
		t.Error("spans in disorder were encoded")
	}
}

func FuzzArrivedDecodesAnythingOrRefuses(f *testing.F) {
	good, _ := Arrived{Spans: []Span{{5, 9}, {10, 1 << 40}}}.MarshalBinary()
	for _, seed := range [][]byte{nil, {1}, {2}, {1, 5}, {1, 5, 0}, good, append(good, 0xff),
		{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a Arrived
		if a.UnmarshalBinary(data) != nil {
			return
		}
		if !slices.Equal(normal(a.Spans, math.MaxInt64), a.Spans) {
			t.Fatalf("%v is not in order", a.Spans)
		}
		again, err := a.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var b Arrived
		if err := b.UnmarshalBinary(again); err != nil || !slices.Equal(a.Spans, b.Spans) {
			t.Fatalf("%v came back as %v, %v", a.Spans, b.Spans, err)
		}
	})
}

func TestSpansFromOutsideAreBroughtIntoOrder(t *testing.T) {
	got := normal([]Span{{50, 200}, {-5, 3}, {9, 9}, {8, 4}, {3, 6}}, 100)
	if want := (spans{{0, 6}, {50, 100}}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPausesGrowToTheirBoundAndStartAgain(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 10 * time.Second}
	for round := range 200 {
		bounds := []time.Duration{1, 2, 4, 8, 10, 10, 10}
		for i, bound := range bounds {
			if d := b.Next(0); d < 0 || d > bound*time.Second {
				t.Fatalf("round %d: pause %d is %v, bound %v", round, i, d, bound*time.Second)
			}
		}
		b.Reset()
	}
	var most time.Duration
	for range 200 {
		most = max(most, b.Next(0))
	}
	if most < 5*time.Second || most > 10*time.Second {
		t.Errorf("the longest of 200 pauses is %v", most)
	}
	if d := b.Next(time.Minute); d < time.Minute || d > time.Minute+time.Second {
		t.Errorf("with a hint of a minute the pause is %v", d)
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":               0,
		"120":            2 * time.Minute,
		"-1":             0,
		"soon":           0,
		"99999999999999": maxRetryAfter,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
	} {
		if got := parseRetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	// The server's clock is a day ahead of this machine's.
	server := now.AddDate(0, 0, 1)
	ahead := http.Header{"Retry-After": {server.Add(time.Minute).Format(http.TimeFormat)}, "Date": {server.Format(http.TimeFormat)}}
	if got := parseRetryAfter(ahead, now); got != time.Minute {
		t.Errorf("by another clock: %v", got)
	}
	if got := retryAfter(&unavailable{503, 24 * time.Hour}); got != maxRetryAfter {
		t.Errorf("a day is taken as %v", got)
	}
}

func TestContentRangeIsReadStrictly(t *testing.T) {
	for text, want := range map[string][3]int64{
		"bytes 0-0/1":      {0, 1, 1},
		"bytes 10-19/1000": {10, 20, 1000},
		"bytes 9223372036854775806-9223372036854775806/9223372036854775807": {math.MaxInt64 - 1, math.MaxInt64, math.MaxInt64},
	} {
		start, end, total, ok := parseContentRange(text)
		if !ok || [3]int64{start, end, total} != want {
			t.Errorf("%q: %d, %d, %d, %v", text, start, end, total, ok)
		}
	}
	for _, text := range []string{"", "bytes", "bytes 0-9", "bytes 0-9/*", "bytes */10", "bytes 5-4/10", "bytes 0-10/10", "bytes +0-9/10",
		"bytes -1-9/10", "items 0-9/10", "bytes 0-9223372036854775807/9223372036854775807", "bytes 0-9/10 ", "bytes 0-99999999999999999999/10"} {
		if _, _, _, ok := parseContentRange(text); ok {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestRangesFitTheFile(t *testing.T) {
	for _, tt := range []struct{ missing, want int64 }{
		{1, 4 << 20}, {100 << 20, 4 << 20}, {1 << 30, 16 << 20}, {1<<30 + 64, 17 << 20}, {1 << 40, 64 << 20},
	} {
		if got := rangeSize(tt.missing, 16); got != tt.want {
			t.Errorf("%d bytes over 16 connections: ranges of %d, want %d", tt.missing, got, tt.want)
		}
	}
}
