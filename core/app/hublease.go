package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// hubTTL is how long a hub that died keeps another one out, hubRenew how often one that
	// lives says so.
	hubTTL   = time.Minute
	hubRenew = 15 * time.Second
)

// hubLease is the right to be the database's hub. On SQLite the lock on the data folder
// is what grants it, and nobody else can ask.
type hubLease struct {
	// instance names this hub to others on the same database; "" if there can be none.
	instance string
	// failed yields an error if the lease is lost, or another part ends that should not.
	failed chan error

	leases store.Leases
	log    *slog.Logger
	lease  store.Lease
	quit   chan struct{}
	once   sync.Once
	done   sync.WaitGroup
}

// takeHub fails with store.ErrStale if another hub has it.
func takeHub(ctx context.Context, leases store.Leases, instance string, log *slog.Logger) (*hubLease, error) {
	owner := instance
	if owner == "" {
		owner = "hub"
	}
	l, err := leases.AcquireLease(ctx, "hub", owner, hubTTL)
	if err != nil {
		return nil, fmt.Errorf("take the hub's lease: %w", err)
	}
	return &hubLease{
		instance: instance, failed: make(chan error, 2), leases: leases, log: log, lease: l, quit: make(chan struct{}),
	}, nil
}

func (h *hubLease) epoch() uint64 { return h.lease.Epoch }

// start keeps the lease until stop, and passes on the other part's failure.
func (h *hubLease) start(other <-chan error) {
	h.done.Go(func() {
		var tick <-chan time.Time
		if h.instance != "" {
			t := time.NewTicker(hubRenew)
			defer t.Stop()
			tick = t.C
		}
		for {
			select {
			case <-h.quit:
				return
			case err := <-other:
				h.failed <- err
				return
			case <-tick:
				if err := h.renew(); err != nil {
					h.failed <- err
					return
				}
			}
		}
	})
}

// renew fails once another hub has the lease. An outage of the database is no reason to
// stop: what the other would write then is fenced.
func (h *hubLease) renew() error {
	ctx, cancel := context.WithTimeout(context.Background(), hubRenew)
	defer cancel()
	l, err := h.leases.RenewLease(ctx, h.lease, hubTTL)
	switch {
	case err == nil:
		h.lease = l
	case errors.Is(err, store.ErrStale):
		return fmt.Errorf("another hub took over the database: %w", err)
	default:
		h.log.Warn("the hub's lease was not renewed", "err", err)
	}
	return nil
}

// stop gives the lease back. Safe twice, and without start.
func (h *hubLease) stop() error {
	h.once.Do(func() {
		close(h.quit)
		h.done.Wait()
		if h.instance == "" {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := h.leases.ReleaseLease(ctx, h.lease); err != nil {
			h.log.Warn("the hub's lease was not given back", "err", err)
		}
	})
	return nil
}
