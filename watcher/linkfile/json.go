package linkfile

import (
	"encoding/json"
	"errors"
	"strings"
)

// parseJSON reads one object, or an array of objects, with the fields of a
// REST request.
func parseJSON(text string) ([]Item, error) {
	// The syntax is checked first and as a whole: only so the offset of an
	// error is one within the file.
	var all json.RawMessage
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		at := len(text)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && int(syntax.Offset) < len(text) {
			at = max(0, int(syntax.Offset)-1) // Offset counts the offending byte
		}
		return nil, wrong(1+strings.Count(text[:at], "\n"), "this is not valid JSON")
	}
	lines := lineCounter{text: text, line: 1}
	dec := json.NewDecoder(strings.NewReader(text))
	if strings.TrimSpace(text)[0] == '{' {
		item, err := parseObject(dec, &lines)
		if err != nil {
			return nil, err
		}
		return []Item{item}, nil
	}
	if _, err := dec.Token(); err != nil {
		return nil, wrong(1, "this is not valid JSON")
	}
	var items []Item
	for dec.More() {
		item, err := parseObject(dec, &lines)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return nil, wrong(1, "the file is an empty array: write the link that MASV sent into it")
	}
	return items, nil
}

// parseObject reads the next value of dec as a request.
func parseObject(dec *json.Decoder, lines *lineCounter) (Item, error) {
	// The decoder stands behind the value before: a comma and blanks follow.
	start := int(dec.InputOffset())
	start += len(lines.text[start:]) - len(strings.TrimLeft(lines.text[start:], ", \t\r\n"))
	line := lines.at(start)
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return Item{}, wrong(line, "this is not valid JSON")
	}
	fields := make(map[string]int)
	keys := json.NewDecoder(strings.NewReader(string(raw)))
	if first, err := keys.Token(); err == nil && first == json.Delim('{') {
		for keys.More() {
			key, err := keys.Token()
			if err != nil {
				return Item{}, wrong(line, "this is not valid JSON")
			}
			at := lines.at(start + int(keys.InputOffset()))
			name, _ := key.(string)
			name = strings.ToLower(name) // as encoding/json compares them
			if before, ok := fields[name]; ok {
				return Item{}, wrong(at, "a field is given twice for one link, on line %d too", before)
			}
			fields[name] = at
			var value json.RawMessage
			if err := keys.Decode(&value); err != nil {
				return Item{}, wrong(at, "this is not valid JSON")
			}
		}
	}
	return decode(raw, line, fields)
}

// lineCounter gives the line numbers of ascending offsets into a text.
type lineCounter struct {
	text   string
	offset int
	line   int
}

func (c *lineCounter) at(offset int) int {
	if offset > c.offset {
		c.line += strings.Count(c.text[c.offset:offset], "\n")
		c.offset = offset
	}
	return c.line
}
