package fusefs

import "sync"

// handles numbers what is open. The zero value is ready.
type handles struct {
	mu   sync.Mutex // guards what follows
	last uint64
	open map[uint64]any
}

func (h *handles) add(what any) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open == nil {
		h.open = make(map[uint64]any)
	}
	h.last++
	h.open[h.last] = what
	return h.last
}

// get returns what a handle stands for, or nil.
func (h *handles) get(handle uint64) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[handle]
}

func (h *handles) remove(handle uint64) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	what := h.open[handle]
	delete(h.open, handle)
	return what
}
