package connector

import (
	"context"
	"os"
	"sync"
	"time"
)

// misses is how many questions for health in a row may go unanswered.
const misses = 3

// watch returns when the program has ended, hangs, or has left its stream, saying
// so; or nil when ctx ends.
func (s *session) watch(ctx context.Context) *failure {
	hung := make(chan *failure, 1)
	health, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.checkHealth(health, hung) })
	defer wg.Wait()
	defer cancel()
	select {
	case <-s.proc.exited:
		return s.explain(failed(reasonExit, "program ended"))
	case <-s.stream.Done():
		return s.explain(failed(reasonStream, "stream ended: %w", s.stream.Err()))
	case f := <-hung:
		return f
	case <-ctx.Done():
		return nil
	}
}

func (s *session) checkHealth(ctx context.Context, hung chan<- *failure) {
	t := s.p.cfg.Timing
	tick := time.NewTicker(t.Health)
	defer tick.Stop()
	missed := 0
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if stalled := s.stream.Stalled(); stalled > t.Stall {
			hung <- failed(reasonHung, "no result for %s", stalled.Round(time.Second))
			return
		}
		call, cancel := context.WithTimeout(ctx, t.HealthTimeout)
		h, err := s.peer.Health(call)
		cancel()
		switch {
		case err == nil && h.Serving:
			missed = 0
			continue
		case err == nil:
			err = failed(reasonHung, "not serving %s", h.Reason)
		}
		if missed++; missed >= misses {
			hung <- failed(reasonHung, "no sign of health %d times: %w", misses, err)
			return
		}
	}
}

// finish ends a healthy program with patience: what is in flight is answered, the
// connector stops, the process exits. rush ends the patience.
func (s *session) finish(rush context.Context) {
	t := s.p.cfg.Timing
	drain, cancel := context.WithTimeout(rush, t.Drain)
	defer cancel()
	stop := s.cancelOnExit(cancel)
	answers, done := context.WithTimeout(drain, t.Drain*4/5) // the rest is for the connector's own Stop
	s.stream.Finish(answers)
	done()
	if err := s.peer.Drain(drain); err != nil && rush.Err() == nil {
		s.p.log.Warn("connector did not drain", "err", err)
	}
	stop()
	s.end(rush)
}

// kill ends the process group at once.
func (s *session) kill() {
	if s != nil && s.proc != nil {
		s.proc.kill()
	}
}

// end makes sure that the process is gone and releases everything. It is
// called once, on a session that may be nil or half made. A program that has not ended by itself is
// told to, and killed after a while, or at once when rush has ended.
func (s *session) end(rush context.Context) {
	if s == nil {
		return
	}
	if s.stream != nil {
		s.stream.Close()
	}
	if s.client != nil {
		client, killed := s.client, make(chan struct{})
		go func() { defer close(killed); client.Kill() }() // blocks while the process lives
		select {
		case <-killed:
		case <-rush.Done():
		case <-time.After(s.p.cfg.Timing.Kill):
		}
		s.proc.kill()
		select {
		case <-killed:
		case <-time.After(5 * time.Second):
			s.p.log.Error("connector cannot be cleaned up", "pid", s.proc.PID())
		}
	}
	if s.peer != nil {
		s.peer.Close()
	}
	if s.bin != nil {
		_ = s.bin.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}
