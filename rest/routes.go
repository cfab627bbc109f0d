package rest

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/julienschmidt/httprouter"

	"masvfs/rest/api"
)

// server is the handler that New returns.
type server struct {
	agent  Agent
	mount  string
	guard  *guard
	log    *slog.Logger
	stall  time.Duration // see answer
	turns  turns
	router *httprouter.Router
}

// call is a request that is well-formed: its parts are checked and read.
type call struct {
	*http.Request
	id    string     // lower case; empty where the path has none
	query url.Values // known parameters only, each at most once
	body  []byte     // empty: there was none
}

// handler makes a call. An error that it returns becomes a problem.
type handler func(w *answer, c call) error

// route is one line of the API.
type route struct {
	method, path string
	handle       handler
	all          handler // for the id "all"; nil: no download is called that
	query        string  // the one query parameter that there is, if any
	body         bool    // there must be a body
}

// routes makes the router. A GET route answers HEAD too.
//
// "all" is an id like any other to the router: a static path beside a
// parameter makes it panic. Its redirects are off, because a POST that is
// answered with one gets lost in most clients.
func (s *server) routes() *httprouter.Router {
	router := &httprouter.Router{
		HandleMethodNotAllowed: true,
		NotFound:               s.refuse(api.NotFound, "there is nothing at this path; the calls begin with "+api.Prefix+"/downloads"),
		MethodNotAllowed:       http.HandlerFunc(s.methodNotAllowed),
	}
	for _, r := range []route{
		{method: http.MethodPost, path: api.Prefix + "/downloads", handle: s.add, body: true},
		{method: http.MethodGet, path: api.Prefix + "/downloads", handle: s.list, query: "state"},
		{method: http.MethodGet, path: api.Prefix + "/downloads/:id", handle: s.get, query: "files"},
		{method: http.MethodPost, path: api.Prefix + "/downloads/:id/pause", handle: s.pause, all: s.pauseAll},
		{method: http.MethodPost, path: api.Prefix + "/downloads/:id/resume", handle: s.resume, all: s.resumeAll},
		{method: http.MethodDelete, path: api.Prefix + "/downloads/:id", handle: s.remove},
		{method: http.MethodGet, path: api.Prefix + "/settings", handle: s.settings},
		{method: http.MethodPatch, path: api.Prefix + "/settings", handle: s.set, body: true},
		{method: http.MethodGet, path: healthPath, handle: health},
	} {
		router.Handle(r.method, r.path, s.serve(r))
		if r.method == http.MethodGet {
			router.Handle(http.MethodHead, r.path, s.serve(r))
		}
	}
	return router
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := newAnswer(w, r, s.stall, s.turns)
	defer s.recover(a, r)
	a.limitBody()
	if p := s.guard.check(r); p != nil {
		a.problem(p)
		return
	}
	// No path of the API needs an escape, and the router sees paths without
	// them: to it, "a%2fpause" were the call "pause" on "a".
	if strings.Contains(r.URL.EscapedPath(), "%") {
		s.router.NotFound.ServeHTTP(a, r)
		return
	}
	s.router.ServeHTTP(a, r)
}

// serve checks and reads the parts of a request, then calls the handler.
func (s *server) serve(route route) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, params httprouter.Params) {
		a := w.(*answer) // ServeHTTP made it
		c, handle, err := s.accept(a, r, route, params.ByName("id"))
		if err == nil {
			err = handle(a, c)
		}
		if err != nil {
			s.fail(a, r, err)
		}
	}
}

func (s *server) accept(a *answer, r *http.Request, route route, id string) (c call, handle handler, err error) {
	c.Request = r
	// The body first, whatever becomes of the call: the connection is of no
	// further use before it is read.
	if c.body, err = readBody(a, r, route.body); err != nil {
		return c, nil, err
	}
	if c.query, err = parseQuery(r.URL.RawQuery, route.query); err != nil {
		return c, nil, err
	}
	switch {
	case id == "":
		return c, route.handle, nil
	case id == "all" && route.all != nil:
		return c, route.all, nil
	}
	// uuid.Parse knows other spellings too, which are not identifiers here.
	u, err := uuid.Parse(id)
	if err != nil || len(id) != 36 {
		return c, nil, api.NewProblem(api.NotFound, "there is no such download: an identifier looks like 123e4567-e89b-12d3-a456-426614174000")
	}
	c.id = u.String()
	return c, route.handle, nil
}

// parseQuery refuses parameters that the call does not have.
func parseQuery(raw, known string) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, api.NewProblem(api.InvalidRequest, "the query, after the ? of the address, is malformed")
	}
	for name, values := range q {
		switch {
		case known == "" || name != known:
			return nil, invalidField(name, "is not a parameter of this call")
		case len(values) > 1:
			return nil, invalidField(name, "is given more than once")
		}
	}
	return q, nil
}

// refuse answers every request with a problem.
func (s *server) refuse(code api.Code, detail string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(*answer).problem(api.NewProblem(code, detail))
	})
}

func (s *server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	// The router claims OPTIONS for every path; it answers none, for without
	// CORS there is nothing to ask.
	allow := strings.Split(w.Header().Get("Allow"), ", ")
	allow = slices.DeleteFunc(allow, func(m string) bool { return m == http.MethodOptions })
	w.Header().Set("Allow", strings.Join(allow, ", "))
	detail := fmt.Sprintf("this path takes %s only", strings.Join(allow, ", "))
	s.refuse(api.MethodNotAllowed, detail).ServeHTTP(w, r)
}
