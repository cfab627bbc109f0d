package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"masvfs/fetch/pathname"
)

// entriesOf makes a listing of a text: a line is an entry, "path|name", after
// a first character that says what it is: d a folder, s a file that is
// skipped, = the file before once more, anything else a file.
func entriesOf(text string) (es []NewEntry) {
	for i, line := range strings.Split(text, "\n") {
		if line == "" || len(es) == 50 {
			continue
		}
		path, name, _ := strings.Cut(line[1:], "|")
		folders, base := pathname.Split(path, name)
		e := NewEntry{FileID: fmt.Sprint("f", i), Folders: folders, Base: base, Size: int64(i)}
		switch line[0] {
		case 'd':
			e.Dir, e.FileID, e.Size = true, "", 0
		case 's':
			e.Skip, e.SkipMessage = "unknown_kind", "It is skipped."
		case '=':
			if len(es) > 0 && es[len(es)-1].FileID != "" {
				e = es[len(es)-1]
			}
		}
		es = append(es, e)
	}
	return es
}

// recorded returns what is recorded of a download: folders, then files.
func recorded(t *testing.T, s *Store, seq int64) (all []Entry) {
	t.Helper()
	folders, err := s.Folders(t.Context(), seq, 0, 100_000)
	must(t, err)
	files, err := s.Files(t.Context(), seq, 0, 1000)
	must(t, err)
	return append(folders, files...)
}

// shape is what people see of a tree.
func shape(all []Entry) (lines []string) {
	for _, e := range all {
		lines = append(lines, fmt.Sprintf("%v %q %q %q %d %q", e.Dir, e.FileID, join(e.Folder, e.Name), e.Original, e.Size, e.Code))
	}
	slices.Sort(lines)
	return lines
}

// FuzzTree records arbitrary listings, by both rules. Each file is there once,
// below the tree and under a name of its own that the disk can hold; what the
// sender called it stays known; and the same listing, whole, in parts or
// twice, gives the same tree.
func FuzzTree(f *testing.F) {
	for _, seed := range []string{
		"f|a\nf|a\nf|A\nf|a (2)\nda\nd|a\nfa|b", "f..|..\nf/etc|passwd\nf../../x|y\nf|\nd|\nd/|.\nd|..", "f|e\u0301\nf|\u00e9\nf\u00e9|x\nfe\u0301|x\nfE\u0301|x",
		"fx|a\nf|x\ndx\nfX|a\nf|X (2)\nfX (2)|a", "f|" + strings.Repeat("a", 300) + "\nf|" + strings.Repeat("a", 301) + "\nd|" + strings.Repeat("a", 300),
		"f" + strings.Repeat("d/", 250) + "|x\nd" + strings.Repeat("e/", 199) + "|y", "f|CON\nf|con.\nf|con_\nf|nul.txt\nf|a\x00b\nf|a_b\nf|a:b\nf|a?b",
		"f.masvfs-1|a\nf|.masvfs-1\nf|1.part", "f|x\n=\ns|y\n=\nsx/y|z\nf|y\nf|\xff\nf|\xfe", "fa\\b|c\nfa/b|c\nf|a\\b\\c", "f|\u202egpj.exe\nf|.\nf|...\nf| \nf|a.\nf|a_",
		"f|\u1e9e\nf|ss\nf|SS\nf|\u017f\u017f\nf|\u212a\nf|k", "fa|b\nd|a|b\nd|a/b",
	} {
		f.Add(seed)
	}
	// Not on a disk, which would flush each transaction.
	folder := "/dev/shm"
	if _, err := os.Stat(folder); err != nil {
		folder = os.TempDir()
	}
	dir, err := os.MkdirTemp(folder, "fuzz-")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	s := open1(f, filepath.Join(dir, "test.db"))
	count := 0
	f.Fuzz(func(t *testing.T, text string) {
		es := entriesOf(text)
		for _, rules := range []pathname.Rules{pathname.Linux, pathname.Portable} {
			var trees [2][]string
			for i, parts := range []int{1, 3} {
				count++
				d := added(t, s, fmt.Sprint(count))
				for part := range slices.Chunk(es, max(1, (len(es)+parts-1)/parts)) {
					must(t, s.AddEntries(t.Context(), d.Seq, rules, part))
				}
				all := recorded(t, s, d.Seq)
				trees[i] = shape(all)
				if i == 0 {
					checkTree(t, es, all, rules)
					must(t, s.AddEntries(t.Context(), d.Seq, rules, es))
					if again := shape(recorded(t, s, d.Seq)); !slices.Equal(again, trees[0]) {
						t.Errorf("%v: recorded twice it is\n%q, before\n%q", rules, again, trees[0])
					}
				}
				must(t, s.Delete(t.Context(), d.Seq))
			}
			if !slices.Equal(trees[0], trees[1]) {
				t.Errorf("%v: in parts it is\n%q, whole\n%q", rules, trees[1], trees[0])
			}
		}
	})
}

// checkTree compares a tree with the listing that it was made of.
func checkTree(t *testing.T, es []NewEntry, all []Entry, rules pathname.Rules) {
	t.Helper()
	type place struct {
		parent int64
		key    string
	}
	names := make(map[place]string)
	files := make(map[string]Entry)
	senders := make(map[string]bool) // the sender's folders
	for _, e := range all {
		whole := join(e.Folder, e.Name)
		for i, c := range strings.Split(whole, "/") {
			if pathname.Clean(c, rules) != c || i > maxDepth {
				t.Errorf("%v: %q has the component %q", rules, whole, c)
			}
		}
		if e.State == Skipped {
			files[e.FileID] = e
			continue
		}
		at := place{e.Parent, pathname.Key(e.Name, rules)}
		if other, taken := names[at]; taken {
			t.Errorf("%v: %q and %q are one name", rules, other, whole)
		}
		names[at] = whole
		if e.Dir {
			sender := e.Original
			if sender == "" {
				sender = whole
			}
			if senders[sender] {
				t.Errorf("%v: %q stands for two folders", rules, sender)
			}
			senders[sender] = true
			continue
		}
		if _, twice := files[e.FileID]; twice {
			t.Errorf("%v: file %s is there twice", rules, e.FileID)
		}
		files[e.FileID] = e
	}
	want := make(map[string]bool)
	for _, e := range es {
		sent := join(strings.Join(e.Folders, "/"), e.Base)
		if e.Dir {
			if !tooDeep(&e) && sent != "" && !senders[strings.TrimSuffix(sent, "/")] {
				t.Errorf("%v: folder %q is missing", rules, sent)
			}
			continue
		}
		want[e.FileID] = true
		got, ok := files[e.FileID]
		if !ok || got.Size != e.Size || (got.State == Skipped) != (e.Skip != "" || tooDeep(&e)) {
			t.Errorf("%v: file %s became %+v", rules, e.FileID, got)
			continue
		}
		known := got.Original
		if known == "" {
			known = join(got.Folder, got.Name)
		}
		if known != sent && sent != "" && !strings.HasSuffix(known, "…") {
			t.Errorf("%v: what the sender calls %q is known as %q", rules, sent, known)
		}
	}
	for id := range files {
		if id != "" && !want[id] {
			t.Errorf("%v: nobody sent %s", rules, id)
		}
	}
}
