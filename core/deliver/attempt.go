package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// work makes attempts for one endpoint until it has none left to make.
func (o *Outbox) work(ctx context.Context, j job) {
	defer o.attempts.Done()
	for {
		o.one(ctx, j)
		// The next one takes over this goroutine. launch counted it as one of its own.
		o.mu.Lock()
		next, ok := o.pick(j.ep, o.now())
		loads := len(o.loads) > 0
		o.mu.Unlock()
		if !ok || loads {
			o.wakeDispatcher()
		}
		if !ok {
			return
		}
		o.attempts.Done()
		j = next
	}
}

// one makes one attempt and books its outcome.
func (o *Outbox) one(ctx context.Context, j job) {
	it, start := j.it, o.now()
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Attempt)
	defer cancel()
	o.mu.Lock()
	it.cancel = cancel
	ev, connector, leaving := it.event, j.ep.Connector, j.ep.leaving
	o.mu.Unlock()
	if leaving {
		cancel() // RemoveEndpoint came before it could see this attempt's cancel
	}

	var res sdk.Result
	var readErr error
	own := true // the result is ours, the connector was not asked
	if ev == nil {
		var stored store.StoredEvent
		stored, readErr = o.events.Event(ctx, it.eventID)
		ev = stored.Event
		if errors.Is(readErr, store.ErrNotFound) {
			res, readErr = sdk.Result{Status: sdk.Reject, Reason: reasonGone}, nil
		}
	}
	if readErr == nil && res.Status != sdk.Reject {
		start, own = o.now(), false
		res = o.call(ctx, connector, sdk.Delivery{Event: ev, Attempt: it.attempt + 1, Ordered: j.ordered, Prev: it.prev})
	}
	a := attempt{at: start, took: o.now().Sub(start), result: res, probe: j.probe, own: own}
	cancelled := errors.Is(ctx.Err(), context.Canceled) && res.Status == sdk.Retry
	if readErr != nil || cancelled {
		o.giveBack(j, readErr, a)
		return
	}
	o.book(j, a, ev)
}

// call is the edge at which a connector's panic stops.
func (o *Outbox) call(ctx context.Context, c sdk.Connector, d sdk.Delivery) (res sdk.Result) {
	defer func() {
		if r := recover(); r != nil {
			o.log.Error("connector panicked", "event_id", d.Event.ID, "err", fmt.Sprint(r), "stack", string(debug.Stack()))
			res = sdk.Result{Status: sdk.Retry, Reason: reasonPanic}
		}
	}()
	return c.Deliver(ctx, d)
}

// giveBack undoes a launch: the attempt did not happen.
func (o *Outbox) giveBack(j job, err error, a attempt) {
	now := o.now()
	o.mu.Lock()
	o.landed(j)
	if err != nil {
		j.it.due = now.Add(time.Second)
	}
	o.reread(j.lane)
	if j.lane.ep != nil {
		j.ep.place(j.lane, now)
	}
	j.ep.tellIdle()
	o.wakeDispatcher()
	o.mu.Unlock()
	if err != nil {
		o.log.Warn("delivery put back", "connector", j.ep.Name, "event_id", j.it.eventID, "duration", a.took, "err", err)
	}
}

// landed takes a delivery out of the flight counts.
func (o *Outbox) landed(j job) {
	j.it.flying, j.it.cancel = false, nil
	j.lane.touched = j.ep.round
	j.lane.flying--
	j.ep.flying--
	o.flying--
}

// book records the outcome of an attempt in memory and hands it to the flusher.
func (o *Outbox) book(j job, a attempt, ev *sdk.Event) {
	ep, it := j.ep, j.it
	now := a.at.Add(a.took)
	o.mu.Lock()
	out := ep.policy.decide(it, a, o.rand())
	out.finish.Epoch = j.epoch
	o.landed(j)
	o.release(it)
	j.lane.unflushed++
	ep.unflushed++
	o.unflushed++
	if out.finish.State == store.DeliveryQueued {
		it.kind, it.same = out.kind, out.same
		it.due, it.stepped = out.finish.Due, out.finish.Stepped
		it.flushing = true
		if out.finish.Counted {
			it.attempt++
		}
	} else {
		j.lane.remove(it)
	}
	o.health(ep, &out, a, now)
	o.pending = append(o.pending, finished{f: out.finish, lane: j.lane, ep: ep, it: it})
	if n := len(o.pending); n == 1 || n == maxBulk {
		poke(o.flushWake)
	}
	ep.place(j.lane, now)
	open := ep.breaker.open
	o.mu.Unlock()

	latency := now.Sub(it.created).Seconds()
	if ev != nil && !ev.Time.IsZero() {
		latency = now.Sub(ev.Time).Seconds()
	}
	o.metrics.attempt(ep, a, &out.finish, max(latency, 0))
	o.logAttempt(j, a, &out.finish, ev, open)
}

// health lets the endpoint's slow start, pause, breaker and switch hear of an outcome.
func (o *Outbox) health(ep *endpoint, out *outcome, a attempt, now time.Time) {
	if out.pause > 0 {
		ep.pausedUntil = now.Add(out.pause)
		ep.window = 1
	}
	if a.result.Status != sdk.OK && !a.own {
		ep.lastError, ep.lastErrAt = failureText(a.result), now
	}
	switch {
	case a.result.Status == sdk.Disable:
		o.disable(ep, a.result.Reason)
	case out.alive:
		if a.result.Status == sdk.OK {
			ep.lastOK = now
		}
		ep.window = min(ep.window+1, ep.inFlight)
		if ep.breaker.success(now) {
			ep.save = true
			ep.recover(now)
			o.wakeController()
			o.log.Info("endpoint answers again", "connector", ep.Name)
		}
	case out.failed:
		if ep.breaker.failure(now, a.probe) {
			ep.save = true
			o.wakeController()
			o.log.Warn("endpoint keeps failing: only probes are sent", "connector", ep.Name, "err", ep.lastError)
		}
		since := ep.breaker.since
		if ep.lastOK.After(since) {
			since = ep.lastOK
		}
		if ep.breaker.open && now.Sub(since) >= o.cfg.DisableAfter {
			o.disable(ep, reasonNoSuccess)
		}
	case a.own:
	case a.probe:
		// A rate limit: the endpoint lives, but takes nothing. The pause says when to ask again.
		ep.breaker.at = now.Add(ep.breaker.delay())
	}
}

// disable stops an endpoint; the controller parks its deliveries once nothing is under way.
func (o *Outbox) disable(ep *endpoint, reason string) {
	if ep.disabled {
		return
	}
	if reason == "" {
		reason = "disabled"
	}
	ep.disabled, ep.reason, ep.park, ep.save = true, reason, true, true
	ep.switched = ep.later(o.now())
	o.wakeController()
	o.log.Error("endpoint disabled, its deliveries are kept", "connector", ep.Name, "err", reason)
}

func failureText(r sdk.Result) string {
	if r.Code != 0 {
		return fmt.Sprintf("%s (%d)", r.Reason, r.Code)
	}
	return r.Reason
}

// logAttempt writes the one line that an attempt gets, with everything in it.
func (o *Outbox) logAttempt(j job, a attempt, f *store.DeliveryFinish, ev *sdk.Event, open bool) {
	level := slog.LevelDebug
	if f.State != store.DeliveryOK {
		level = slog.LevelWarn
	}
	ctx := context.Background()
	if !o.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("connector", j.ep.Name), slog.String("endpoint", j.ep.ID), slog.String("event_id", j.it.eventID), slog.String("delivery_id", j.it.id),
		slog.String("account", j.lane.ref.Account), slog.String("chat", j.lane.ref.Chat), slog.Uint64("seq", j.it.seq),
		slog.Int("attempt", f.Attempt+1), slog.Duration("duration", a.took), slog.String("state", string(f.State)),
		slog.Int("code", a.result.Code), slog.Bool("ordered", j.ordered),
	}
	if ev != nil && ev.Message != nil {
		attrs = append(attrs, slog.String("message_id", ev.Message.ID))
	}
	if f.State != store.DeliveryOK {
		attrs = append(attrs, slog.String("err", a.result.Reason), slog.Bool("counted", f.Counted),
			slog.Bool("probe", a.probe), slog.Bool("breaker_open", open))
	}
	if f.State == store.DeliveryQueued {
		attrs = append(attrs, slog.Time("due", f.Due))
	}
	o.log.LogAttrs(ctx, level, "delivery attempt", attrs...)
}
