package masvtest

import (
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

const keyPrefix = "/objects/"

// objectKey is the path of a file's object.
func objectKey(packageID, id string) string {
	return keyPrefix + url.PathEscape(packageID) + "/" + url.PathEscape(id)
}

// serveStorage answers for the object storage.
func (s *Server) serveStorage(w http.ResponseWriter, r *http.Request) {
	req := Request{Call: CallStorage, Method: r.Method, Index: -1}
	var packageID string
	if key, ok := strings.CutPrefix(r.URL.EscapedPath(), keyPrefix); ok {
		first, second, _ := strings.Cut(key, "/")
		packageID, _ = url.PathUnescape(first) // net/http has parsed them already
		req.FileID, _ = url.PathUnescape(second)
	}
	if leaked := leaks(r); leaked != nil {
		s.counts.leak(leaked)
		s.counts.called(CallStorage)
		a := &answer{server: s, w: w, r: r, call: CallStorage}
		a.storageError(http.StatusBadRequest, "InvalidArgument", "not for this host: "+strings.Join(leaked, ", "))
		return
	}
	s.mu.Lock()
	sh := s.packages[packageID]
	s.mu.Unlock()
	var f File
	if sh != nil {
		req.LinkID, req.PackageID, req.serial = sh.link.ID, packageID, sh.serial
		req.Index = sh.index(req.FileID)
	}
	if req.Index >= 0 {
		p := sh.snapshot()
		f = sh.file(&p, req.Index)
		asked := parseRange(r.Header.Get("Range"), f.Size)
		req.Path, req.N = joined(f), sh.fileCalled(req.Index, CallStorage)
		req.Ranged, req.Offset, req.Length = asked.ranged, asked.offset, asked.length
	}
	a, ok := s.answer(w, r, req)
	switch {
	case !ok:
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		a.storageError(http.StatusMethodNotAllowed, "MethodNotAllowed", "the method is not allowed against this resource")
	case !a.signed(sh, objectKey(packageID, req.FileID)):
	case req.Index < 0:
		a.storageError(http.StatusNotFound, "NoSuchKey", "the key does not exist")
	default:
		a.serveFile(sh, req.Index, f)
	}
}

// leaks names what a request carries that only the API may see.
func leaks(r *http.Request) (names []string) {
	for _, name := range []string{"X-Package-Token", "X-Link-Password", "Authorization", "Cookie", "Referer"} {
		if _, ok := r.Header[name]; ok {
			names = append(names, name)
		}
	}
	if r.URL.Query().Has("secret") {
		names = append(names, "secret")
	}
	return names
}

// signed checks a pre-signed URL, and answers if it is forged or expired.
func (a *answer) signed(sh *shared, key string) bool {
	epoch, err := a.server.signer.checkQuery(key, a.r.URL.Query(), a.server.now())
	if err == nil && sh != nil {
		sh.mu.Lock()
		if epoch < sh.urls {
			err = errExpired
		}
		sh.mu.Unlock()
	}
	switch {
	case errors.Is(err, errExpired):
		a.storageError(http.StatusForbidden, "AccessDenied", "Request has expired")
	case err != nil:
		a.storageError(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature does not match")
	}
	return err == nil
}

// storageError answers with an error as S3 has it.
func (a *answer) storageError(status int, code, message string) {
	text, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: message})
	if err != nil {
		panic(err) // strings only
	}
	a.body(status, "application/xml", xml.Header+string(text))
}

// serveFile answers with a file's content.
func (a *answer) serveFile(sh *shared, index int, f File) {
	if seed := a.fault.NewSeed; seed != 0 {
		sh.replace(index, seed)
		f.Seed, f.Open = seed, nil
	}
	o, err := f.open(sh.created)
	if errors.Is(err, fs.ErrNotExist) {
		a.storageError(http.StatusNotFound, "NoSuchKey", "the key does not exist")
		return
	}
	if err != nil {
		a.storageError(http.StatusInternalServerError, "InternalError", "the object cannot be read")
		return
	}
	defer o.close()

	h := a.w.Header()
	h.Set("Etag", o.etag)
	h.Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	if !matches(a.r.Header.Get("If-Match"), o.etag) {
		a.storageError(http.StatusPreconditionFailed, "PreconditionFailed", "the object is another now")
		return
	}
	asked := byteRange{length: o.size}
	if a.r.Method == http.MethodGet && !a.fault.Whole && rangeStands(a.r.Header.Get("If-Range"), o.etag, o.modified) {
		asked = parseRange(a.r.Header.Get("Range"), o.size)
	}
	if asked.unsatisfiable {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", o.size))
		a.storageError(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "the range is not satisfiable")
		return
	}
	status := http.StatusOK
	if asked.ranged {
		status = http.StatusPartialContent
		asked.offset = min(max(asked.offset+a.fault.Shift, 0), o.size-1)
		asked.length = min(asked.length, o.size-asked.offset)
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", asked.offset, asked.offset+asked.length-1, o.size))
	}
	length := max(0, asked.length+a.fault.ExtraBytes)
	h.Set("Content-Type", "application/octet-stream")
	if a.fault.Gzip {
		h.Set("Content-Encoding", "gzip")
	} else {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	a.begin(status)
	if a.r.Method == http.MethodHead {
		return
	}
	offset, counted := asked.offset, asked.offset
	note := func(n int64) {
		twice := sh.served(index, counted, n, o.size)
		a.server.counts.served.Add(n)
		a.server.counts.twice.Add(twice)
		counted += n
	}
	// What stops the body early needs no answer: the client hung up, the file
	// shrank or a fault cut it. net/http closes the connection then.
	switch {
	case a.fault.Gzip:
		z := gzip.NewWriter(a)
		note(length) // of what went in, not of what comes out
		if sendContent(z, o, offset, length) == nil {
			z.Close()
		}
	case o.file != nil && a.r.TLS == nil && a.plain() && length <= o.size-offset:
		a.sendFile(o, offset, length, note)
	default:
		a.note = note
		sendContent(a, o, offset, length)
	}
}

var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// sendContent writes content to w.
func sendContent(w io.Writer, o *object, offset, length int64) error {
	buffer := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buffer)
	for length > 0 {
		p := buffer[:min(length, int64(len(buffer)))]
		if err := o.fill(p, offset); err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		offset, length = offset+int64(len(p)), length-int64(len(p))
	}
	return nil
}

// sendPiece is how much of a file goes out between two looks at the counters.
const sendPiece = 1 << 20

// sendFile hands a file to net/http in the form that it knows to send by
// sendfile.
func (a *answer) sendFile(o *object, offset, length int64, note func(int64)) {
	if _, err := o.file.Seek(offset, io.SeekStart); err != nil {
		return
	}
	for length > 0 {
		piece := min(length, sendPiece)
		note(piece) // before the client has them, so that it finds them counted
		if _, err := io.CopyN(a.w, o.file, piece); err != nil {
			return
		}
		length -= piece
	}
}
