package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"

	"masvfs/fetch"
	"masvfs/rest/api"
)

// problemOf says what a client is told of an error.
func problemOf(err error) *api.Problem {
	var problem *api.Problem
	var invalid *fetch.InvalidError
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &invalid) && invalid.Field != "":
		return invalidField(invalid.Field, invalid.Message)
	case errors.As(err, &invalid):
		return api.NewProblem(api.InvalidRequest, "the body "+invalid.Message)
	case errors.Is(err, fetch.ErrNotFound):
		return api.NewProblem(api.NotFound, "there is no download with this identifier")
	case errors.Is(err, fetch.ErrHangs):
		return api.NewProblem(api.Unavailable, "the disk that holds the download does not answer; this is done as soon as it does")
	case errors.Is(err, fetch.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return api.NewProblem(api.Unavailable, "the agent is stopping; try again when it runs again")
	default:
		return api.NewProblem(api.Internal, "the agent could not do this; its log says why")
	}
}

// invalidField refuses a field of the body or a parameter of the query by
// name. A name that is none, but a link in the wrong place perhaps, is not
// repeated.
func invalidField(name, message string) *api.Problem {
	if !presentable(name) {
		return api.NewProblem(api.InvalidField, "a field of the request "+message)
	}
	p := api.NewProblem(api.InvalidField, name+": "+message)
	p.Field = name
	return p
}

func presentable(name string) bool {
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-', r == '.':
		default:
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// fail answers a call that has failed.
func (s *server) fail(a *answer, r *http.Request, err error) {
	p := problemOf(err)
	if p.Code == api.Internal && r.Context().Err() == nil {
		s.log.Error("call failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if a.begun {
		panic(http.ErrAbortHandler) // the client must not take what it has for the whole
	}
	a.problem(p)
}

// recover turns a panic into a problem: one call's mistake ends no other's.
func (s *server) recover(a *answer, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	// What it was called with might hold a secret; what the runtime says does not.
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	s.log.Error("call panicked", "method", r.Method, "path", r.URL.Path, "panic", what, "stack", string(debug.Stack()))
	if a.begun {
		panic(http.ErrAbortHandler)
	}
	a.problem(api.NewProblem(api.Internal, "the agent failed at this; its log says how"))
}
