package transfer

import (
	"context"
	"testing"
	"time"
)

func TestADiskThatHangsTakesNoConnectionFromOtherJobs(t *testing.T) {
	s := newStorage(t)
	e := newEngine(t, Config{Connections: 2, Patience: 50 * time.Millisecond})
	hung := newTape(t, s)
	answers, waiting := make(chan struct{}), make(chan struct{}, 10)
	for id := range int64(3) {
		hung.add(id, s.add(id, 9*mib)).Sink.(*disk).fail = func(op string) error {
			select {
			case waiting <- struct{}{}:
			default: // enough to be counted
			}
			<-answers
			return nil
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		hung.run(e)
	}()
	<-waiting
	well := newTape(t, s)
	well.add(10, s.add(10, 9*mib))
	well.run(e)
	well.verify()
	if n := len(waiting); n > 1 {
		t.Errorf("%d connections more were sent to wait for the disk", n)
	}
	close(answers)
	<-ended
	hung.verify()
}

func TestAStoppedJobEndsWhenItsDiskAnswers(t *testing.T) {
	s := newStorage(t)
	e := newEngine(t, Config{Connections: 2, Patience: 50 * time.Millisecond})
	hung := newTape(t, s)
	answers, waiting := make(chan struct{}), make(chan struct{}, 10)
	hung.add(1, s.add(1, 9*mib)).Sink.(*disk).fail = func(op string) error {
		select {
		case waiting <- struct{}{}:
		default:
		}
		<-answers
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx, Job{Name: "hung", Supply: hung}) }()
	<-waiting
	time.Sleep(200 * time.Millisecond) // so that it does not count any more
	cancel()
	close(answers)
	if err := <-ended; err != context.Canceled {
		t.Errorf("Run: %v", err)
	}
	if busy, _, _ := e.Connections("hung"); busy != 0 || e.busy != 0 || e.leaving != 0 {
		t.Errorf("%d connections are in use, %d of the job", e.busy, busy)
	}
}
