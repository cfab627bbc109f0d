package linkfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"howett.net/plist"

	"masvfs/watcher/linkfile"
)

// FuzzParse reads arbitrary link files of all forms. What is wrong is said
// with a line that is there, and depends on no secret; what is taken is what a
// JSON file of the same links gives, however its lines end.
func FuzzParse(f *testing.F) {
	seeds := []string{
		linkA, linkA + "\npassword = x\ndst_folder: /srv\nfile_ids = a,b\npriority = 1\npublish = package", "# x\r\n\r\n" + linkB, "password = " + secret + "\n" + linkA, linkA + "\n" + secret,
		linkA + "\n" + secret + " = x", linkA + "\npassword = a\npassword = " + secret, "https://example.com/" + secret, linkA + "\nuid = " + secret, linkA + "\ndst_folder = " + secret,
		"{\"url\":\"" + linkA + "\",\"name\":\"x\"}", "[{\"url\":\"" + linkA + "\"},{\"url\":\"" + linkB + "\"}]", "[]", "{", "\xff\xfe", "{\"" + secret + "\":1}", "{\"url\":\"" + linkA + "\",\"uid\":\"" + secret + "\"}",
		"{\"password\":\"" + secret + "\"", "[InternetShortcut]\nURL=" + linkA, "[internetshortcut]\n;URL=x\nurl = " + linkA, "[InternetShortcut]\nURL=https://get.massive.io/x?secret=" + secret,
		"[Desktop Entry]\nType=Link\nURL[$e]=" + linkA, "[Desktop Entry]\nType=Application\nURL=" + linkA, greedyWebloc(),
		webloc(f, plist.XMLFormat, map[string]string{"URL": linkA}), webloc(f, plist.BinaryFormat, map[string]any{"URL": linkA, "more": []int{1, 2}}),
		"<plist><dict><key>URL</key><string>" + strings.Repeat("<a>", 100), "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/shadow\">]><plist><dict><key>URL</key><string>&e;</string></dict></plist>",
	}
	for _, seed := range seeds {
		for _, ext := range []string{".masvlink", ".url", ".desktop", ".webloc"} {
			f.Add("x"+ext, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		items, err := linkfile.Parse(name, data)
		lines := strings.Count(string(data), "\n") + 1
		var bad *linkfile.Error
		switch {
		case err == nil:
			if len(items) == 0 {
				t.Error("no error, and no link")
			}
			for _, item := range items {
				if item.Request.Link.ID == "" || item.Line < 0 || item.Line > lines {
					t.Errorf("%+v in a file of %d lines", item, lines)
				}
			}
			checkWritten(t, items)
		case errors.As(err, &bad):
			if bad.Line < 0 || bad.Line > lines || bad.Message == "" {
				t.Errorf("%+v in a file of %d lines", bad, lines)
			}
		case !errors.Is(err, linkfile.ErrNotOurs):
			t.Errorf("an error of another kind: %v", err)
		}
		// With another secret it would be the same.
		other := bytes.ReplaceAll(data, []byte(secret), []byte("AnotherSecretXyZ"))
		if others, otherErr := linkfile.Parse(name, other); len(others) != len(items) || said(otherErr) != said(err) {
			t.Errorf("what is said depends on the secret: %q, and %q", said(err), said(otherErr))
		}
		if bytes.ContainsRune(data, '\r') || !strings.HasSuffix(name, ".masvlink") || len(data) > linkfile.MaxSize/2 {
			return
		}
		edited := append([]byte("\ufeff"), bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))...)
		if bytes.HasPrefix(data, []byte("\ufeff")) || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
			return
		}
		if windows, windowsErr := linkfile.Parse(name, edited); !reflect.DeepEqual(windows, items) || said(windowsErr) != said(err) {
			t.Errorf("saved by a Windows editor it is %d links, %q; before %d, %q", len(windows), said(windowsErr), len(items), said(err))
		}
	})
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// checkWritten writes links down as JSON and reads them again.
func checkWritten(t *testing.T, items []linkfile.Item) {
	t.Helper()
	var all []map[string]any
	for _, item := range items {
		r := item.Request
		all = append(all, map[string]any{
			"url": r.Link.URL().Reveal(), "password": r.Password.Reveal(), "dst_folder": r.DstFolder, "name": r.Name, "priority": r.Priority, "file_ids": r.FileIDs,
			"create_package_folder": !r.NoPackageFolder, "bypass_package_quarantine": !r.RefuseQuarantine, "publish": r.Publish, "uid": r.UID, "gid": r.GID,
		})
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > linkfile.MaxSize {
		return
	}
	again, err := linkfile.Parse("again.masvlink", text)
	if err != nil || len(again) != len(items) {
		t.Fatalf("written down they are %d links, %v", len(again), err)
	}
	for i := range items {
		if !reflect.DeepEqual(again[i].Request, items[i].Request) {
			t.Errorf("link %d is another when it is written down", i)
		}
	}
}
