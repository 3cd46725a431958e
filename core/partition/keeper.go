// Package partition owns which hub makes which deliveries. All deliveries are spread over
// [store.Partitions] partitions, a chat's always in the same; the hubs on one database hold
// about as many of these as each other, under leases that are short. What is delivered, and
// how, belongs to package deliver.
//
// The rules are those of the accounts' leases: who could not renew one lets go before it ends,
// who was stopped for longer finds by its own clock that it has ended, and what is written
// bears the lease's epoch.
package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// defaultTTL is how long a hub that died keeps its partitions from others, unless it was chosen.
	defaultTTL = 12 * time.Second
	// cedeTimeout bounds how long what is under way may hold up handing a partition over.
	cedeTimeout = 5 * time.Second
	// atOnce bounds how many leases are taken at a time: a database that is slow must not make
	// a takeover take as long as all of them one after the other.
	atOnce = 8
)

// Config is what the operator chose.
type Config struct {
	// Instance is this hub's name among those on the database.
	Instance string
	// Lease is how long a lease lasts that is not renewed; 0 is 12 s.
	Lease time.Duration
}

// Store is what the keeper needs of the store.
type Store interface {
	AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (store.Lease, error)
	RenewLeases(ctx context.Context, ls []store.Lease, ttl time.Duration) ([]store.Lease, error)
	ReleaseLease(ctx context.Context, l store.Lease) error
	ListLeases(ctx context.Context, prefix string) ([]store.Lease, error)
}

// Clock is time, to be replaced in tests.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type realClock struct{}

func (realClock) Now() time.Time                         { return time.Now() }
func (realClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Deps is what the program passes in. Store, Own and Disown are needed.
type Deps struct {
	Store Store
	// Own is told that this hub has a partition from now on, under this epoch. It must not block.
	Own func(partition int, epoch uint64)
	// Disown ends that: nothing of the partition is to be under way when it returns, which it
	// does at the latest soon after ctx ends.
	Disown     func(ctx context.Context, partition int) error
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Clock      Clock
}

// Keeper has this hub's part of the partitions. All methods are safe for concurrent use.
type Keeper struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics

	mu   sync.RWMutex
	held map[int]tenure
	// barred are partitions that were let go of while their lease may still stand in the
	// database, until when it does: taken again before, it would have the same epoch.
	barred map[int]time.Time
	// holders are who had which at the last look.
	holders [store.Partitions]string

	started bool
	quit    context.CancelFunc
	once    sync.Once
	loops   sync.WaitGroup
	work    sync.WaitGroup // what is being handed over
}

// tenure is a lease that this hub holds.
type tenure struct {
	lease store.Lease
	// end is when the lease ends by this process's own clock, counted from before it was asked for.
	end    time.Time
	ceding bool
}

// lasts says whether the lease goes on for at least d: by the monotonic clock, which nobody
// sets, and by the wall clock, which goes on while the machine sleeps.
func (t tenure) lasts(now time.Time, d time.Duration) bool {
	now = now.Add(d)
	return now.Before(t.end) && now.Before(t.lease.Until)
}

// New makes a keeper; nothing happens before Start.
func New(cfg Config, deps Deps) (*Keeper, error) {
	if cfg.Instance == "" || deps.Store == nil || deps.Own == nil || deps.Disown == nil {
		return nil, errors.New("partitions: a name, a store and what to tell of partitions are needed")
	}
	if cfg.Lease <= 0 {
		cfg.Lease = defaultTTL
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Registerer == nil {
		deps.Registerer = prometheus.NewRegistry()
	}
	if deps.Clock == nil {
		deps.Clock = realClock{}
	}
	k := &Keeper{
		cfg: cfg, deps: deps, log: deps.Logger.With("component", "partition"),
		held: map[int]tenure{}, barred: map[int]time.Time{}, quit: func() {},
	}
	m, err := newMetrics(deps.Registerer, k)
	k.metrics = m
	return k, err
}

// renew is how often leases are renewed, margin how long before its end one is let go of that
// could not be, and look how often a hub looks at who holds what.
func (c *Config) renew() time.Duration  { return c.Lease / 3 }
func (c *Config) margin() time.Duration { return c.Lease / 6 }
func (c *Config) look() time.Duration   { return c.Lease / 12 }

// Start takes this hub's part, as far as it is free, and keeps at it. The hub must have
// announced itself. ctx bounds the start only. It may be called once.
func (k *Keeper) Start(ctx context.Context) error {
	k.mu.Lock()
	again := k.started
	k.started = true
	k.mu.Unlock()
	if again {
		return errors.New("partitions: started twice")
	}
	s := &sharer{k: k}
	if err := s.tend(ctx); err != nil {
		return fmt.Errorf("take partitions: %w", err)
	}
	ctx, k.quit = context.WithCancel(context.WithoutCancel(ctx))
	// Each in its own time: neither a slow look nor a slow renewal keeps this hub from letting
	// go of what ends.
	renewed := k.deps.Clock.Now()
	k.every(ctx, func() { renewed = k.renewAll(ctx, renewed) })
	k.every(ctx, func() { s.turn(ctx) })
	k.every(ctx, k.expire)
	return nil
}

// every does something once in a look, until ctx ends.
func (k *Keeper) every(ctx context.Context, do func()) {
	k.loops.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-k.deps.Clock.After(k.cfg.look()):
			}
			do()
		}
	})
}

// Stop gives everything back, so that other hubs may take it at once. It takes as long as what
// is under way, within the bound of a handover. Safe without Start, and safe twice.
func (k *Keeper) Stop() {
	k.once.Do(func() {
		k.quit()
		k.loops.Wait()
		for p := range store.Partitions {
			k.cede(p)
		}
	})
	k.work.Wait()
}
