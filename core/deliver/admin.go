package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

const reasonRemoved = "endpoint_removed"

// EndpointStatus is how an endpoint does, for people and for the REST API.
type EndpointStatus struct {
	ID   string
	Name string
	// State is active, failing (its breaker is open: only probes are sent), paused (it
	// asked to be left alone) or disabled.
	State string
	// Reason says why it is disabled.
	Reason string
	// InFlight is how many attempts are under way.
	InFlight int
	// Counts is how many deliveries the store has in each state.
	Counts map[store.DeliveryState]int
	// OldestQueued is when the oldest queued delivery was created; zero if none.
	OldestQueued time.Time
	// FailingSince is when the breaker opened and NextProbe when it is tried again; zero while closed.
	FailingSince time.Time
	NextProbe    time.Time
	PausedUntil  time.Time
	LastOK       time.Time
	LastError    string
	LastErrorAt  time.Time
}

// Status returns one endpoint's status, or store.ErrNotFound.
func (o *Outbox) Status(ctx context.Context, id string) (EndpointStatus, error) {
	o.mu.Lock()
	ep := o.endpoints[id]
	if ep == nil {
		o.mu.Unlock()
		return EndpointStatus{}, fmt.Errorf("endpoint %s: %w", id, store.ErrNotFound)
	}
	s := ep.status(o.now())
	o.mu.Unlock()
	counts, oldest, err := o.store.CountDeliveries(ctx, id)
	if err != nil {
		return EndpointStatus{}, fmt.Errorf("count deliveries of %s: %w", id, err)
	}
	s.Counts, s.OldestQueued = counts, oldest
	return s, nil
}

// Statuses returns all endpoints' status, in the order in which they were added.
func (o *Outbox) Statuses(ctx context.Context) ([]EndpointStatus, error) {
	o.mu.Lock()
	ids := make([]string, len(o.order))
	for i, ep := range o.order {
		ids[i] = ep.ID
	}
	o.mu.Unlock()
	all := make([]EndpointStatus, 0, len(ids))
	for _, id := range ids {
		s, err := o.Status(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (ep *endpoint) status(now time.Time) EndpointStatus {
	s := EndpointStatus{
		ID: ep.ID, Name: ep.Name, State: "active", InFlight: ep.flying,
		LastOK: ep.lastOK, LastError: ep.lastError, LastErrorAt: ep.lastErrAt,
	}
	if ep.pausedUntil.After(now) {
		s.State, s.PausedUntil = "paused", ep.pausedUntil
	}
	if ep.breaker.open {
		s.State, s.FailingSince, s.NextProbe = "failing", ep.breaker.since, ep.breaker.at
	}
	if ep.disabled {
		s.State, s.Reason = "disabled", ep.reason
	}
	return s
}

// Enable lets a disabled endpoint work again: what was parked is queued and due at
// once, with a slow start. Of one that is not disabled what waits is due at once, too: the operator
// knows better than its breaker.
func (o *Outbox) Enable(ctx context.Context, id string) error {
	ep, err := o.endpoint(id)
	if err != nil {
		return err
	}
	ep.op.Lock()
	defer ep.op.Unlock()
	if o.hurry(ep) {
		return nil
	}
	if err := o.awaitIdle(ctx, ep); err != nil {
		return fmt.Errorf("enable endpoint %s: %w", id, err)
	}
	if _, err := o.store.MoveDeliveries(ctx, id, store.DeliveryParked, store.DeliveryQueued, "", o.now()); err != nil {
		return fmt.Errorf("queue parked deliveries of %s: %w", id, err)
	}
	o.mu.Lock()
	lastOK, at := ep.lastOK, ep.later(o.now())
	o.mu.Unlock()
	if err := o.store.SaveEndpoint(ctx, store.EndpointState{ID: id, LastOK: lastOK, UpdatedAt: at}); err != nil {
		return fmt.Errorf("enable endpoint %s: %w", id, err)
	}
	o.revive(ep, at)
	o.log.Info("endpoint is enabled", "connector", ep.Name)
	return nil
}

// hurry makes what waits for an endpoint due now; false if the endpoint is disabled.
func (o *Outbox) hurry(ep *endpoint) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ep.disabled {
		return false
	}
	ep.save = ep.save || ep.breaker.open
	ep.breaker.shut()
	ep.pausedUntil = time.Time{}
	ep.recover(o.now())
	o.wakeController()
	o.wakeDispatcher()
	return true
}

// revive lets an endpoint work again whose deliveries are queued.
func (o *Outbox) revive(ep *endpoint, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget(ep)
	ep.disabled, ep.reason, ep.park, ep.save, ep.switched = false, "", false, false, at
	ep.breaker.shut()
	ep.window, ep.recovered = 1, o.now()
	ep.pausedUntil, ep.scan = time.Time{}, time.Time{}
	o.wakeDispatcher()
}

// Disable stops an endpoint until Enable; its deliveries are parked, never discarded.
func (o *Outbox) Disable(id, reason string) error {
	ep, err := o.endpoint(id)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.disable(ep, reason)
	return nil
}

// RemoveEndpoint ends an endpoint for good: attempts under way are cancelled, queued
// and parked deliveries become cancelled. It may be repeated after an error, and
// also cleans up after an endpoint that this process never knew.
func (o *Outbox) RemoveEndpoint(ctx context.Context, id string) error {
	if err := o.detach(ctx, id); err != nil {
		return err
	}
	for _, from := range []store.DeliveryState{store.DeliveryQueued, store.DeliveryParked} {
		if _, err := o.store.MoveDeliveries(ctx, id, from, store.DeliveryCancelled, reasonRemoved, o.now()); err != nil {
			return fmt.Errorf("cancel deliveries of %s: %w", id, err)
		}
	}
	if err := o.store.DeleteEndpoint(ctx, id); err != nil {
		return fmt.Errorf("delete endpoint %s: %w", id, err)
	}
	o.mu.Lock()
	delete(o.states, id)
	o.mu.Unlock()
	return nil
}

// ForgetAccount drops what is in memory of an account whose records were deleted:
// nothing more of it is delivered, and what an account of the same id gets later is
// not taken for it.
func (o *Outbox) ForgetAccount(account string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	for _, ep := range o.order {
		for ref, l := range ep.lanes {
			if ref.Account != account {
				continue
			}
			o.empty(l)
			ep.place(l, now)
		}
	}
}

// DetachEndpoint stops serving an endpoint and leaves its deliveries queued in the
// store, for when it is added again. An unknown one is a success.
func (o *Outbox) DetachEndpoint(ctx context.Context, id string) error {
	if err := o.detach(ctx, id); err != nil {
		return err
	}
	o.mu.Lock()
	delete(o.gone, id)
	o.mu.Unlock()
	return nil
}

func (o *Outbox) detach(ctx context.Context, id string) error {
	o.mu.Lock()
	ep := o.endpoints[id]
	if ep == nil {
		o.gone[id] = true
		o.mu.Unlock()
		return nil
	}
	ep.leaving = true
	for _, l := range ep.lanes {
		for _, it := range l.items {
			if it.cancel != nil {
				it.cancel()
			}
		}
	}
	o.mu.Unlock()
	if err := o.awaitIdle(ctx, ep); err != nil {
		return fmt.Errorf("remove endpoint %s: %w", id, err)
	}
	ep.op.Lock()
	defer ep.op.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.states[id] = ep.state()
	o.forget(ep)
	if o.endpoints[id] == ep {
		delete(o.endpoints, id)
		o.gone[id] = true
	}
	o.order = slices.DeleteFunc(o.order, func(e *endpoint) bool { return e == ep })
	o.metrics.forget(ep.ID)
	return nil
}

// Replay delivers once more what is ok, dead, parked or cancelled, with a whole
// schedule, and returns the new record. store.ErrStale if it is queued already,
// store.ErrNotFound if there is none, ErrMissing if its endpoint is not there; nothing is
// changed then.
func (o *Outbox) Replay(ctx context.Context, deliveryID string) (store.Delivery, error) {
	if err := o.replayable(ctx, deliveryID); err != nil {
		return store.Delivery{}, fmt.Errorf("replay delivery %s: %w", deliveryID, err)
	}
	now := o.now()
	d, err := o.store.RequeueDelivery(ctx, deliveryID, now)
	if err != nil {
		return store.Delivery{}, fmt.Errorf("replay delivery %s: %w", deliveryID, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.wakeDispatcher()
	ep := o.endpoints[d.Endpoint]
	if ep == nil || ep.leaving {
		return d, nil // it waits in the store
	}
	if ep.disabled {
		ep.park = true
		o.wakeController()
		return d, nil
	}
	ref := store.LaneRef{Endpoint: d.Endpoint, Account: d.Account, Chat: d.Chat}
	if o.strangers(ref) {
		return d, nil
	}
	l := ep.lane(ref)
	if l.touched = ep.round; o.shared && l.top == 0 {
		l.more = true // what another process wrote before it may be unknown
	}
	if l.more && d.Seq > l.top {
		l.again = l.again || l.loading
	} else {
		l.insert(newItem(&d))
	}
	ep.place(l, now)
	return d, nil
}

func (o *Outbox) endpoint(id string) (*endpoint, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ep := o.endpoints[id]
	if ep == nil || ep.leaving {
		return nil, fmt.Errorf("endpoint %s: %w", id, store.ErrNotFound)
	}
	return ep, nil
}
