package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/store"
)

// health tells over REST whether the hub can do its work.
type health struct{ app *App }

var _ api.Health = health{}

// Ready implements api.Health. An account that is not connected does not make the hub
// unready: its operator has to scan a code, and needs this hub's API for it.
func (h health) Ready(ctx context.Context) []api.Check {
	check := api.Check{Name: "store", OK: true}
	err := h.app.accounts.Outage() // known already: an orchestrator need not wait
	if err == nil {
		err = h.app.store.Ping(ctx)
	}
	if err != nil {
		check.OK, check.Error = false, err.Error()
	}
	return []api.Check{check}
}

// deliveries shows and replays deliveries over REST.
type deliveries struct {
	store  store.Store
	outbox *deliver.Outbox
}

var _ api.Deliveries = deliveries{}

// ListDeliveries implements api.Deliveries.
func (d deliveries) ListDeliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	return d.store.ListDeliveries(ctx, q)
}

// Delivery implements api.Deliveries.
func (d deliveries) Delivery(ctx context.Context, id string) (store.Delivery, error) {
	return d.store.Delivery(ctx, id)
}

// Replay implements api.Deliveries.
func (d deliveries) Replay(ctx context.Context, id string) (store.Delivery, error) {
	row, err := d.outbox.Replay(ctx, id)
	if errors.Is(err, deliver.ErrMissing) {
		err = fmt.Errorf("%w: %w", api.ErrConnectorMissing, err)
	}
	return row, err
}
