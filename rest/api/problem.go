package api

import "net/http"

// Problem is an RFC 9457 problem document, and an error. Its type member is
// left out, which means about:blank: Title is the status in words, Code what
// programs go by, Detail what people read.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`          // what is wrong and what to do about it, without secrets
	Code   Code   `json:"code"`            // stable
	Field  string `json:"field,omitempty"` // the field or query parameter that is wrong
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// Code names a kind of Problem. Codes are stable: programs may rely on them.
type Code string

// The codes, with the status that each comes with.
const (
	InvalidRequest       Code = "invalid_request"        // 400: the body or the query as a whole makes no sense
	InvalidField         Code = "invalid_field"          // 400: Field is unknown, or holds what it cannot
	Unauthorized         Code = "unauthorized"           // 401: the access token is missing or wrong
	ForbiddenHost        Code = "forbidden_host"         // 403: the Host header names another machine
	ForbiddenOrigin      Code = "forbidden_origin"       // 403: a web page of another site asks
	NotFound             Code = "not_found"              // 404: no such download, or no such path
	MethodNotAllowed     Code = "method_not_allowed"     // 405: the path is right, the method is not; see Allow
	BodyTooLarge         Code = "body_too_large"         // 413: the body is larger than 1 MiB
	UnsupportedMediaType Code = "unsupported_media_type" // 415: the body is not declared to be JSON
	Internal             Code = "internal"               // 500: the agent failed; its log says how
	Unavailable          Code = "unavailable"            // 503: the agent is stopping, or a disk does not answer
)

var statuses = map[Code]int{
	InvalidRequest:       http.StatusBadRequest,
	InvalidField:         http.StatusBadRequest,
	Unauthorized:         http.StatusUnauthorized,
	ForbiddenHost:        http.StatusForbidden,
	ForbiddenOrigin:      http.StatusForbidden,
	NotFound:             http.StatusNotFound,
	MethodNotAllowed:     http.StatusMethodNotAllowed,
	BodyTooLarge:         http.StatusRequestEntityTooLarge,
	UnsupportedMediaType: http.StatusUnsupportedMediaType,
	Internal:             http.StatusInternalServerError,
	Unavailable:          http.StatusServiceUnavailable,
}

// Status returns the HTTP status that comes with a code.
func (c Code) Status() int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// NewProblem returns the problem of a code, with its status and title.
func NewProblem(code Code, detail string) *Problem {
	return &Problem{Title: http.StatusText(code.Status()), Status: code.Status(), Detail: detail, Code: code}
}
