package pathname

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestSplitNeverResolvesAPath(t *testing.T) {
	tests := []struct {
		name       string
		path, file string
		folders    []string
		base       string
	}{
		{"a name at the root", "", "a.txt", nil, "a.txt"},
		{"a name in folders", "Day 1/Cam A", "a.txt", []string{"Day 1", "Cam A"}, "a.txt"},
		{"an absolute path loses its root", "/etc", "passwd", []string{"etc"}, "passwd"},
		{"empty components and dots are dropped", "./a//b/.", "./c", []string{"a", "b"}, "c"},
		{"two dots stay a component", "a/../..", "..", []string{"a", "..", ".."}, ".."},
		{"a name with slashes has folders of its own", "a", "b/c/d", []string{"a", "b", "c"}, "d"},
		{"a back-slash is an ordinary character", `a\b`, `c\d`, []string{`a\b`}, `c\d`},
		{"a missing name does not make a file of the folder", "a/b", "", []string{"a", "b"}, ""},
		{"a name of slashes only is missing", "a", "//", []string{"a"}, ""},
		{"a slash at the end does no harm", "a/", "b/", []string{"a"}, "b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folders, base := Split(tt.path, tt.file)
			if !slices.Equal(folders, tt.folders) || base != tt.base {
				t.Errorf("Split(%q, %q) = %q, %q; want %q, %q", tt.path, tt.file, folders, base, tt.folders, tt.base)
			}
		})
	}
}

func TestClean(t *testing.T) {
	long := strings.Repeat("a", 300)
	tests := []struct {
		name            string
		in              string
		linux, portable string
	}{
		{"an ordinary name stays", "Hawaii (1).jpg", "Hawaii (1).jpg", "Hawaii (1).jpg"},
		{"a hidden file stays", ".bashrc", ".bashrc", ".bashrc"},
		{"an empty name", "", "_", "_"},
		{"one dot", ".", "_", "_"},
		{"two dots", "..", "__", "__"},
		{"three dots are a name on Linux", "...", "...", "___"},
		{"NUL", "a\x00b", "a_b", "a_b"},
		{"a slash", "a/b", "a_b", "a_b"},
		{"invalid UTF-8, byte by byte", "a\xff\xfeb", "a__b", "a__b"},
		{"a real replacement character stays", "a\ufffdb", "a\ufffdb", "a\ufffdb"},
		{"what Windows forbids", `<>:"\|?*`, `<>:"\|?*`, "________"},
		{"a line break", "a\nb", "a\nb", "a_b"},
		{"dots and spaces at the end", "a. .", "a. .", "a___"},
		{"a space at the beginning stays", " a", " a", " a"},
		{"a device", "CON", "CON", "CON_"},
		{"a device in lower case with an extension", "nul.txt", "nul.txt", "nul_.txt"},
		{"a device with two extensions", "aux.tar.gz", "aux.tar.gz", "aux_.tar.gz"},
		{"a device with a space before its extension", "COM1 .x", "COM1 .x", "COM1 _.x"},
		{"a device with a superscript digit", "LPT³.x", "LPT³.x", "LPT³_.x"},
		{"a device that ends in dots", "con..", "con..", "con__"},
		{"not quite a device", "COM10", "COM10", "COM10"},
		{"not a device at all", "CONTENT.txt", "CONTENT.txt", "CONTENT.txt"},
		{"a decomposed accent is composed for others only", "e\u0301", "e\u0301", "\u00e9"},
		{"too long, with an extension", long + ".mov", strings.Repeat("a", 251) + ".mov", strings.Repeat("a", 251) + ".mov"},
		{"too long, without", long, long[:255], long[:255]},
		{"too long, cut between characters", strings.Repeat("é", 200), strings.Repeat("é", 127), strings.Repeat("é", 127)},
		{"too long, with spaces at the cut", strings.Repeat("a", 254) + "  b", strings.Repeat("a", 254) + " ", strings.Repeat("a", 254) + "_"},
		{"a device with a name to be cut", "nul." + long, "nul." + long[:251], "nul_." + long[:250]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Clean(tt.in, Linux); got != tt.linux {
				t.Errorf("Clean(%q, Linux) = %q; want %q", tt.in, got, tt.linux)
			}
			if got := Clean(tt.in, Portable); got != tt.portable {
				t.Errorf("Clean(%q, Portable) = %q; want %q", tt.in, got, tt.portable)
			}
		})
	}
}

func TestCleanDownload(t *testing.T) {
	tests := []struct{ name, in, linux, portable string }{
		{"a package's name stays", "MASV Package", "MASV Package", "MASV Package"},
		{"a missing name", "", "_", "_"},
		{"spaces only", "  \n ", "_", "_"},
		{"a leading dot is the product's own", ".hidden", "_hidden", "_hidden"},
		{"leading dots after spaces", "  ..a", "__a", "__a"},
		{"spaces around it", " a b ", "a b", "a b"},
		{"a path is one name", "a/b", "a_b", "a_b"},
		{"an escape sequence is disarmed", "a\x1b[31mb\u009b", "a_[31mb_", "a_[31mb_"},
		{"text turned around is set straight", "a\u202egpj.exe", "a_gpj.exe", "a_gpj.exe"},
		{"a trailing dot", "a.", "a.", "a_"},
		{"a space where the name is cut", strings.Repeat("a", 254) + "  b", strings.Repeat("a", 254), strings.Repeat("a", 254) + "_"},
		{"what Windows forbids", "A: B?", "A: B?", "A_ B_"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := CleanDownload(tt.in, Linux); got != tt.linux {
				t.Errorf("CleanDownload(%q, Linux) = %q; want %q", tt.in, got, tt.linux)
			}
			if got := CleanDownload(tt.in, Portable); got != tt.portable {
				t.Errorf("CleanDownload(%q, Portable) = %q; want %q", tt.in, got, tt.portable)
			}
		})
	}
}

func TestKeyTellsApartWhatTheDiskTellsApart(t *testing.T) {
	tests := []struct {
		name            string
		a, b            string
		linux, portable bool // whether a and b are the same
	}{
		{"the same name", "a", "a", true, true},
		{"another name", "a", "b", false, false},
		{"another case", "Read Me", "READ me", false, true},
		{"another case beyond ASCII", "ÄÖÜ", "äöü", false, true},
		{"another Unicode form", "\u00e9", "e\u0301", false, true},
		{"another case and form", "\u00c9", "e\u0301", false, true},
		{"a sharp s", "straße", "STRASSE", false, true},
		{"final sigma", "ΟΔΟΣ", "οδος", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Key(tt.a, Linux) == Key(tt.b, Linux); got != tt.linux {
				t.Errorf("Linux: same is %v; want %v", got, tt.linux)
			}
			if got := Key(tt.a, Portable) == Key(tt.b, Portable); got != tt.portable {
				t.Errorf("Portable: same is %v; want %v", got, tt.portable)
			}
		})
	}
}

func TestNumbered(t *testing.T) {
	tests := []struct {
		name, in string
		n        int
		dir      bool
		want     string
	}{
		{"before the extension", "a.txt", 2, false, "a (2).txt"},
		{"at the end of a folder", "a.txt", 2, true, "a.txt (2)"},
		{"at the end without an extension", "Makefile", 12, false, "Makefile (12)"},
		{"a hidden file has no extension", ".bashrc", 2, false, ".bashrc (2)"},
		{"neither have two dots", "..a", 2, false, "..a (2)"},
		{"a dot at the end is none", "a.", 2, false, "a. (2)"},
		{"a sentence is none", "Mr. Smith", 2, false, "Mr. Smith (2)"},
		{"a long ending is none", "a.abcdefghijklmnopq", 2, false, "a.abcdefghijklmnopq (2)"},
		{"a long name makes room", strings.Repeat("a", 251) + ".mov", 10, false, strings.Repeat("a", 246) + " (10).mov"},
		{"no character is cut in two", strings.Repeat("é", 127), 2, false, strings.Repeat("é", 125) + " (2)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Numbered(tt.in, tt.n, tt.dir)
			if got != tt.want {
				t.Errorf("Numbered(%q, %d, %v) = %q; want %q", tt.in, tt.n, tt.dir, got, tt.want)
			}
			if n := Number(tt.in, got, tt.dir); n != tt.n {
				t.Errorf("Number(%q, %q, %v) = %d; want %d", tt.in, got, tt.dir, n, tt.n)
			}
		})
	}
}

func TestNumberOfANameThatIsNotNumbered(t *testing.T) {
	for _, name := range []string{"a.txt", "a (2).mov", "b (2).txt", "a (02).txt", "a (x).txt", "a ().txt", "a (1).txt", ")(", ""} {
		if n := Number("a.txt", name, false); n != 1 {
			t.Errorf("Number(a.txt, %q) = %d; want 1", name, n)
		}
	}
}

func TestParseRules(t *testing.T) {
	for _, r := range []Rules{Linux, Portable} {
		if got, err := ParseRules(r.String()); got != r || err != nil {
			t.Errorf("ParseRules(%q) = %v, %v", r.String(), got, err)
		}
	}
	if _, err := ParseRules("windows"); err == nil || !strings.Contains(err.Error(), "windows") {
		t.Errorf("ParseRules(windows) = %v; want an error that quotes it", err)
	}
}

// FuzzClean holds every name that a sender could think of against what the
// package promises.
func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", ".", "..", "a/b", "CON .", "nul.tar.gz", "\xff", "a\x00", "é\u0301", " . ", "<\u0338", "a.\u0301", "..\u202e.",
		strings.Repeat("\u0301", 200), strings.Repeat("é ", 100), "con." + strings.Repeat("x", 260), strings.Repeat("a", 254) + ". .b", "\u1e9e\u0130\u017f\u212a", "COM¹"} {
		f.Add(seed, 2)
	}
	f.Fuzz(func(t *testing.T, in string, n int) {
		n = max(n, 2)
		for _, r := range []Rules{Linux, Portable} {
			clean := Clean(in, r)
			check(t, in, clean, r)
			shown := CleanDownload(in, r)
			check(t, in, shown, r)
			if strings.HasPrefix(shown, ".") || strings.TrimSpace(shown) != shown || CleanDownload(shown, r) != shown {
				t.Errorf("%v: CleanDownload(%q) = %q", r, in, shown)
			}
			for _, dir := range []bool{false, true} {
				numbered := Numbered(clean, n, dir)
				check(t, in, numbered, r)
				if numbered == clean || Key(numbered, r) == Key(Numbered(clean, n+1, dir), r) {
					t.Errorf("%v: the numbers of %q do not tell names apart: %q", r, clean, numbered)
				}
				if got := Number(clean, numbered, dir); got != n {
					t.Errorf("%v: Number(%q, %q, %v) = %d; want %d", r, clean, numbered, dir, got, n)
				}
			}
		}
		folders, base := Split(in, in)
		all := append(folders, base)
		for i, c := range all {
			if strings.Contains(c, "/") || c == "." || c == "" && i < len(all)-1 {
				t.Errorf("Split(%q) has the component %q", in, c)
			}
		}
		// Taken apart once more, what was put together is the same.
		if again, last := Split(strings.Join(folders, "/"), base); last != base || !slices.Equal(again, folders) {
			t.Errorf("Split(%q) = %q, %q and again %q, %q", in, folders, base, again, last)
		}
	})
}

// check fails the test unless name is one that the disk can hold.
func check(t *testing.T, in, name string, r Rules) {
	t.Helper()
	switch {
	case name == "", name == ".", name == "..", strings.ContainsAny(name, "/\x00"), !utf8.ValidString(name), len(name) > 255:
		t.Errorf("%v: %q became %q, which Linux cannot hold", r, in, name)
	case Clean(name, r) != name:
		t.Errorf("%v: %q became %q, which is cleaned again to %q", r, in, name, Clean(name, r))
	}
	if r != Portable {
		return
	}
	switch {
	case strings.ContainsAny(name, "<>:\"\\|?*"), strings.HasSuffix(name, "."), strings.HasSuffix(name, " "), len(utf16.Encode([]rune(name))) > 255:
		t.Errorf("%q became %q, which is not portable", in, name)
	case !norm.NFC.IsNormalString(name):
		t.Errorf("%q became %q, which is not NFC", in, name)
	}
}
