package fetch

import "testing"

func TestASubscriberGetsEventsInOrder(t *testing.T) {
	var h hub
	s := h.subscribe()
	defer s.Close()
	for seq := range int64(100) {
		h.tell(Event{Kind: Added, Seq: seq})
	}
	for seq := range int64(100) {
		if e := <-s.Events(); e.Seq != seq {
			t.Fatalf("got %d in place of %d", e.Seq, seq)
		}
	}
}

func TestASlowSubscriberIsToldThatItLostSome(t *testing.T) {
	var h hub
	s := h.subscribe()
	defer s.Close()
	for seq := range int64(3 * maxQueued) {
		h.tell(Event{Kind: Changed, Seq: seq})
	}
	h.tell(Event{Kind: Removed, ID: "last"})
	lost := false
	for e := range s.Events() {
		lost = lost || e.Kind == Lost
		if e.ID == "last" {
			break
		}
	}
	if !lost {
		t.Error("events were dropped, and nobody said so")
	}
}

func TestAClosedSubscriptionEndsItsChannel(t *testing.T) {
	var h hub
	s := h.subscribe()
	h.tell(Event{Kind: Added})
	s.Close()
	s.Close()
	for range s.Events() {
	}
	h.tell(Event{Kind: Added}) // reaches nobody
}
