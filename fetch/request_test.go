package fetch

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

const someLink = "https://get.massive.io/01D2TMG9F5GHMHX8RWZ453VA35?secret=bqkBtnPwvmkgJpHN"

func TestARequestIsRefusedByTheNameOfTheFieldThatIsWrong(t *testing.T) {
	tests := []struct{ name, body, field, says string }{
		{"nothing", `{}`, "url", "needs the link"},
		{"another site's link", `{"url": "https://example.com/x?secret=hunter2hunter2"}`, "url", "massive"},
		{"an unknown field", `{"url": "` + someLink + `", "dst": "/x"}`, "dst", "not a known field"},
		{"a field of the wrong type", `{"url": "` + someLink + `", "priority": "high"}`, "priority", "a whole number"},
		{"a password that is no text", `{"url": "` + someLink + `", "password": 5}`, "password", "a string"},
		{"a relative folder", `{"url": "` + someLink + `", "dst_folder": "media"}`, "dst_folder", "absolute"},
		{"an unknown way to publish", `{"url": "` + someLink + `", "publish": "now"}`, "publish", "package"},
		{"a package without a folder", `{"url": "` + someLink + `", "publish": "package", "create_package_folder": false}`, "publish", "create_package_folder"},
		{"no files", `{"url": "` + someLink + `", "file_ids": []}`, "file_ids", "empty"},
		{"a negative owner", `{"url": "` + someLink + `", "uid": -1}`, "uid", "between 0 and"},
		{"an owner that no system has", `{"url": "` + someLink + `", "gid": 4294967295}`, "gid", "between 0 and"},
		{"a field in another case", `{"URL": "` + someLink + `"}`, "URL", "not a known field"},
		{"a field twice", `{"url": "` + someLink + `", "url": "` + someLink + `"}`, "url", "twice"},
		{"an array", `[]`, "", "JSON object"},
		{"two objects", `{} {}`, "", "after"},
		{"half an object", `{"url": `, "", "JSON"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := DecodeRequest([]byte(test.body))
			var inv *InvalidError
			if !errors.As(err, &inv) {
				t.Fatalf("got %v", err)
			}
			if inv.Field != test.field || !strings.Contains(inv.Message, test.says) {
				t.Errorf("field %q: %s", inv.Field, inv.Message)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "bqkBtn") {
				t.Errorf("the secret shows: %v", err)
			}
		})
	}
}

func TestARequestHasTheDefaultsOfTheMASVAgent(t *testing.T) {
	r, err := DecodeRequest([]byte(`{"url": "` + someLink + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.NoPackageFolder || r.RefuseQuarantine || r.Priority != 0 || r.FileIDs != nil || r.UID != nil {
		t.Errorf("got %+v", r)
	}
}

// FuzzDecodeRequest decodes arbitrary bodies. What is taken is one object of
// known fields, each within its bounds, and is the same when it is written
// down and decoded again; what is refused quotes neither link nor password.
func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{
		`{"url":"` + someLink + `"}`, `{"url":"` + someLink + `"} x`, `{"url":"` + someLink + `","url":"x"}`, `{"Url":"` + someLink + `"}`, `[]`, `null`, `{`, `{"a":{"b":[1]}}`,
		`{"url":"` + someLink + `","dst_folder":"/srv/../etc","password":"hunter2hunter2","name":"x/\u0000","priority":-9,"file_ids":["a",""],"create_package_folder":false,"bypass_package_quarantine":false,"publish":"package","uid":0,"gid":4294967294}`,
		`{"url":"` + someLink + `","dst_folder":"/a\u0000b"}`, `{"url":"` + someLink + `","priority":1e2}`, `{"url":"` + someLink + `","priority":9223372036854775808}`, `{"url":"` + someLink + `","file_ids":[1]}`,
		`{"url":null,"uid":null,"file_ids":null}`, `{"url":"bqkBtnPwvmkgJpHN","password":{"hunter2hunter2":1}}`, "{\"url\":\"\xff\"}", strings.Repeat(`{"a":`, 10_001),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := DecodeRequest(body)
		if err != nil {
			var inv *InvalidError
			if !errors.As(err, &inv) || inv.Message == "" {
				t.Fatalf("refused with %v", err)
			}
			for _, secret := range []string{"bqkBtnPwvmkgJpHN", "hunter2hunter2"} {
				if strings.Contains(inv.Message, secret) {
					t.Errorf("the secret shows: %v", err)
				}
			}
			return
		}
		if err := r.check(); err != nil {
			t.Errorf("%s is taken, and is refused: %v", body, err)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatalf("%s is taken: %v", body, err)
		}
		no := func(b bool) *bool { b = !b; return &b }
		j := map[string]any{
			"url": r.Link.URL().Reveal(), "dst_folder": r.DstFolder, "password": r.Password.Reveal(), "name": r.Name, "priority": r.Priority, "file_ids": r.FileIDs,
			"create_package_folder": no(r.NoPackageFolder), "bypass_package_quarantine": no(r.RefuseQuarantine), "publish": r.Publish, "uid": r.UID, "gid": r.GID,
		}
		for name := range fields {
			if _, known := j[name]; !known {
				t.Errorf("%s is taken, with %q", body, name)
			}
		}
		written, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeRequest(written); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("written down it is another: %v", err)
		}
	})
}
