package linkfile_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"howett.net/plist"

	"masvfs/fetch"
	"masvfs/fetch/masv"
	"masvfs/watcher/linkfile"
)

const (
	secret = "bqkBtnPwvmkgJpHN"
	linkA  = "https://get.massive.io/01HX8RWZ453VA35D2TMG9F5GHM?secret=" + secret
	linkB  = "https://get.massive.app/01D2TMGA09VHKVW6G3MJH2EP57?secret=" + secret
)

var (
	requestA = fetch.Request{Link: masv.Link{ID: "01HX8RWZ453VA35D2TMG9F5GHM", Secret: secret}}
	requestB = fetch.Request{Link: masv.Link{ID: "01D2TMGA09VHKVW6G3MJH2EP57", Secret: secret}}
)

func with(r fetch.Request, change func(*fetch.Request)) fetch.Request {
	change(&r)
	return r
}

func webloc(t testing.TB, format int, v any) string {
	t.Helper()
	data, err := plist.Marshal(v, format)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestParse(t *testing.T) {
	everything := with(requestA, func(r *fetch.Request) {
		uid, gid := 1000, 100
		r.Password, r.DstFolder, r.Name, r.Priority = "hunter2", "/srv/media/in", "Dailies: day 1", -3
		r.FileIDs, r.NoPackageFolder, r.RefuseQuarantine = []string{"a", "b"}, true, true
		r.Publish, r.UID, r.GID = fetch.PublishFile, &uid, &gid
	})
	type at struct {
		line    int
		request fetch.Request
	}
	tests := []struct {
		name, file, text string
		want             []at
	}{
		{"a plain link", "a.masvlink", linkA, []at{{1, requestA}}},
		{"the extension in any case", "A.MasvLink", linkA + "\n", []at{{1, requestA}}},
		{"a byte order mark and CRLF", "a.masvlink", "\ufeff# hello\r\n" + linkA + "\r\npassword = x\r\n",
			[]at{{2, with(requestA, func(r *fetch.Request) { r.Password = "x" })}}},
		{"a byte order mark before JSON", "a.masvlink", "\ufeff{\"url\":\"" + linkA + "\"}", []at{{1, requestA}}},
		{"several links, comments and blank lines", "a.masvlink", "\n# one\n" + linkA + "\n\n  # two\n\t" + linkB + "  \n",
			[]at{{3, requestA}, {6, requestB}}},
		{"the same link twice stays twice", "a.masvlink", linkA + "\n" + linkA, []at{{1, requestA}, {2, requestA}}},
		{"every option, written with = and :", "a.masvlink", linkA + `
			password = hunter2
			dst_folder: /srv/media/in
			name = Dailies: day 1
			priority=-3
			file_ids = a, b
			create_package_folder: false
			bypass_package_quarantine : FALSE
			publish = file
			UID = 1000
			gid = 100`, []at{{1, everything}}},
		{"an option goes to the link above it", "a.masvlink", linkA + "\npassword = x\n" + linkB + "\npassword = y=:z",
			[]at{{1, with(requestA, func(r *fetch.Request) { r.Password = "x" })}, {3, with(requestB, func(r *fetch.Request) { r.Password = "y=:z" })}}},
		{"a password that looks like a link", "a.masvlink", linkA + "\npassword://x",
			[]at{{1, with(requestA, func(r *fetch.Request) { r.Password = "//x" })}}},
		{"a JSON object", "a.masvlink", "\n {\"url\": \"" + linkA + `", "password": "hunter2", "dst_folder": "/srv/media/in",
			"name": "Dailies: day 1", "priority": -3, "file_ids": ["a", "b"], "create_package_folder": false,
			"bypass_package_quarantine": false, "publish": "file", "uid": 1000, "gid": 100}` + "\n", []at{{2, everything}}},
		{"a JSON array", "a.masvlink", "[\n{\"url\":\"" + linkA + "\"},\n\n{\n\"url\":\"" + linkB + "\"}\n]",
			[]at{{2, requestA}, {4, requestB}}},
		{"a Windows shortcut", "a.url", "[{000214A0-0000-0000-C000-000000000046}]\r\nProp3=19,11\r\n[InternetShortcut]\r\nIDList=\r\nURL=" + linkA + "\r\n",
			[]at{{5, requestA}}},
		{"a Windows shortcut whose other entries are in an older encoding", "a.URL", "[internetshortcut]\nIconFile=C:\\Caf\xe9.ico\nurl = " + linkA,
			[]at{{3, requestA}}},
		{"a freedesktop link", "a.desktop", "[Desktop Entry]\n# made by hand\nEncoding=UTF-8\nType=Link\nName=x\nURL=" + linkA + "\n[Other]\nURL=http://x/",
			[]at{{6, requestA}}},
		{"a KDE link", "a.desktop", "[Desktop Entry]\nURL[$e]=" + linkA + "\nType=Link\n", []at{{2, requestA}}},
		{"a webloc in XML", "a.webloc", webloc(t, plist.XMLFormat, map[string]string{"URL": linkA}), []at{{3, requestA}}},
		{"a webloc in XML over several lines", "a.webloc", "<?xml version=\"1.0\"?>\n<!DOCTYPE plist PUBLIC \"x\" \"y\">\n<plist version=\"1.0\">\n<dict>\n\t<key>URL</key>\n\t<string>" + linkA + "</string>\n</dict>\n</plist>\n",
			[]at{{6, requestA}}},
		{"a binary webloc", "a.webloc", webloc(t, plist.BinaryFormat, map[string]string{"URL": linkA}), []at{{0, requestA}}},
		{"a binary webloc with more in it, in other alphabets", "a.webloc",
			webloc(t, plist.BinaryFormat, map[string]any{"Name": "Tag eins – ü", "Order": []int{1, 2}, "URL": linkA, "Zoo": map[string]string{"URL": "x"}}), []at{{0, requestA}}},
		{"a webloc in XML with more in it", "a.webloc",
			webloc(t, plist.XMLFormat, map[string]any{"Inner": map[string]string{"URL": "x"}, "Order": []int{1, 2}, "URL": linkA + "&utm=a"}), []at{{3, requestA}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items, err := linkfile.Parse(tt.file, []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []at
			for _, item := range items {
				got = append(got, at{item.Line, item.Request})
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		says       string
	}{
		{"an empty file", "", 1, "empty"},
		{"a file of blanks", " \r\n\t\n", 1, "empty"},
		{"a file of comments", "# one\n# two\n", 2, "comments only"},
		{"UTF-16, little endian", "\xff\xfeh\x00", 1, "save it as UTF-8"},
		{"UTF-16, big endian", "\xfe\xff\x00h", 1, "save it as UTF-8"},
		{"UTF-16 without its mark", "h\x00t\x00t\x00p\x00", 1, "save the file as UTF-8"},
		{"Latin-1", "# one\n" + linkA + "\nname = Caf\xe9", 3, "UTF-8"},
		{"an option before any link", "# one\npassword = x\n" + linkA, 2, "password stands before any link"},
		{"an option that is not known", linkA + "\npasword = x", 2, "nor an option; the options are password"},
		{"an option twice", linkA + "\nname = x\nuid = 1\nname: y", 4, "name is given twice for one link, on line 2 too"},
		{"a line that is neither", linkA + "\n\nhunter2", 3, "neither a link"},
		{"a secret where an option should be", linkA + "\n" + secret + " = x", 2, "neither a link"},
		{"another site's link", "# one\nhttps://example.com/" + secret, 2, ""},
		{"a link without its secret", linkB + "\nhttps://get.massive.io/01HX8RWZ453VA35D2TMG9F5GHM", 2, ""},
		{"a priority in words", linkA + "\npriority = high", 2, "priority must be a whole number"},
		{"a truth in other words", linkA + "\ncreate_package_folder = no", 2, "create_package_folder must be true or false"},
		{"a folder that is not absolute", linkA + "\n\ndst_folder = media", 3, "dst_folder must be an absolute path"},
		{"an empty file identifier", linkA + "\nname = x\nfile_ids = a,,b", 3, "file_ids"},
		{"what does not go together", linkA + "\ncreate_package_folder = false\npublish = package", 3, "publish"},
		{"JSON with a comma missing", "{\"url\": \"" + linkA + "\"\n \"password\": \"x\"}", 2, "not valid JSON"},
		{"JSON that ends too early", "{\n\"url\": \"" + linkA + "\",\n", 3, "not valid JSON"},
		{"something behind the JSON", "{\"url\": \"" + linkA + "\"}\n\nhunter2", 3, "not valid JSON"},
		{"an empty array", "[ ]", 1, "empty array"},
		{"an array of links", "[\n\"" + linkA + "\"]", 2, "must be a JSON object"},
		{"an array in an array", "[\n[{}]]", 2, "must be a JSON object"},
		{"an object without a link", "[{\"url\":\"" + linkA + "\"},\n{\n\"password\": \"x\"}]", 2, "needs the link"},
		{"a JSON field that is not known", "{\"url\":\"" + linkA + "\",\n\"pasword\": \"x\"}", 2, "pasword is not a known field"},
		{"a secret where a JSON field should be", "{\"url\":\"" + linkA + "\",\n\"" + secret + "\": \"x\"}", 2, "a field is not known"},
		{"a JSON field twice", "{\"url\":\"" + linkA + "\",\n\"name\": \"x\",\n\"NAME\": \"x\"}", 3, "a field is given twice for one link, on line 2 too"},
		{"a JSON field of another type", "{\"url\":\"" + linkA + "\",\n\n\"priority\": \"high\"}", 3, "priority must be a whole number"},
		{"a bad link in the middle of an array", "[{\"url\":\"" + linkA + "\"},\n{\"name\":\"x\",\n\"url\": \"https://example.com/" + secret + "\"}]", 3, ""},
		{"more than 1 MiB", strings.Repeat(linkA+"\n", 1<<20/len(linkA)), 0, "1 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items, err := linkfile.Parse("x.masvlink", []byte(tt.text))
			var bad *linkfile.Error
			if !errors.As(err, &bad) {
				t.Fatalf("got %d items and error %v, want an *Error", len(items), err)
			}
			if bad.Line != tt.line || !strings.Contains(bad.Message, tt.says) {
				t.Errorf("got line %d, %q; want line %d, %q in it", bad.Line, bad.Message, tt.line, tt.says)
			}
			for _, private := range []string{secret, "hunter2", "01HX8RWZ453VA35D2TMG9F5GHM"} {
				if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(private)) {
					t.Errorf("%q quotes %q", err, private)
				}
			}
		})
	}
}

func TestDesktopLinksToElsewhereAreNotOurs(t *testing.T) {
	tests := []struct{ name, file, text string }{
		{"another site", "a.url", "[InternetShortcut]\nURL=https://example.com/"},
		{"MASV's own site", "a.url", "[InternetShortcut]\nURL=https://massive.io/pricing"},
		{"a host that only looks like MASV's", "a.url", "[InternetShortcut]\nURL=https://get.massive.io.example.com/01HX8RWZ453VA35D2TMG9F5GHM?secret=x"},
		{"a MASV link in another section", "a.url", "[DEFAULT]\nURL=" + linkA},
		{"a link that is commented out", "a.url", "[InternetShortcut]\n;URL=" + linkA},
		{"nothing yet", "a.url", ""},
		{"not text", "a.url", "[InternetShortcut]\nURL=\xff\xfe"},
		{"a program starter", "a.desktop", "[Desktop Entry]\nType=Application\nURL=" + linkA},
		{"another site", "a.desktop", "[Desktop Entry]\nType=Link\nURL=https://example.com/"},
		{"another site", "a.webloc", webloc(t, plist.XMLFormat, map[string]string{"URL": "https://example.com/"})},
		{"another property list", "a.webloc", webloc(t, plist.BinaryFormat, []string{linkA})},
		{"an OpenStep property list", "a.webloc", "{ URL = \"" + linkA + "\"; }"},
		{"a torn webloc", "a.webloc", "<?xml version=\"1.0\"?><plist><dict><key>URL</key>"},
		{"a binary webloc that asks for all memory", "a.webloc", greedyWebloc()},
		{"a webloc nested without end", "a.webloc", strings.Repeat("<array>", 1<<17)},
		{"a text file", "a.txt", linkA},
	}
	for _, tt := range tests {
		t.Run(filepath.Ext(tt.file)[1:]+" with "+tt.name, func(t *testing.T) {
			if items, err := linkfile.Parse(tt.file, []byte(tt.text)); !errors.Is(err, linkfile.ErrNotOurs) {
				t.Errorf("got %d items and error %v, want ErrNotOurs", len(items), err)
			}
		})
	}
}

func TestATornBinaryWeblocIsNotOurs(t *testing.T) {
	whole := webloc(t, plist.BinaryFormat, map[string]any{"URL": linkA, "Name": strings.Repeat("ü", 20)})
	for n := range len(whole) {
		if _, err := linkfile.Parse("a.webloc", []byte(whole[:n])); !errors.Is(err, linkfile.ErrNotOurs) {
			t.Fatalf("the first %d of %d bytes: %v, want ErrNotOurs", n, len(whole), err)
		}
	}
}

// greedyWebloc is a list of 2^40 elements whose references take no bytes.
func greedyWebloc() string {
	object := "\xaf\x13\x00\x00\x01\x00\x00\x00\x00\x00"
	trailer := "\x00\x00\x00\x00\x00\x00\x01\x00" + "\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x12"
	return "bplist00" + object + "\x08" + trailer
}

func TestDesktopLinksToMASVThatAreIncompleteAreErrors(t *testing.T) {
	_, err := linkfile.Parse("a.url", []byte("[InternetShortcut]\nURL=https://get.massive.io/01HX8RWZ453VA35D2TMG9F5GHM"))
	var bad *linkfile.Error
	if !errors.As(err, &bad) || bad.Line != 2 {
		t.Errorf("got %v, want an *Error on line 2", err)
	}
}

func TestFieldLineIsWhereTheOptionStands(t *testing.T) {
	for _, text := range []string{
		"\n" + linkA + "\n# the folder\ndst_folder = /srv",
		"\n{\n\"url\": \"" + linkA + "\",\n\"dst_folder\": \"/srv\"}",
	} {
		items, err := linkfile.Parse("a.masvlink", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := items[0].FieldLine("dst_folder"); got != 4 {
			t.Errorf("dst_folder on line %d, want 4", got)
		}
		if got := items[0].FieldLine("uid"); got != 2 {
			t.Errorf("an option that is not there on line %d, want the item's, 2", got)
		}
	}
}

func TestNamed(t *testing.T) {
	for name, want := range map[string]bool{
		"a.masvlink": true, "a.MASVLINK": true, "a.url": true, "a.webloc": true, "a.desktop": true, "a b.c.masvlink": true, "~a.masvlink": true,
		"a.txt": false, "masvlink": false, "a.masvlink.part": false, "a.masvlink.tmp": false, "a.masvlink~": false,
		".a.masvlink": false, ".masvlink": false, "": false, "a.masvlink.error.txt": false,
	} {
		if got := linkfile.Named(name); got != want {
			t.Errorf("Named(%q) = %v", name, got)
		}
	}
}

func BenchmarkParseTenThousandLinks(b *testing.B) {
	text := []byte(strings.Repeat(linkA+"\n", 10_000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := linkfile.Parse("a.masvlink", text); err != nil {
			b.Fatal(err)
		}
	}
}
