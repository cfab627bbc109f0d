package fusefs

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"masvfs/fetch"
)

func TestAnOrderIsTakenHoweverItIsWritten(t *testing.T) {
	tests := []struct {
		name   string
		writes []string
		want   []verb
		fails  bool // the last write is refused
	}{
		{"with a newline", []string{"pause\n"}, []verb{pause}, false},
		{"without one", []string{"resume"}, []verb{resume}, false},
		{"the newline by itself", []string{"pause", "\n"}, []verb{pause, nothing}, false},
		{"byte by byte", []string{"p", "a", "u", "s", "e"}, []verb{nothing, nothing, nothing, nothing, pause}, false},
		{"white space around it", []string{" \tpause \r\n"}, []verb{pause}, false},
		{"one after the other", []string{"pause\n", "resume\n"}, []verb{pause, resume}, false},
		{"nothing", []string{"\n"}, []verb{nothing}, false},
		{"another word", []string{"destroy\n"}, nil, true},
		{"capitals", []string{"PAUSE\n"}, nil, true},
		{"two words on a line", []string{"pause", " now"}, []verb{pause}, true},
		{"half a word and a newline", []string{"pau\n"}, nil, true},
		{"too much", []string{strings.Repeat(" ", maxOrder+1)}, nil, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var o order
			var got []verb
			ok := true
			for _, w := range test.writes {
				var v verb
				if v, ok = o.add([]byte(w)); !ok {
					break
				}
				got = append(got, v)
			}
			if ok == test.fails || !slices.Equal(got, test.want) {
				t.Errorf("got %q, refused %v", got, !ok)
			}
		})
	}
}

func TestProgressHasOneLengthWhateverItSays(t *testing.T) {
	last := time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.FixedZone("", 3600))
	for name, d := range map[string]fetch.Download{
		"nothing yet": {ID: "123e4567-e89b-12d3-a456-426614174000", State: fetch.Transferring, ETA: -1},
		"the most that can be": {
			ID: "123e4567-e89b-12d3-a456-426614174000", State: fetch.Transferring, BytesDone: math.MaxInt64, BytesTotal: math.MaxInt64,
			FilesDone: math.MaxInt64, FilesTotal: math.MaxInt64, BytesPerSecond: math.MaxInt64, ETA: math.MaxInt64, UpdatedAt: last,
		},
	} {
		text := content(progressPart, d)
		var p map[string]any
		if err := json.Unmarshal(text, &p); err != nil || len(text) != progressSize || len(p) != 10 {
			t.Errorf("%s: %d bytes with %d fields, %v: %s", name, len(text), len(p), err, text)
		}
	}
}

func TestPercentIsAHundredOnlyWhenAllIsDone(t *testing.T) {
	for _, test := range []struct {
		d    fetch.Download
		want string
	}{
		{fetch.Download{State: fetch.Transferring}, "0.0"},
		{fetch.Download{State: fetch.Transferring, BytesDone: 1, BytesTotal: 3}, "33.3"},
		{fetch.Download{State: fetch.Transferring, BytesDone: 99999, BytesTotal: 100000}, "99.9"},
		{fetch.Download{State: fetch.Transferring, BytesDone: 100000, BytesTotal: 100000}, "99.9"},
		{fetch.Download{State: fetch.Complete}, "100.0"},
		{fetch.Download{State: fetch.Transferring, BytesDone: math.MaxInt64 - 1, BytesTotal: math.MaxInt64}, "99.9"},
	} {
		if got := percent(test.d); got != test.want {
			t.Errorf("%d of %d is %s, want %s", test.d.BytesDone, test.d.BytesTotal, got, test.want)
		}
	}
}

func TestNamesInTheTableOfMountsAreRead(t *testing.T) {
	for escaped, want := range map[string]string{
		"/plain": "/plain", `/a\040b`: "/a b", `/tab\011`: "/tab\t", `/back\134slash`: `/back\slash`, `/short\04`: `/short\04`, `/odd\999`: `/odd\999`,
	} {
		if got := unescape(escaped); got != want {
			t.Errorf("%s is %q, want %q", escaped, got, want)
		}
	}
}
