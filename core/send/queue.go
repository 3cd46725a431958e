// Package send takes outgoing messages from their stored row to WhatsApp: one at a
// time per account, each written down before it leaves, so that after a crash the
// uncertain ones are known and are repeated as the same message, or not at all.
//
// It owns a send's states and their order; it does not render messages (package
// whatsapp), decide what is sent (pipeline, api), or hold a connection (account).
package send

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// Config is what the operator chose.
type Config struct {
	// AtMostOnce never repeats an uncertain send.
	AtMostOnce bool
	// Timeout bounds one attempt; 0 means 90 s, since after an internal resend
	// whatsmeow can wait without end while it holds the account's send lock.
	Timeout time.Duration
	// MaxUncertain is how many attempts may end uncertain before the send is given
	// up as unknown, so that one message cannot hold up an account for ever; 0 means 10.
	MaxUncertain int
	// MaxUnsent is how often, while one connection lasts, a message may fail before it
	// leaves until it is failed for the same reason; 0 means 10.
	MaxUnsent int
}

// Store is what the queue needs of the store.
type Store interface {
	store.Sends
	Message(ctx context.Context, account, waID string) (store.Message, error)
	ResolveAlias(ctx context.Context, account string, forms ...string) (store.Alias, error)
}

// Events stores own-sent events. The pipeline implements it.
type Events interface {
	AppendSent(ctx context.Context, ev *sdk.Event, mark store.SentMark) error
}

// Renderer turns texts into payloads and payloads back into messages.
type Renderer interface {
	RenderText(to, text string, quote *sdk.Message, mentions []string) (address string, payload []byte, err error)
	// Describe returns the message event of a payload that we sent.
	Describe(account, waID, to string, payload []byte, at time.Time) (*sdk.Event, error)
	// NewID returns a fresh WhatsApp message id.
	NewID() string
}

// Deps is what the program passes in.
type Deps struct {
	Store  Store
	Events Events
	Render Renderer
	// Leased says whether an account may be acted for under an epoch at this moment; nil means
	// always. It must not block.
	Leased func(account string, epoch uint64) bool
	// Tenure returns the epoch under which this process holds an account at this moment, 0 if
	// it does not; nil means that no other process can. It must not block.
	Tenure     func(account string) (epoch uint64)
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
	// Rand spreads retries; nil uses the global source.
	Rand func() float64
}

// Queue sends. It is shared by all accounts.
type Queue struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	results *prometheus.CounterVec
	took    prometheus.Histogram
	// started tells the callers of this process from those of a dead one, where no other
	// process could have any. In whole milliseconds, as the store keeps times.
	started time.Time
	// ackGrace is the constant of that name.
	ackGrace time.Duration
	// every is how often a caller looks for an outcome that another process has stored.
	every time.Duration

	mu      sync.Mutex
	wake    map[string]chan struct{}
	waiters map[string][]chan struct{}
	// disowned are messages without a key whose callers were answered before anything was known.
	disowned []string
}

// New builds a queue; nothing runs before Run.
func New(cfg Config, deps Deps) (*Queue, error) {
	if deps.Store == nil || deps.Events == nil || deps.Render == nil {
		return nil, errors.New("send: store, events and renderer are needed")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 90 * time.Second
	}
	if cfg.MaxUncertain <= 0 {
		cfg.MaxUncertain = 10
	}
	if cfg.MaxUnsent <= 0 {
		cfg.MaxUnsent = 10
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Rand == nil {
		deps.Rand = rand.Float64
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Registerer == nil {
		deps.Registerer = prometheus.NewRegistry()
	}
	q := &Queue{
		cfg: cfg, deps: deps, log: deps.Logger.With("component", "send"), started: deps.Now().Truncate(time.Millisecond),
		wake: make(map[string]chan struct{}), waiters: make(map[string][]chan struct{}), every: outcomePoll, ackGrace: ackGrace,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wildcat_sends_total", Help: "Attempts to send, by result (sent, refused, requeued, unsendable, withdrawn, uncertain, repeated, unknown, confirmed).",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wildcat_send_duration_seconds", Help: "Time from handing a message to WhatsApp to its acceptance.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 13),
		}),
	}
	for _, c := range []prometheus.Collector{q.results, q.took} {
		if err := deps.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("send metrics: %w", err)
		}
	}
	return q, nil
}

// errNotLeased says that another process may own the account by now.
var errNotLeased = errors.New("the account's lease has run out")

// leased fails where the account may be another process's by now: what is under way is left
// to that process, as it stands.
func (q *Queue) leased(account string, epoch uint64) error {
	if q.deps.Leased == nil || q.deps.Leased(account, epoch) {
		return nil
	}
	return errNotLeased
}

// Wake says that sends of an account were stored. It does not block.
func (q *Queue) Wake(account string) {
	select {
	case q.bell(account) <- struct{}{}:
	default:
	}
}

func (q *Queue) bell(account string) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	ch := q.wake[account]
	if ch == nil {
		ch = make(chan struct{}, 1)
		q.wake[account] = ch
	}
	return ch
}

// settled wakes those who wait for a send's outcome.
func (q *Queue) settled(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, ch := range q.waiters[id] {
		close(ch)
	}
	delete(q.waiters, id)
}

// watch returns a channel that closes when the send's outcome is stored.
func (q *Queue) watch(id string) (done <-chan struct{}, cancel func()) {
	ch := make(chan struct{})
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiters[id] = append(q.waiters[id], ch)
	return ch, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		for i, c := range q.waiters[id] {
			if c == ch {
				q.waiters[id] = append(q.waiters[id][:i], q.waiters[id][i+1:]...)
				break
			}
		}
		if len(q.waiters[id]) == 0 {
			delete(q.waiters, id)
		}
	}
}
