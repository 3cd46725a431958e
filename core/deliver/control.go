package deliver

import (
	"context"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// controlEvery is how often what could not be written is tried again.
	controlEvery = time.Second
	// countEvery is how often the backlog is counted for the metrics, at least.
	countEvery = 30 * time.Second
)

// controller does what needs the store but not an attempt: it writes the endpoints'
// health, parks what a disabled endpoint has queued, cancels what came too late for
// a removed one, counts the backlog, and looks for what waits for endpoints that are missing.
func (o *Outbox) controller(ctx context.Context) {
	tick := time.NewTicker(controlEvery)
	defer tick.Stop()
	for {
		o.mu.Lock()
		eps := append([]*endpoint(nil), o.order...)
		late := o.cancels
		o.cancels = nil
		o.mu.Unlock()
		for _, id := range late {
			o.cancelLate(ctx, id)
		}
		for _, ep := range eps {
			o.control(ctx, ep)
		}
		o.seekMissing(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-o.controlWake:
		}
	}
}

func (o *Outbox) control(ctx context.Context, ep *endpoint) {
	ep.op.Lock()
	defer ep.op.Unlock()
	now := o.now()
	o.mu.Lock()
	state := ep.state()
	save := ep.save && !ep.leaving
	park := ep.park && ep.disabled && !ep.leaving && ep.quiet()
	count := !ep.leaving && !ep.counts.next.After(now)
	if save {
		ep.save = false
	}
	if park {
		ep.park = false
	}
	o.mu.Unlock()

	if save {
		if err := o.saveState(ctx, state); err != nil {
			o.log.Warn("endpoint state not written, trying again", "connector", ep.Name, "err", err)
			o.again(&ep.save)
		}
	}
	if park {
		n, err := o.store.MoveDeliveries(ctx, ep.ID, store.DeliveryQueued, store.DeliveryParked, state.Reason, now)
		if err != nil {
			o.log.Warn("deliveries not parked, trying again", "connector", ep.Name, "err", err)
			o.again(&ep.park)
		} else {
			o.mu.Lock()
			o.forget(ep)
			o.mu.Unlock()
			if n > 0 {
				o.log.Info("deliveries parked", "connector", ep.Name, "count", n)
			}
		}
	}
	if count {
		o.count(ctx, ep)
	}
}

func (o *Outbox) again(flag *bool) {
	o.mu.Lock()
	*flag = true
	o.mu.Unlock()
}

// count asks the store for the backlog, the seldomer the longer that takes.
func (o *Outbox) count(ctx context.Context, ep *endpoint) {
	start := o.now()
	by, oldest, err := o.store.CountDeliveries(ctx, ep.ID)
	end := o.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		ep.counts.by, ep.counts.oldest = by, oldest
	}
	ep.counts.next = end.Add(max(countEvery, 100*end.Sub(start)))
}

func (o *Outbox) cancelLate(ctx context.Context, id string) {
	if _, err := o.store.MoveDeliveries(ctx, id, store.DeliveryQueued, store.DeliveryCancelled, reasonRemoved, o.now()); err != nil {
		o.log.Warn("deliveries of a removed endpoint not cancelled, trying again", "connector", id, "err", err)
		o.mu.Lock()
		o.cancels = append(o.cancels, id)
		o.mu.Unlock()
	}
}
