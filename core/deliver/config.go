package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/store"
)

// DefaultRetry is the delays between attempts when neither the configuration nor
// the endpoint gives any: 18 attempts over 91 h 48 min, so that an endpoint that
// fails on Friday evening may be mended on Tuesday morning.
func DefaultRetry() []time.Duration {
	const s, m, h = time.Second, time.Minute, time.Hour
	return []time.Duration{
		s, 5 * s, 15 * s, 30 * s, m, 2 * m, 5 * m, 10 * m, 30 * m,
		h, 2 * h, 4 * h, 8 * h, 12 * h, 16 * h, 24 * h, 24 * h,
	}
}

// Config is what an operator may choose. Zero values take the defaults.
type Config struct {
	// InFlight bounds all attempts under way; 0 means 32 per CPU.
	InFlight int
	// Retry is the delays between attempts of endpoints that give none; nil is
	// DefaultRetry, an empty list one attempt.
	Retry []time.Duration
	// Attempt bounds one call of a connector's Deliver. Default 65s: longer than
	// any connector's own timeout, which tells more about what went wrong.
	Attempt time.Duration
	// Probes is when an endpoint whose breaker is open is tried, each counted from
	// the probe before; the last one repeats. Default 1s 2s 5s 15s 30s 60s.
	Probes []time.Duration
	// DisableAfter is how long an endpoint may go without a success before it is
	// disabled and its deliveries parked. Default 96h.
	DisableAfter time.Duration
	// Grace is how long Stop lets attempts under way finish. Default 7s.
	Grace time.Duration
}

func (c *Config) setDefaults() {
	if c.InFlight <= 0 {
		c.InFlight = 32 * runtime.GOMAXPROCS(0)
	}
	if c.Retry == nil {
		c.Retry = DefaultRetry()
	}
	if c.Attempt <= 0 {
		c.Attempt = 65 * time.Second
	}
	if len(c.Probes) == 0 {
		s := time.Second
		c.Probes = []time.Duration{s, 2 * s, 5 * s, 15 * s, 30 * s, 60 * s}
	}
	if c.DisableAfter <= 0 {
		c.DisableAfter = 96 * time.Hour
	}
	if c.Grace <= 0 {
		c.Grace = 7 * time.Second
	}
}

// Store is what the outbox needs of the database; store.Store has it.
type Store interface {
	QueuedLanes(ctx context.Context, endpoint string, after store.LaneRef, limit int) ([]store.LaneRef, error)
	QueuedLanesIn(ctx context.Context, endpoint string, partitions []int, after store.LaneRef, limit int) ([]store.LaneState, error)
	LaneDeliveries(ctx context.Context, lane store.LaneRef, after uint64, limit int) ([]store.Delivery, error)
	FinishDeliveries(ctx context.Context, f []store.DeliveryFinish) (missed []string, err error)
	Delivery(ctx context.Context, id string) (store.Delivery, error)
	RequeueDelivery(ctx context.Context, id string, due time.Time) (store.Delivery, error)
	MoveDeliveries(ctx context.Context, endpoint string, from, to store.DeliveryState, reason string, at time.Time) (int, error)
	CountDeliveries(ctx context.Context, endpoint string) (map[store.DeliveryState]int, time.Time, error)
	WaitingEndpoints(ctx context.Context) ([]string, error)
	store.Endpoints
}

// Events reads the event of a delivery that did not come with it.
type Events interface {
	Event(ctx context.Context, id string) (store.StoredEvent, error)
}

// Deps is what the program passes in. Store and Events are required.
type Deps struct {
	Store      Store
	Events     Events
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Rand returns a number in [0, 1) for jitter; default math/rand/v2. It must be
	// safe for concurrent use.
	Rand func() float64
	// Epoch fences every write of this process, where it is the only one on its database.
	Epoch uint64
	// Shared says that other processes deliver from the same database: only deliveries of
	// partitions that [Outbox.Own] named are touched, and their epoch fences the writes.
	Shared bool
	// Leased says whether a partition may be acted for under an epoch at this moment; nil means
	// always. It must not block.
	Leased func(partition int, epoch uint64) bool
	// Elsewhere is told of lanes that got deliveries which another process has to make, while
	// Shared. It must not block. Whether that process hears of it does not matter: it finds them.
	Elsewhere func(partition int, lane store.LaneRef)
}

func (d *Deps) setDefaults() error {
	if d.Store == nil || d.Events == nil {
		return fmt.Errorf("deliver: a store and its events are required")
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Registerer == nil {
		d.Registerer = prometheus.NewRegistry()
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Elsewhere == nil {
		d.Elsewhere = func(int, store.LaneRef) {}
	}
	if d.Rand == nil {
		d.Rand = rand.Float64
	}
	return nil
}
