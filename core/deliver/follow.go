package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// Whether an endpoint is disabled is for all processes on a database. Each writes what it
// decided, with the time, and follows what is stored with a later one. Who finds its own
// decision overwritten, by a process that wrote at the same moment, writes it again.

// Refresh follows what other processes on the same database have disabled and enabled.
func (o *Outbox) Refresh(ctx context.Context) error {
	states, err := o.store.EndpointStates(ctx)
	if err != nil {
		return fmt.Errorf("read endpoint states: %w", err)
	}
	var errs []error
	for _, s := range states {
		o.mu.Lock()
		ep := o.endpoints[s.ID]
		if ep == nil {
			o.states[s.ID] = s // for when it is added
		}
		o.mu.Unlock()
		if ep == nil {
			continue
		}
		if err := o.follow(ctx, ep, s); err != nil {
			errs = append(errs, fmt.Errorf("follow endpoint %s: %w", s.ID, err))
		}
	}
	return errors.Join(errs...)
}

// follow brings an endpoint to the stored state, or that to the endpoint's.
func (o *Outbox) follow(ctx context.Context, ep *endpoint, s store.EndpointState) error {
	ep.op.Lock()
	defer ep.op.Unlock()
	o.mu.Lock()
	differs := s.Disabled != ep.disabled && !ep.leaving
	if !differs || !s.UpdatedAt.After(ep.switched) {
		if differs && ep.switched.After(s.UpdatedAt) && !ep.save {
			ep.save = true
			o.wakeController()
		}
		o.mu.Unlock()
		return nil
	}
	if s.Disabled {
		ep.disabled, ep.reason, ep.park, ep.switched = true, s.Reason, true, s.UpdatedAt
		o.wakeController()
		o.mu.Unlock()
		o.log.Warn("endpoint was disabled by another hub, its deliveries are kept", "connector", ep.Name, "err", s.Reason)
		return nil
	}
	o.mu.Unlock()
	if err := o.awaitIdle(ctx, ep); err != nil {
		return err
	}
	// Some may have been parked here after the other process had queued them.
	if _, err := o.store.MoveDeliveries(ctx, ep.ID, store.DeliveryParked, store.DeliveryQueued, "", o.now()); err != nil {
		return fmt.Errorf("queue parked deliveries: %w", err)
	}
	o.revive(ep, s.UpdatedAt)
	o.log.Info("endpoint was enabled by another hub", "connector", ep.Name)
	return nil
}

// saveState writes an endpoint's state, unless another process has decided since whether it
// is disabled: then Refresh follows that first.
func (o *Outbox) saveState(ctx context.Context, state store.EndpointState) error {
	if o.shared {
		states, err := o.store.EndpointStates(ctx)
		if err != nil {
			return err
		}
		for _, s := range states {
			if s.ID == state.ID && s.Disabled != state.Disabled && s.UpdatedAt.After(state.UpdatedAt) {
				return nil
			}
		}
	}
	return o.store.SaveEndpoint(ctx, state)
}

// later is now, to the millisecond as it is stored, and after what is known: a clock that
// is behind must not make a decision look old.
func (ep *endpoint) later(now time.Time) time.Time {
	if at := now.Truncate(time.Millisecond); at.After(ep.switched) {
		return at
	}
	return ep.switched.Add(time.Millisecond)
}
