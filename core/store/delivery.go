package store

import (
	"context"
	"time"
)

// DeliveryState is where a delivery stands. In flight is memory only.
type DeliveryState string

// The states of a delivery: queued → ok | queued | dead | cancelled, queued ↔ parked,
// dead | ok | parked → queued with the next generation (replay).
const (
	DeliveryQueued    DeliveryState = "queued"
	DeliveryOK        DeliveryState = "ok"
	DeliveryDead      DeliveryState = "dead"
	DeliveryParked    DeliveryState = "parked"    // its endpoint is disabled
	DeliveryCancelled DeliveryState = "cancelled" // its endpoint is gone
)

// Delivery is one event on its way to one endpoint.
type Delivery struct {
	// ID is derived from event and endpoint.
	ID       string
	EventID  string
	Endpoint string
	Account  string
	Chat     string
	// Partition is that of the chat, see [Partition].
	Partition int
	// Seq is the event's number in its chat.
	Seq uint64
	// Prev is the seq last queued to this endpoint from this chat; 0 if none.
	Prev  uint64
	State DeliveryState
	// Generation counts replays.
	Generation int
	// Attempt is how many attempts of this generation are finished and counted.
	Attempt int
	// Due is when the next attempt may start.
	Due time.Time
	// Stepped is true once the delivery no longer holds up its lane.
	Stepped bool
	// Epoch is the highest that finished an attempt. A new delivery has 0, whatever
	// epoch settled its event: that one is of another lease.
	Epoch     uint64
	Reason    string
	Attempts  []Attempt // the last 25, oldest first
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Attempt is one try of a delivery.
type Attempt struct {
	N          int           `json:"n"`
	Generation int           `json:"generation,omitempty"`
	At         time.Time     `json:"at"`
	Took       time.Duration `json:"took"`
	// Status is ok, retry, reject or disable.
	Status string `json:"status"`
	Code   int    `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Body is the beginning of the receiver's answer, at most 4 KiB.
	Body string `json:"body,omitempty"`
}

// DeliveryFinish is the fenced outcome of one attempt.
type DeliveryFinish struct {
	ID string
	// Generation and Attempt are what the delivery had when it was dispatched; it
	// must still be queued with exactly these.
	Generation int
	Attempt    int
	Epoch      uint64
	// State is ok, queued (try again at Due), dead or parked.
	State   DeliveryState
	Due     time.Time
	Reason  string
	Stepped bool
	// Counted adds one to Attempt.
	Counted bool
	// Record is appended to Attempts, if set.
	Record *Attempt
	At     time.Time
}

// LaneRef names the queue of one endpoint and one chat.
type LaneRef struct {
	Endpoint string
	Account  string
	Chat     string
}

// LaneState is a lane with what waits in it.
type LaneState struct {
	LaneRef
	// Queued is how many deliveries are queued, and Last the highest seq of these.
	Queued int
	Last   uint64
}

// DeliveryQuery selects deliveries, newest first.
type DeliveryQuery struct {
	Endpoint string // "" any
	State    DeliveryState
	EventID  string
	// Accounts, if there are any, limit the answer to these.
	Accounts []string
	// Before is the id of the last delivery of the page before; "" from the newest.
	Before string
	Limit  int
}

// Deliveries is the outbox. Rows are inserted by Settle.
type Deliveries interface {
	// QueuedLanes returns the lanes of an endpoint that have queued deliveries, in an
	// order of the engine's that does not change, those after the given one (its zero
	// value: from the start), at most limit.
	QueuedLanes(ctx context.Context, endpoint string, after LaneRef, limit int) ([]LaneRef, error)
	// QueuedLanesIn does the same for the lanes in some partitions, and tells what waits in
	// each. No partitions are none.
	QueuedLanesIn(ctx context.Context, endpoint string, partitions []int, after LaneRef, limit int) ([]LaneState, error)
	// LaneDeliveries returns a lane's queued deliveries with a seq above after, in
	// order of seq, at most limit.
	LaneDeliveries(ctx context.Context, lane LaneRef, after uint64, limit int) ([]Delivery, error)
	// FinishDeliveries applies outcomes in one durable write and returns the ids
	// that were fenced off (no longer queued with that generation and attempt, or a higher epoch).
	FinishDeliveries(ctx context.Context, f []DeliveryFinish) (missed []string, err error)
	// Delivery returns one, or ErrNotFound.
	Delivery(ctx context.Context, id string) (Delivery, error)
	// ListDeliveries returns a page.
	ListDeliveries(ctx context.Context, q DeliveryQuery) ([]Delivery, error)
	// RequeueDelivery starts the next generation of an ok, dead, parked or cancelled
	// delivery; ErrStale if it is queued.
	RequeueDelivery(ctx context.Context, id string, due time.Time) (Delivery, error)
	// MoveDeliveries changes the state of all of an endpoint's deliveries that are in
	// from (queued → parked, parked → queued, queued | parked → cancelled) and returns
	// how many. What becomes queued is due at at. A large backlog is moved in several
	// writes: after an error, call it again.
	MoveDeliveries(ctx context.Context, endpoint string, from, to DeliveryState, reason string, at time.Time) (int, error)
	// CountDeliveries returns how many deliveries an endpoint has in each state, and
	// when the oldest queued one was created (zero if none).
	CountDeliveries(ctx context.Context, endpoint string) (map[DeliveryState]int, time.Time, error)
	// WaitingEndpoints returns the ids of the endpoints that have queued or parked deliveries, in
	// their order. What is not waited for costs nothing.
	WaitingEndpoints(ctx context.Context) ([]string, error)
}

// EndpointState is what must survive a restart about an endpoint's health.
type EndpointState struct {
	// ID is the endpoint's.
	ID string
	// Disabled: nothing is dispatched and queued deliveries are parked.
	Disabled bool
	Reason   string
	// OpenSince is when the breaker opened; zero while closed.
	OpenSince time.Time
	// LastOK is the last success; zero if none.
	LastOK time.Time
	// UpdatedAt is when Disabled last changed: of two states the later one counts.
	UpdatedAt time.Time
}

// Endpoints keeps endpoint health.
type Endpoints interface {
	// SaveEndpoint upserts.
	SaveEndpoint(ctx context.Context, e EndpointState) error
	// EndpointStates returns all, by id.
	EndpointStates(ctx context.Context) ([]EndpointState, error)
	// DeleteEndpoint removes one; success if it is gone.
	DeleteEndpoint(ctx context.Context, id string) error
}

// Webhook is an endpoint that was registered over REST.
type Webhook struct {
	// ID is "wh_" and a ULID.
	ID  string
	URL string
	// Account "" means all accounts.
	Account string
	// Events are the event types wanted; empty means messages.
	Events []string
	// Secret signs the requests: "whsec_" and base64.
	Secret    string
	Headers   map[string]string
	CreatedAt time.Time
}

// Webhooks keeps registered webhooks.
type Webhooks interface {
	// CreateWebhook stores w unless one with the same URL and Account exists; it
	// returns the one that is stored and whether it is new.
	CreateWebhook(ctx context.Context, w Webhook) (Webhook, bool, error)
	// ListWebhooks returns all, oldest first.
	ListWebhooks(ctx context.Context) ([]Webhook, error)
	// DeleteWebhook removes one, or fails with ErrNotFound.
	DeleteWebhook(ctx context.Context, id string) error
}
