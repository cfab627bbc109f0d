package masvtest

import (
	"net/http"
	"strconv"
)

// listingBuffer is how much of a listing is sent at once (bytes).
const listingBuffer = 64 << 10

// serveListing streams the entries of a package: a million of them are never
// held at once.
func (s *Server) serveListing(w http.ResponseWriter, r *http.Request, packageID string) {
	s.mu.Lock()
	sh := s.packages[packageID]
	s.mu.Unlock()
	req := Request{Call: CallListing, PackageID: packageID, Index: -1}
	if sh != nil {
		req.LinkID, req.serial, req.N = sh.link.ID, sh.serial, sh.called(CallListing)
	}
	a, ok := s.answer(w, r, req)
	if !ok || !a.authorise(sh) || a.tooSoon(sh) {
		return
	}
	p := sh.snapshot()
	w.Header().Set("Content-Type", "application/json")
	a.begin(http.StatusOK)
	b := append(make([]byte, 0, listingBuffer+4096), '[')
	for i := range p.count() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendEntry(b, sh.file(&p, i))
		if len(b) >= listingBuffer {
			if _, err := a.Write(b); err != nil {
				return // the client hung up, or a fault ended it
			}
			b = b[:0]
		}
	}
	a.Write(append(b, "]\n"...)) // nothing follows that an error could stop
}

// appendEntry appends an entry of the listing as JSON.
func appendEntry(b []byte, f File) []byte {
	b = appendString(append(b, `{"id":`...), f.ID)
	b = appendString(append(b, `,"kind":`...), f.Kind)
	b = appendString(append(b, `,"name":`...), f.Name)
	if f.Path != "" {
		b = appendString(append(b, `,"path":`...), f.Path)
	}
	if f.Kind != "directory" {
		b = strconv.AppendInt(append(b, `,"size":`...), f.Size, 10)
		b = append(appendTimestamp(append(b, `,"last_modified":"`...), f.LastModified), '"')
		b = strconv.AppendBool(append(b, `,"virus_detected":`...), f.VirusDetected)
	}
	return append(b, '}')
}

// appendString appends a JSON string. Unlike encoding/json it passes invalid
// UTF-8 on as it is: names come from senders, who are not trusted.
func appendString(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
