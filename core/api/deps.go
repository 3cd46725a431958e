package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// Deps is what the program passes in. All of it is needed but Peers, Nudged, Logger, Now and Rand.
type Deps struct {
	Accounts   Accounts
	Sender     Sender
	Sends      Sends
	Messages   Messages
	Blobs      Blobs
	Webhooks   Webhooks
	Deliveries Deliveries
	Tracer     Tracer
	Connectors Connectors
	Rules      Rules
	Health     Health
	Keys       Keys
	// Peers are other hubs on the same database; nil if there can be none.
	Peers Peers
	// Nudged is told of deliveries that another hub wrote; needed with Peers.
	Nudged func(Nudge)

	// Gatherer is what /metrics shows; Registerer gets the API's own metrics.
	Gatherer   prometheus.Gatherer
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Now        func() time.Time
	// Rand is the source of webhook ids and secrets; nil is crypto/rand.
	Rand io.Reader
}

// Accounts is the life of the accounts. All but Live fail with an error that wraps
// store.ErrNotFound for an id that there is none of.
type Accounts interface {
	// Create stores an account (ID, Name and Collection are set) and begins to connect
	// it; it fails with an error that wraps store.ErrExists if the id is taken.
	Create(ctx context.Context, a store.Account) (store.Account, error)
	// Get and List return the records, State and Reason being those of this moment.
	Get(ctx context.Context, id string) (store.Account, error)
	List(ctx context.Context) ([]store.Account, error)
	// Delete logs out and removes everything that belongs to the account.
	Delete(ctx context.Context, id string) error
	// Connect begins to connect and returns; it is a success when a connection is held.
	Connect(ctx context.Context, id string) error
	// Disconnect closes the connection and keeps the pairing; a success when there is none.
	Disconnect(ctx context.Context, id string) error
	// Logout unlinks the device from the phone.
	Logout(ctx context.Context, id string) error
	// Live says whether a connection is held (being one that is up, coming up or
	// waiting for its pairing), and the raw pairing string while the account is pairing.
	Live(id string) (qr string, held bool)
}

// Sender sends texts and waits for WhatsApp's acceptance, as *send.Queue does.
type Sender interface {
	Send(ctx context.Context, r send.Request) (send.Result, error)
	// Ask tells what became of a request that came before with the same key. Errors wrap
	// store.ErrNotFound if none did.
	Ask(ctx context.Context, r send.Request) (send.Result, error)
}

// Sends reads stored sends, as store.Sends does.
type Sends interface {
	ListSends(ctx context.Context, q store.SendQuery) ([]store.Send, error)
}

// Messages reads stored messages.
type Messages interface {
	store.Messages
}

// Blobs reads stored files, as store.Blobs does.
type Blobs interface {
	OpenBlob(ctx context.Context, id string) (io.ReadSeekCloser, store.BlobInfo, error)
	ListBlobs(ctx context.Context, q store.BlobQuery) ([]store.BlobInfo, error)
}

// Webhooks are the registered webhooks, as *connector.Registry keeps them.
type Webhooks interface {
	// AddWebhook registers w, whose ID and Secret are set, or returns the one that is
	// registered for the same URL and account, and whether it is new. An error that is
	// a *sdk.ConfigError says what is wrong with w.
	AddWebhook(ctx context.Context, w store.Webhook) (store.Webhook, bool, error)
	ListWebhooks(ctx context.Context) ([]store.Webhook, error)
	// DeleteWebhook fails with an error that wraps store.ErrNotFound if there is none.
	DeleteWebhook(ctx context.Context, id string) error
}

// Deliveries shows and replays deliveries.
type Deliveries interface {
	ListDeliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error)
	// Delivery fails with an error that wraps store.ErrNotFound if there is none.
	Delivery(ctx context.Context, id string) (store.Delivery, error)
	// Replay starts a finished delivery anew with the whole schedule. Errors wrap
	// store.ErrNotFound, store.ErrStale when it is queued as it is, or ErrConnectorMissing.
	Replay(ctx context.Context, id string) (store.Delivery, error)
}

// ErrConnectorMissing says that this hub does not have a delivery's connector, or webhook.
var ErrConnectorMissing = errors.New("connector is not configured")

// Tracer tells what became of an event.
type Tracer interface {
	// Trace returns the story of the event with this id; with an account, of the newest
	// message of that account with this WhatsApp id. One that was to be sent and has no event has a
	// story of its send only. Errors wrap store.ErrNotFound.
	Trace(ctx context.Context, account, id string) (Trace, error)
}

// Trace is the story of one event.
type Trace struct {
	// Event is shown without its raw form; nil if there are only Sends.
	Event *sdk.Event
	// Stages are what was reached, in order: "stored", "ruled", "done".
	Stages []TraceStage
	// Verdict is what the rules decided, as stored; nil before that.
	Verdict    json.RawMessage
	Sends      []store.Send
	Deliveries []store.Delivery
}

// TraceStage is one stage that an event has reached. At is zero where it was not noted.
type TraceStage struct {
	Stage string
	At    time.Time
}

// Connectors shows the endpoints.
type Connectors interface {
	ConnectorStatus(ctx context.Context) ([]ConnectorStatus, error)
	// EnableConnector lets one that is disabled work again, and starts a program that was given up;
	// a success for one that works. Errors wrap store.ErrNotFound.
	EnableConnector(ctx context.Context, id string) error
	// DisableConnector stops one until it is enabled: what comes for it is kept. Errors wrap
	// store.ErrNotFound.
	DisableConnector(ctx context.Context, id string) error
	// DiscardWaiting cancels what waits for one that is disabled, or missing, and says how many
	// deliveries that were. It fails with ErrConnectorServed for any other; else errors wrap
	// store.ErrNotFound.
	DiscardWaiting(ctx context.Context, id string) (int, error)
}

// ErrConnectorServed says that a connector is configured and not disabled.
var ErrConnectorServed = errors.New("connector is not disabled")

// ConnectorStatus is one endpoint: an entry under `connectors:`, or a registered webhook.
type ConnectorStatus struct {
	// ID is the endpoint's, as deliveries name it; Name is what rules route to.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Use is a built-in's name or a program's path.
	Use     string `json:"use"`
	Version string `json:"version,omitempty"`
	Enabled bool   `json:"enabled"`
	// State is a stable word such as running, starting, failed, disabled or missing (deliveries
	// wait for one that is not configured), and Reason says why.
	State    string   `json:"state"`
	Reason   string   `json:"reason,omitempty"`
	Restarts int      `json:"restarts"`
	Events   []string `json:"events"`
	Accounts []string `json:"accounts"`
	// Deliveries counts this endpoint's deliveries by state.
	Deliveries map[store.DeliveryState]int `json:"deliveries"`
	// OldestQueued is when the longest waiting delivery was made.
	OldestQueued *time.Time `json:"oldestQueued,omitempty"`
}

// Health tells whether the hub can do its work.
type Health interface {
	Ready(ctx context.Context) []Check
}

// Check is one thing that must hold for the hub to be ready.
type Check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Error is for operators; it must not hold a secret.
	Error string `json:"error,omitempty"`
}
