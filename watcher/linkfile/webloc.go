package linkfile

import (
	"bytes"
	"encoding/xml"
)

// parseWebloc reads what macOS makes of a link: a property list, in XML or
// binary, with the link under "URL" in its outermost dictionary.
//
// Both are read here and not by a property list library, because only one
// string is wanted and the file may be hostile: what was tried recursed once
// a level, hung on some inputs and trusted lengths that wrap around.
func parseWebloc(data []byte) ([]Item, error) {
	var link string
	var line int
	if bytes.HasPrefix(data, []byte(binaryMagic)) {
		link = urlOfBinaryList(data)
	} else {
		link, line = urlOfXMLList(data)
	}
	if link == "" {
		return nil, ErrNotOurs
	}
	return parseShortcut(link, line)
}

// urlOfXMLList finds plist/dict/string behind plist/dict/key "URL", and its
// line; no link where there is none, or no such list.
func urlOfXMLList(data []byte) (link string, line int) {
	dec := xml.NewDecoder(bytes.NewReader(data))
	var path []string // names of the open elements, as far as they matter
	var depth int
	var text []byte
	var key string
	for {
		token, err := dec.Token()
		if err != nil {
			return "", 0
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth < 3 {
				path = append(path[:depth], token.Name.Local)
			}
			depth++
			text = text[:0]
			line, _ = dec.InputPos()
		case xml.CharData:
			if depth == 3 {
				text = append(text, token...)
			}
		case xml.EndElement:
			if depth == 3 && path[0] == "plist" && path[1] == "dict" {
				switch {
				case path[2] == "key":
					key = string(text)
				case path[2] == "string" && key == "URL":
					return string(text), line
				default:
					key = ""
				}
			}
			depth--
		}
	}
}
