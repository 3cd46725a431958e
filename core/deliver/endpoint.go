// Package deliver is the durable outbox of every connector: it takes deliveries
// that the pipeline stored, hands them to their endpoint's connector in each
// chat's order, and records every outcome fenced and durable. It owns retry,
// back-off, lanes, breakers, burying and replay; it does not know what a connector
// does, nor which events go where.
package deliver

import (
	"time"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/sdk"
)

// Endpoint is one configured connector: a registered webhook, or an entry under
// `connectors:`.
type Endpoint struct {
	// ID is stable across restarts: "wh_…" or "connector:<name>".
	ID string
	// Name is for people and logs; metrics are labelled by ID.
	Name string
	// Connector is started and stopped by its owner, the connector registry.
	Connector sdk.Connector
	// Retry is the delays between attempts; nil takes the outbox's, empty is one attempt.
	Retry []time.Duration
	// Ordering says how a failing delivery holds up its chat.
	Ordering config.Ordering
}
