package fetch

import (
	"errors"
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
