package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The benchmark of downloads is right, whatever its times are: a tiny form of
// some of its rows brings all bytes and prints the tables.
func TestDownloadBenchmarkIsRight(t *testing.T) {
	var out bytes.Buffer
	s := newStage(t, tinyForm, &out)
	rows := []string{"tls", "small", "packages"}
	if why := lineMissing(); why == "" {
		rows = append(rows, "far", "first")
	} else {
		t.Log("the rows with a line of their own are left out: ", why)
	}
	for _, row := range trials(tinyForm) {
		if slices.Contains(rows, row.name) {
			t.Run(row.name, func(t *testing.T) {
				if o := s.run(t, row); len(o.dropped) != 0 {
					t.Errorf("dropped: %q", o.dropped)
				}
			})
		}
	}
	s.summarise()
	for _, row := range rows {
		if !strings.Contains(out.String(), "### "+row+": ") || !strings.Contains(out.String(), "\n| "+row+" | ") {
			t.Errorf("there is no table of %s", row)
		}
	}
	if got := strings.Count(out.String(), "\n| **masvfs** | "); got != len(rows) {
		t.Errorf("%d tables tell how long masvfs has taken, not %d", got, len(rows))
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// Who brings wrong bytes is dropped, and named.
func TestDownloadBenchmarkDropsWrongBytes(t *testing.T) {
	var out bytes.Buffer
	s := newStage(t, tinyForm, &out)
	liar := peer{"sh", "liar", func(e errand) []string {
		return []string{"-c", fmt.Sprintf("mkdir One && head -c %d /dev/zero > %s", e.parcels[0].Sizes[0], e.file())}
	}}
	o := s.run(t, trial{name: "lie", title: "a lie", parcels: []parcel{oneFile(1000)}, peers: []peer{liar}})
	if len(o.dropped) != 1 || !strings.Contains(o.dropped[0], "liar") || !strings.Contains(o.dropped[0], "wrong bytes") {
		t.Errorf("dropped: %q", o.dropped)
	}
	if len(o.costs["masvfs"]) != 1 || len(o.costs["liar"]) != 0 {
		t.Errorf("costs: %+v", o.costs)
	}
	if !strings.Contains(out.String(), "| liar | dropped |") {
		t.Errorf("the table does not tell: %s", &out)
	}
}

func TestDownloadBenchmarkNoticesWhatDiffers(t *testing.T) {
	parcels := []parcel{{Name: "P", Sizes: []int64{10, 0, 3000}, Count: 5, Folder: 2}}
	source := t.TempDir()
	makeSource(t, source, parcels)
	for name, damage := range map[string]func(into string) error{
		"nothing": func(string) error { return nil },
		"a byte": func(into string) error {
			f, err := os.OpenFile(filepath.Join(into, parcels[0].path(2)), os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{0, 0}, 2500)
			return err
		},
		"a file that is missing":   func(into string) error { return os.Remove(filepath.Join(into, parcels[0].path(1))) },
		"a file that is too much":  func(into string) error { return os.WriteFile(filepath.Join(into, ".x"), nil, 0o644) },
		"a file that is too short": func(into string) error { return os.Truncate(filepath.Join(into, parcels[0].path(3)), 9) },
		"a file that is too long":  func(into string) error { return os.Truncate(filepath.Join(into, parcels[0].path(3)), 11) },
	} {
		t.Run(name, func(t *testing.T) {
			into := t.TempDir()
			for i := range parcels[0].count() {
				data, err := os.ReadFile(filepath.Join(source, parcels[0].path(parcels[0].object(i))))
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(into, parcels[0].path(i))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := damage(into); err != nil {
				t.Fatal(err)
			}
			if err := differ(source, into, parcels); (err == nil) != (name == "nothing") {
				t.Errorf("differ: %v", err)
			}
		})
	}
}
