package fetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strings"

	"masvfs/fetch/masv"
)

// InvalidError says which field of a request is wrong, and what to do about it.
type InvalidError struct {
	Index   int    // of the request, where several were given at once
	Field   string // as in the JSON form; empty: the request as a whole
	Message string // a sentence for people, without secrets
}

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

func invalid(field, format string, args ...any) *InvalidError {
	return &InvalidError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// requestJSON is the JSON form of a Request: the body of POST /downloads, and
// what a JSON link file holds.
type requestJSON struct {
	URL              string      `json:"url"`
	DstFolder        string      `json:"dst_folder"`
	Password         masv.Secret `json:"password"`
	Name             string      `json:"name"`
	Priority         int         `json:"priority"`
	FileIDs          []string    `json:"file_ids"`
	PackageFolder    *bool       `json:"create_package_folder"`
	BypassQuarantine *bool       `json:"bypass_package_quarantine"`
	Publish          string      `json:"publish"`
	UID              *int        `json:"uid"`
	GID              *int        `json:"gid"`
}

// DecodeRequest reads the JSON form of a Request. A field that is unknown, of
// the wrong type or senseless is refused by name, as an *InvalidError.
func DecodeRequest(data []byte) (Request, error) {
	var j requestJSON
	if err := DecodeStrict(data, &j); err != nil {
		return Request{}, err
	}
	if j.URL == "" {
		return Request{}, invalid("url", "a download needs the link that MASV sent: https://get.massive.io/ID?secret=SECRET")
	}
	link, err := masv.ParseLink(j.URL)
	if err != nil {
		return Request{}, invalid("url", "%v", err)
	}
	r := Request{
		Link:             link,
		Password:         j.Password,
		DstFolder:        j.DstFolder,
		Name:             j.Name,
		Priority:         j.Priority,
		FileIDs:          j.FileIDs,
		NoPackageFolder:  j.PackageFolder != nil && !*j.PackageFolder,
		RefuseQuarantine: j.BypassQuarantine != nil && !*j.BypassQuarantine,
		Publish:          Publish(j.Publish),
		UID:              j.UID,
		GID:              j.GID,
	}
	if err := r.check(); err != nil {
		return Request{}, err
	}
	return r, nil
}

// maxOwner is the largest user or group: one more means "leave as it is" to chown(2).
const maxOwner = 1<<32 - 2

func owner(id *int) bool { return id == nil || *id >= 0 && int64(*id) <= maxOwner }

// check finds what is wrong with a request by itself, wherever it came from.
func (r *Request) check() error {
	switch {
	case r.Link.ID == "":
		return invalid("url", "a download needs a link")
	case r.DstFolder != "" && !filepath.IsAbs(r.DstFolder):
		return invalid("dst_folder", "must be an absolute path, such as /srv/media")
	case strings.ContainsRune(r.DstFolder, 0), len(r.DstFolder) > 4095:
		return invalid("dst_folder", "is not a path that this system can hold")
	case len(r.Name) > 1024:
		return invalid("name", "is longer than 1024 bytes")
	case r.Publish != "" && r.Publish != PublishFile && r.Publish != PublishPackage:
		return invalid("publish", `must be "file" or "package"`)
	case r.Publish == PublishPackage && r.NoPackageFolder:
		return invalid("publish", `"package" needs a package folder: leave create_package_folder true`)
	case !owner(r.UID):
		return invalid("uid", "must lie between 0 and %d", maxOwner)
	case !owner(r.GID):
		return invalid("gid", "must lie between 0 and %d", maxOwner)
	}
	for _, id := range r.FileIDs {
		if id == "" {
			return invalid("file_ids", "must not hold an empty identifier")
		}
	}
	if r.FileIDs != nil && len(r.FileIDs) == 0 {
		return invalid("file_ids", "is empty; leave it out to download all files")
	}
	return nil
}

// DecodeStrict decodes exactly one JSON object into v. Unknown fields and
// wrong types are *InvalidErrors that name the field.
func DecodeStrict(data []byte, v any) error {
	if err := checkNames(data, v); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(v); err != nil {
		return decodeError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("", "has something after the JSON object")
	}
	return nil
}

// checkNames refuses fields whose names are those of v but for their case,
// which encoding/json takes for the same, and fields that are given twice.
// What else is wrong with data is left for others to find.
func checkNames(data []byte, v any) error {
	known := make(map[string]bool)
	for t, i := reflect.TypeOf(v).Elem(), 0; i < t.NumField(); i++ {
		known[t.Field(i).Tag.Get("json")] = true
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return nil
	}
	given := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil
		}
		if !known[name] {
			return invalid(name, "is not a known field")
		}
		if given[name] {
			return invalid(name, "is given twice")
		}
		given[name] = true
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return nil
		}
	}
	return nil
}

func decodeError(err error) *InvalidError {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		if typ.Field == "" {
			return invalid("", "must be a JSON object, but is of type %s", typ.Value)
		}
		return invalid(typ.Field, "must be %s, but is of type %s", jsonType(typ.Type), typ.Value)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return invalid("", "is not valid JSON at byte %d", syntax.Offset)
	}
	return invalid("", "is not complete JSON")
}

// jsonType names in JSON's words what a field of type t holds.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonType(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "an array of strings"
	default:
		return "a string"
	}
}
