package rest

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"masvfs/fetch"
	"masvfs/rest/api"
)

// maxBody is the size of the largest body that is read, as of a link file.
const maxBody = 1 << 20

// readBody reads the body of a request whole. A body must be declared to be
// JSON: a web page cannot do that on another site's behalf without asking
// first, and the guard says no. Nothing but white space is no body.
func readBody(a *answer, r *http.Request, needed bool) ([]byte, error) {
	if r.ContentLength > maxBody {
		return nil, errTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if errors.As(err, new(*http.MaxBytesError)) {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, api.NewProblem(api.InvalidRequest, "the body of the request did not arrive whole")
	}
	a.bodyRead()
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, nil // RFC 9110, 9.3.1: such content has no meaning
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 || needed {
		if err := checkContentType(r.Header); err != nil {
			return nil, err
		}
	}
	if len(body) == 0 && needed {
		return nil, api.NewProblem(api.InvalidRequest, `this call needs a JSON object as its body, such as {"url": "https://get.massive.io/ID?secret=SECRET"}`)
	}
	return body, nil
}

var errTooLarge = api.NewProblem(api.BodyTooLarge, "the body of the request is larger than 1 MiB")

func checkContentType(h http.Header) error {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return api.NewProblem(api.UnsupportedMediaType, "the body must not be compressed")
	}
	typ, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || typ != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return api.NewProblem(api.UnsupportedMediaType, "the body must be JSON in UTF-8 and say so; send the header Content-Type: application/json")
	}
	return nil
}

// decodeOptional decodes a body into v, if there is one.
func decodeOptional(body []byte, v any) error {
	if len(body) == 0 {
		return nil
	}
	return fetch.DecodeStrict(body, v)
}
