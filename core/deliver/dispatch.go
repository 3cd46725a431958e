package deliver

import (
	"context"
	"time"

	"github.com/wildcathub/wildcat/core/config"
)

// dispatcher starts attempts whenever something may have become due. ctx ends it;
// attemptCtx is what attempts run under.
func (o *Outbox) dispatcher(ctx, attemptCtx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for first := 0; ; first++ {
		o.mu.Lock()
		wake := o.pass(ctx, attemptCtx, first)
		now := o.now()
		o.mu.Unlock()
		d := time.Hour
		if !wake.IsZero() {
			d = max(wake.Sub(now), 0)
		}
		timer.Reset(d)
		select {
		case <-ctx.Done():
			return
		case <-o.dispatchWake:
		case <-timer.C:
		}
	}
}

// pass asks every endpoint once, beginning with another one each time so that none
// is served last for ever, and returns when to look again.
func (o *Outbox) pass(ctx, attemptCtx context.Context, first int) (wake time.Time) {
	now := o.now()
	for i := range o.order {
		ep := o.order[(first+i)%len(o.order)]
		if o.stopping || ep.disabled || ep.leaving {
			continue
		}
		if !ep.scanning && !ep.scan.After(now) {
			o.startScan(ctx, ep)
		}
		ep.wake(now)
		for {
			j, ok := o.pick(ep, now)
			if !ok {
				break
			}
			go o.work(attemptCtx, j)
		}
		wake = earliest(wake, ep.nextLook(now))
	}
	o.startLoads(ctx)
	return wake
}

// nextLook is when the passing of time alone may give the endpoint something to do.
func (ep *endpoint) nextLook(now time.Time) time.Time {
	var at time.Time
	if !ep.scanning {
		at = ep.scan
	}
	switch {
	case ep.pausedUntil.After(now):
		at = earliest(at, ep.pausedUntil)
	case ep.breaker.open:
		if ep.breaker.at.After(now) {
			at = earliest(at, ep.breaker.at)
		}
	case len(ep.waiting) > 0:
		at = earliest(at, ep.waiting[0].due)
	}
	return at
}

// earliest returns the earlier of two times, where zero is no time.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// job is one attempt to make.
type job struct {
	ep      *endpoint
	lane    *lane
	it      *item
	epoch   uint64 // of the lease under which it is made
	probe   bool
	ordered bool
}

// free reports whether the endpoint may have one more attempt under way. No endpoint
// may hold more than twice what is left, so that a few slow ones together cannot
// take everything.
func (o *Outbox) free(ep *endpoint) bool {
	left := o.cfg.InFlight - o.flying
	return left > 0 && ep.flying < ep.window &&
		(ep.flying == 0 || ep.flying < 2*left) &&
		o.flying+o.unflushed < o.cfg.InFlight+maxUnflushed
}

// pick takes the endpoint's next delivery and counts it as under way.
func (o *Outbox) pick(ep *endpoint, now time.Time) (job, bool) {
	if o.stopping || ep.disabled || ep.leaving || now.Before(ep.pausedUntil) || !o.free(ep) {
		return job{}, false
	}
	if ep.breaker.open {
		if ep.flying > 0 || now.Before(ep.breaker.at) {
			return job{}, false
		}
		return o.pickProbe(ep, now)
	}
	for len(ep.ready) > 0 {
		l := ep.shift()
		if o.strange(ep, l, now) {
			continue
		}
		it, _ := l.next(now, ep.Ordering)
		if it == nil {
			o.refill(l)
			ep.place(l, now)
			continue
		}
		return o.launch(ep, l, it, now), true
	}
	return job{}, false
}

// pickProbe takes the head that has waited longest, whether due or not: the ready
// ones first, so that after a failure another chat is tried, and one event that the
// receiver cannot bear does not keep the breaker open.
func (o *Outbox) pickProbe(ep *endpoint, now time.Time) (job, bool) {
	for len(ep.ready) > 0 {
		l := ep.shift()
		if o.strange(ep, l, now) {
			continue
		}
		if it, _ := l.next(now, ep.Ordering); it != nil {
			j := o.launch(ep, l, it, now)
			j.probe = true
			return j, true
		}
		o.refill(l)
		ep.place(l, now)
	}
	if len(ep.waiting) == 0 {
		return job{}, false
	}
	l := ep.waiting[0]
	it, _ := l.next(l.due, ep.Ordering)
	if it == nil || !o.mine(l.partition) {
		return job{}, false
	}
	ep.unwait(l)
	j := o.launch(ep, l, it, now)
	j.probe = true
	return j, true
}

// shift takes the first ready lane.
func (ep *endpoint) shift() *lane {
	l := ep.ready[0]
	ep.ready[0] = nil
	ep.ready = ep.ready[1:]
	l.where = nowhere
	return l
}

func (o *Outbox) launch(ep *endpoint, l *lane, it *item, now time.Time) job {
	it.flying = true
	l.flying++
	ep.flying++
	o.flying++
	o.attempts.Add(1)
	j := job{ep: ep, lane: l, it: it, epoch: o.fence(l.partition), ordered: l.ordered(it)}
	if l.fresh() <= laneLow {
		o.refill(l)
	}
	if ep.Ordering == config.OrderingNone {
		ep.place(l, now)
	}
	return j
}
