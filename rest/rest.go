// Package rest is the HTTP face of the agent: the calls below /api/v1 that
// queue, list, pause, resume and delete downloads.
//
// It owns the routes, the JSON that travels (with package api), the problem
// documents that errors become, and the guard that stands before all of it:
// a local service is reachable from every web page that its user opens, so
// foreign Host names, foreign origins and undeclared bodies are refused, and
// an access token is demanded where one is configured.
//
// It promises that no answer holds a secret, that an answer of any length is
// streamed in constant memory, and that a call that fails in the middle of
// one breaks the connection off rather than leave a shorter list that looks
// whole. It knows nothing of the mount, the database or the MASV cloud.
package rest

import (
	"context"
	"iter"
	"log/slog"
	"net/http"

	"masvfs/fetch"
	"masvfs/fetch/masv"
)

// Agent is what the calls are made of. Its methods are called concurrently.
// Errors that callers are told apart are *fetch.InvalidError,
// fetch.ErrNotFound and fetch.ErrClosed.
type Agent interface {
	Add(ctx context.Context, r fetch.Request) (d fetch.Download, created bool, err error)
	// After returns up to limit downloads by ascending Seq, from the first one after seq.
	After(seq int64, limit int) []fetch.Download
	Get(id string) (fetch.Download, error)
	Files(ctx context.Context, id string) iter.Seq2[fetch.File, error]
	Pause(ctx context.Context, id string) (fetch.Download, error)
	Resume(ctx context.Context, id string, password masv.Secret) (fetch.Download, error)
	PauseAll(ctx context.Context) (changed int, err error)
	ResumeAll(ctx context.Context) (changed int, err error)
	Delete(ctx context.Context, id string, removeFiles bool) error
	RateLimit() (bytesPerSecond int64)
	SetRateLimit(bytesPerSecond int64)
}

// Config says what New serves, and to whom.
type Config struct {
	Agent     Agent
	MountPath string       // absolute folder of the mount; empty: there is none
	Token     masv.Secret  // that every call must bear; empty: none is asked for
	Hosts     []string     // names that clients may call this machine, beside its loopback names and the address that they connected to
	Log       *slog.Logger // nil: slog.Default()
}

// New returns the handler of all calls. It is meant for Serve on a listener
// from Address.Listen: what it knows of the connection, a Unix socket's being private
// among it, it learns from there.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &server{
		agent: cfg.Agent,
		mount: cfg.MountPath,
		guard: newGuard(cfg.Token, cfg.Hosts),
		log:   cfg.Log,
		stall: stallTimeout,
		turns: newTurns(),
	}
	s.router = s.routes()
	return s
}
