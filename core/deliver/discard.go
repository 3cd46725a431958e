package deliver

import (
	"context"
	"errors"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

// ErrServed says that an endpoint is there and not disabled.
var ErrServed = errors.New("the connector is not disabled")

const reasonDiscarded = "discarded"

// Discard gives up what waits for an endpoint that is disabled, or not there, and returns how many
// deliveries that were: they become cancelled, and can be replayed one by one. It fails with
// ErrServed if the endpoint is there and not disabled, and with store.ErrNotFound if it is not there and nothing
// waits for it. It may be repeated after an error.
func (o *Outbox) Discard(ctx context.Context, id string) (int, error) {
	o.mu.Lock()
	ep := o.endpoints[id]
	o.mu.Unlock()
	if ep == nil {
		return o.discardMissing(ctx, id)
	}
	ep.op.Lock()
	defer ep.op.Unlock()
	o.mu.Lock()
	served := !ep.disabled
	o.mu.Unlock()
	if served {
		return 0, fmt.Errorf("discard deliveries of %s: %w", id, ErrServed)
	}
	if err := o.awaitIdle(ctx, ep); err != nil {
		return 0, fmt.Errorf("discard deliveries of %s: %w", id, err)
	}
	return o.discard(ctx, id)
}

func (o *Outbox) discardMissing(ctx context.Context, id string) (int, error) {
	n, err := o.discard(ctx, id)
	if err != nil {
		return n, err
	}
	if n == 0 {
		return 0, fmt.Errorf("endpoint %s: nothing waits for it: %w", id, store.ErrNotFound)
	}
	// Should it come back one day, it begins anew.
	if err := o.store.DeleteEndpoint(ctx, id); err != nil {
		return n, fmt.Errorf("delete endpoint %s: %w", id, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.states, id)
	delete(o.missing, id)
	return n, nil
}

func (o *Outbox) discard(ctx context.Context, id string) (int, error) {
	all := 0
	for _, from := range []store.DeliveryState{store.DeliveryQueued, store.DeliveryParked} {
		n, err := o.store.MoveDeliveries(ctx, id, from, store.DeliveryCancelled, reasonDiscarded, o.now())
		if all += n; err != nil {
			return all, fmt.Errorf("cancel deliveries of %s: %w", id, err)
		}
	}
	o.log.Info("deliveries are discarded", "connector", id, "count", all)
	return all, nil
}
