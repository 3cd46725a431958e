package deliver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// An endpoint that the configuration does not name any more leaves what was queued for it: it
// waits, for when the endpoint is named again. Nobody would know, were it not looked for.

const (
	// missingEvery is how often it is looked for, at least.
	missingEvery = 30 * time.Second
	// missingAgain is how soon once more after something new was found: it may be another
	// process's endpoint, registered just now, which this one is about to hear of.
	missingAgain = 5 * time.Second

	stateMissing  = "missing"
	reasonMissing = "nothing of this name is configured: what waits for it is kept"
)

// ErrMissing says that an endpoint is not there, so that nothing would be delivered to it.
var ErrMissing = errors.New("the connector is not configured")

// replayable refuses what nobody would deliver: it would wait for ever, or be cancelled.
func (o *Outbox) replayable(ctx context.Context, deliveryID string) error {
	d, err := o.store.Delivery(ctx, deliveryID)
	if err != nil {
		return err
	}
	if _, err := o.endpoint(d.Endpoint); err != nil {
		return fmt.Errorf("endpoint %s: %w", d.Endpoint, ErrMissing)
	}
	return nil
}

// missing is an endpoint that something waits for, and that this process does not have.
type missing struct {
	counts
	told bool // it was found twice
}

// seekMissing looks for what waits for endpoints that are not there. Only the controller calls it.
func (o *Outbox) seekMissing(ctx context.Context) {
	begun := o.now()
	if o.missingNext.After(begun) {
		return
	}
	waiting, err := o.store.WaitingEndpoints(ctx)
	found := map[string]*missing{}
	for _, id := range o.unserved(waiting) {
		m := &missing{}
		if m.by, m.oldest, err = o.store.CountDeliveries(ctx, id); err != nil {
			break
		}
		found[id] = m
	}
	if err != nil {
		if ctx.Err() == nil {
			o.log.Warn("not known what waits for missing endpoints, trying again", "err", err)
		}
		o.missingNext = begun.Add(missingAgain)
		return
	}
	o.note(found)
	end := o.now()
	o.missingNext = end.Add(max(missingEvery, 100*end.Sub(begun)))
	for _, m := range found {
		if !m.told {
			o.missingNext = end.Add(missingAgain)
		}
	}
}

// unserved are those of the endpoints that are not there. What is left of one that was removed is
// cancelled.
func (o *Outbox) unserved(ids []string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	for _, id := range ids {
		switch {
		case o.gone[id]:
			o.cancels = append(o.cancels, id)
		case o.endpoints[id] == nil:
			out = append(out, id)
		}
	}
	return out
}

// note keeps what was found, and tells what is new.
func (o *Outbox) note(found map[string]*missing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, before := range o.missing {
		if before.told && found[id] == nil {
			o.log.Info("nothing waits for the missing connector any more", "connector", id)
		}
	}
	for id, m := range found {
		before := o.missing[id]
		if before == nil {
			continue // it is told when it is found again
		}
		if m.told = true; !before.told {
			o.log.Warn("deliveries wait for a connector that is not configured", "connector", id,
				"queued", m.by[store.DeliveryQueued], "parked", m.by[store.DeliveryParked])
		}
	}
	o.missing = found
}

// Missing returns the endpoints that something waits for and that this process does not have,
// by id, as they were when they were last looked for.
func (o *Outbox) Missing() []EndpointStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.missed()
}

// missed is Missing. The caller holds mu.
func (o *Outbox) missed() []EndpointStatus {
	var out []EndpointStatus
	for _, id := range slices.Sorted(maps.Keys(o.missing)) {
		if m := o.missing[id]; m.told && o.endpoints[id] == nil {
			out = append(out, EndpointStatus{ID: id, Name: id, State: stateMissing, Reason: reasonMissing, Counts: maps.Clone(m.by), OldestQueued: m.oldest})
		}
	}
	return out
}
