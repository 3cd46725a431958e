package pipeline

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
	// Workers is how many chats are settled side by side; 0 means 64. They mostly
	// wait for the same group commit.
	Workers int
}

// Renderer turns a text into what goes on the wire.
type Renderer interface {
	// RenderText returns the address and the marshalled protobuf, MessageSecret included.
	RenderText(to, text string, quote *sdk.Message, mentions []string) (address string, payload []byte, err error)
}

// Endpoints says which endpoints an event may go to.
type Endpoints interface {
	// Match returns the endpoints whose own filter (account, event type) lets ev pass.
	Match(ev *sdk.Event) []EndpointRef
}

// EndpointRef names an endpoint.
type EndpointRef struct {
	// ID is stored with deliveries.
	ID string
	// Name is what rules route to.
	Name string
}

// Store is what the pipeline needs of the store.
type Store interface {
	store.Events
	store.Chats
	ListDeliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error)
}

// Deps is what the program passes in.
type Deps struct {
	Store     Store
	Rules     RuleSet
	Render    Renderer
	Endpoints Endpoints
	// Deliveries is called with an event's stored deliveries, in each chat's order. It must not block.
	Deliveries func([]store.Delivery, *sdk.Event)
	// Sends is called when sends of an account were stored. It must not block.
	Sends func(account string)
	// Leased says whether an account may be acted for under an epoch at this moment; nil means
	// always. It must not block.
	Leased     func(account string, epoch uint64) bool
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
	// Rand spreads retries; nil uses the global source.
	Rand func() float64
}

// resumePage is how many unfinished chats are read at once.
const resumePage = 500

// maxPlans bounds the verdicts that wait for the store to answer again.
const maxPlans = 10_000

// ErrNotOwned says that this process does not own the account (any more).
var ErrNotOwned = errors.New("account is not owned by this process")

// Pipeline stores events and settles what follows from them.
type Pipeline struct {
	deps    Deps
	log     *slog.Logger
	names   *names
	limit   *replyLimit
	plans   *plans
	lanes   *lanes
	metrics *metrics
	// appends keeps intake and own-sent events of one chat from overtaking each
	// other between the store and the lane. Striped: a chat always has the same lock.
	appends [256]sync.Mutex

	mu    sync.RWMutex
	owned map[string]*tenure
}

// New builds a pipeline; nothing runs before Start.
func New(cfg Config, deps Deps) (*Pipeline, error) {
	if deps.Store == nil || deps.Rules == nil || deps.Render == nil || deps.Endpoints == nil {
		return nil, errors.New("pipeline: store, rules, renderer and endpoints are needed")
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 64
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
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	p := &Pipeline{
		deps: deps, log: deps.Logger.With("component", "pipeline"),
		names: newNames(deps.Store), limit: newReplyLimit(), plans: newPlans(maxPlans),
		metrics: m, owned: make(map[string]*tenure),
	}
	p.lanes = newLanes(p, cfg.Workers)
	m.lanes(p.lanes.count)
	return p, nil
}

// Start starts the workers. Stop ends them.
func (p *Pipeline) Start() { p.lanes.start() }

// Stop lets the events being settled finish, and ends the workers. What waits stays
// stored and is taken up by the next start. Safe without Start, and twice.
func (p *Pipeline) Stop(ctx context.Context) error { return p.lanes.stop(ctx) }

// Own takes charge of an account under a lease's epoch, and takes up the events
// that a predecessor left unfinished. Call it before the account's intake begins.
func (p *Pipeline) Own(ctx context.Context, account string, epoch uint64) error {
	p.mu.Lock()
	if t := p.owned[account]; t == nil || t.epoch != epoch { // else it is told again
		p.owned[account] = &tenure{epoch: epoch}
	}
	p.mu.Unlock()
	resumed := 0
	var after store.ChatRef
	for {
		refs, err := p.deps.Store.UnfinishedChats(ctx, after, resumePage)
		if err != nil {
			return fmt.Errorf("resume account %s: %w", account, err)
		}
		for _, ref := range refs {
			if ref.Account == account {
				p.lanes.poke(ref)
				resumed++
			}
		}
		if len(refs) < resumePage {
			break
		}
		after = refs[len(refs)-1]
	}
	if resumed > 0 {
		p.log.Info("resuming unfinished events", "account", account, "chats", resumed)
	}
	return nil
}

// Disown ends the charge: no write of the account begins any more. It waits until those under
// way are through, so that a successor that begins afterwards sees them all, at most until ctx
// ends.
func (p *Pipeline) Disown(ctx context.Context, account string) error {
	p.mu.Lock()
	t := p.owned[account]
	delete(p.owned, account)
	p.mu.Unlock()
	p.lanes.forget(account)
	p.names.forget(account)
	if t == nil {
		return nil
	}
	through := make(chan struct{})
	go func() {
		t.writes.Wait()
		close(through)
	}()
	select {
	case <-through:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("writes of account %s are under way: %w", account, ctx.Err())
	}
}

// tenure is the time in which this process owns an account.
type tenure struct {
	epoch  uint64
	writes sync.WaitGroup
}

// write begins a write of an account under the epoch that it returns; through ends it.
func (p *Pipeline) write(account string) (epoch uint64, through func(), err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	t, err := p.tenure(account)
	if err != nil {
		return 0, nil, err
	}
	t.writes.Add(1)
	return t.epoch, t.writes.Done, nil
}

// owns fails if this process may not write anything of an account.
func (p *Pipeline) owns(account string) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, err := p.tenure(account)
	return err
}

// tenure is what owns goes by. p.mu is held.
func (p *Pipeline) tenure(account string) (*tenure, error) {
	t := p.owned[account]
	// Between the end of the lease and being told of it another process may own the account.
	if t == nil || p.deps.Leased != nil && !p.deps.Leased(account, t.epoch) {
		return nil, fmt.Errorf("%w: %s", ErrNotOwned, account)
	}
	return t, nil
}

// Event returns a stored event as its receivers see it: with the tags that rules put on it.
func (p *Pipeline) Event(ctx context.Context, id string) (store.StoredEvent, error) {
	se, err := p.deps.Store.Event(ctx, id)
	if err != nil || len(se.Verdict) == 0 {
		return se, err
	}
	pl, err := decodePlan(se.Verdict)
	if err != nil {
		return store.StoredEvent{}, err
	}
	se.Event.Tags = pl.Tags
	return se, nil
}
