package connector

import (
	"context"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

// failure is why a program does not run.
type failure struct {
	reason    string
	permanent bool // starting it again changes nothing
	err       error
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.err }

func failed(reason string, format string, args ...any) *failure {
	return &failure{reason: reason, err: fmt.Errorf(format, args...)}
}

func hopeless(reason string, format string, args ...any) *failure {
	return &failure{reason: reason, permanent: true, err: fmt.Errorf(format, args...)}
}

// supervise keeps the program running until ctx ends. first gets the outcome of the
// first start. When rush ends, nothing is waited for any longer.
func (p *Process) supervise(ctx, rush context.Context, host sdk.Host, first chan<- error) {
	defer close(p.finished)
	up := p.m.up.WithLabelValues(p.cfg.Name)
	restarts := p.m.restarts.WithLabelValues(p.cfg.Name)
	defer up.Set(0)
	plan := schedule{t: p.cfg.Timing, random: p.deps.Random}
	for n := 0; ; n++ {
		if n > 0 {
			restarts.Inc()
		}
		p.set(Status{State: StateStarting, Restarts: n})
		s, fail := p.launch(ctx, host)
		var healthy time.Duration
		if fail == nil {
			began := p.deps.Now()
			p.ready(s)
			up.Set(1)
			settle(first, nil)
			fail = s.watch(ctx)
			up.Set(0)
			healthy = p.deps.Now().Sub(began)
			if fail == nil { // asked to stop
				p.set(Status{State: StateStopped})
				s.finish(rush)
				p.log.Info("connector stopped")
				return
			}
		}
		s.kill() // what hangs is not asked
		if ctx.Err() != nil {
			p.set(Status{State: StateStopped})
			s.end(rush)
			return
		}
		wait, gaveUp := plan.next(p.deps.Now(), healthy, fail.permanent)
		p.down(fail, wait, gaveUp)
		s.end(rush) // after the status, so that no delivery waits for the cleaning up
		if fail.permanent {
			settle(first, fail)
		}
		settle(first, nil)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-p.again:
			timer.Stop()
			p.log.Info("connector is started now, as was asked for")
		case <-ctx.Done():
			timer.Stop()
			p.set(Status{State: StateStopped})
			return
		}
	}
}

// settle tells Start the outcome, once.
func settle(first chan<- error, err error) {
	select {
	case first <- err:
	default:
	}
}

func (p *Process) ready(s *session) {
	pid := s.proc.PID()
	p.mu.Lock()
	p.info, p.stream = s.info, s.stream
	p.mu.Unlock()
	p.set(Status{State: StateReady, PID: pid})
	p.log.Info("connector ready", "pid", pid, "type", s.info.Type, "version", s.info.Version)
}

func (p *Process) down(fail *failure, wait time.Duration, gaveUp bool) {
	next := p.deps.Now().Add(wait)
	s := Status{State: StateWaiting, Reason: fail.reason, LastError: fail.Error(), NextStart: &next}
	if gaveUp {
		s.State = StateFailed
		if !fail.permanent {
			s.Reason = reasonLoop
		}
		p.log.Error("connector failed", "reason", s.Reason, "err", fail, "next_start", wait)
	} else {
		p.log.Warn("connector ended and is started again", "reason", s.Reason, "err", fail, "next_start", wait)
	}
	p.set(s)
}
