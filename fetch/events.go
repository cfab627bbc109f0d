package fetch

import (
	"context"
	"sync"
	"time"
)

// EventKind says what an Event tells.
type EventKind int

// The kinds of events.
const (
	Added    EventKind = iota // a download is there
	Changed                   // its state, problem or place in the queue is another; it was in state Was
	Renamed                   // its name is another; OldName is what it was
	Removed                   // it is forgotten, and gone from lists and names
	Appeared                  // Node, a finished file or a folder, stands in Folder
	Lost                      // the subscriber was too slow and missed some: look at everything again
)

// Event tells a subscriber of something that has happened and is durable.
type Event struct {
	Kind    EventKind
	ID      string // of the download; empty for Lost
	Seq     int64  // of the download
	Name    string
	OldName string
	State   State
	Was     State
	Folder  int64 // Node.ID of the folder; 0: the root of the download's tree
	Node    int64
	Dir     bool // Node is a folder
}

// Audience is told of everything that happens, when it is durable and in the
// order in which it happened, without loss. The mount is one.
type Audience interface {
	// Tell returns at once; it may call the agent, but nothing that waits.
	Tell(Event)
	// Settle returns when all that was told of a download has been passed on,
	// or when ctx ends. Until then what is recorded of it stays, and a
	// download whose files are all there is not complete.
	Settle(ctx context.Context, seq int64)
}

// Address has an audience told of all that happens from now on. It is called
// before Run, at most once.
func (a *Agent) Address(to Audience) { a.hub.audience = to }

// maxQueued bounds the events that wait for one slow subscriber.
const maxQueued = 4096

// Subscription delivers events in the order in which they happened. A slow
// subscriber never holds the agent up: it loses events and gets a Lost.
type Subscription struct {
	hub    *hub
	events chan Event
	wake   chan struct{}
	done   chan struct{}
	ended  chan struct{}
	once   sync.Once

	mu     sync.Mutex // guards queued
	queued []Event
}

// Events returns the channel on which events arrive. It is closed by Close.
func (s *Subscription) Events() <-chan Event { return s.events }

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.once.Do(func() {
		s.hub.remove(s)
		close(s.done)
	})
	<-s.ended
}

func (s *Subscription) put(e Event) {
	s.mu.Lock()
	if len(s.queued) >= maxQueued {
		s.queued = append(s.queued[:0], Event{Kind: Lost}, e)
	} else {
		s.queued = append(s.queued, e)
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pump moves events from the queue to the channel until the subscription is closed.
func (s *Subscription) pump() {
	defer close(s.ended)
	defer close(s.events)
	for {
		s.mu.Lock()
		batch := s.queued
		s.queued = nil
		s.mu.Unlock()
		for _, e := range batch {
			select {
			case s.events <- e:
			case <-s.done:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-s.wake:
		case <-s.done:
			return
		}
	}
}

// settleTime bounds how long a download waits for the audience. Those who watch
// the mount may be told less, or later, if somebody keeps it from answering.
const settleTime = 15 * time.Second

// await waits until the audience has passed on what it was told of d.
func (h *hub) await(ctx context.Context, d *download) {
	if h.audience == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	h.audience.Settle(ctx, d.seq)
}

// hub hands events to subscriptions.
type hub struct {
	audience Audience // nil, or fixed before anything is told

	mu   sync.Mutex // guards subs
	subs map[*Subscription]struct{}
}

func (h *hub) subscribe() *Subscription {
	s := &Subscription{
		hub:    h,
		events: make(chan Event),
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		ended:  make(chan struct{}),
	}
	h.mu.Lock()
	if h.subs == nil {
		h.subs = make(map[*Subscription]struct{})
	}
	h.subs[s] = struct{}{}
	h.mu.Unlock()
	go s.pump()
	return s
}

func (h *hub) remove(s *Subscription) {
	h.mu.Lock()
	delete(h.subs, s)
	h.mu.Unlock()
}

// tell hands e to the audience and to everybody who has subscribed, without
// waiting for anybody.
func (h *hub) tell(e Event) {
	if h.audience != nil {
		h.audience.Tell(e)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.put(e)
	}
}
