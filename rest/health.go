package rest

import (
	"io"
	"net/http"
)

// healthPath is where those ask who watch over the agent. They need no token,
// and learn nothing but that it answers.
const healthPath = "/healthz"

func health(w *answer, _ call) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, "ok\n") // a client that is gone needs no answer
	return nil
}
