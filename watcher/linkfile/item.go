package linkfile

import (
	"encoding/json"
	"errors"
	"strings"

	"masvfs/fetch"
)

// options are the names of the fields that a plain file can set, as its
// error messages list them.
const options = "password, dst_folder, name, priority, file_ids, create_package_folder, bypass_package_quarantine, publish, uid, gid"

// decode turns the JSON form of one request into an item. line and fields
// say where the item and its fields stand.
func decode(raw []byte, line int, fields map[string]int) (Item, error) {
	item := Item{Line: line, fields: fields}
	request, err := fetch.DecodeRequest(raw)
	if err == nil {
		item.Request = request
		return item, nil
	}
	var invalid *fetch.InvalidError
	if !errors.As(err, &invalid) {
		return Item{}, wrong(line, "this is not a request for a download")
	}
	at := item.FieldLine(strings.ToLower(invalid.Field))
	switch {
	case invalid.Field == "" || invalid.Field == "url":
		return Item{}, wrong(at, "%s", invalid.Message)
	case !quotable(invalid.Field):
		return Item{}, wrong(at, "a field is not known: besides url there are %s", options)
	default:
		return Item{}, wrong(at, "%s %s", invalid.Field, invalid.Message)
	}
}

// decodeFields is decode for the forms that are not JSON themselves.
func decodeFields(values map[string]any, line int, fields map[string]int) (Item, error) {
	raw, err := json.Marshal(values)
	if err != nil {
		return Item{}, wrong(line, "this cannot be read")
	}
	return decode(raw, line, fields)
}

// quotable reports whether a name that is not known may be repeated in a
// message: a misspelt option may, a link or a password in its place may not.
func quotable(name string) bool {
	if name == "" || len(name) > 30 {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}
