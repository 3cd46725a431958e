package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// leaseTTL is how long a lease lasts. It is renewed well before it ends: an outage of the
// store that is shorter than the rest does not cost the connection.
const leaseTTL = 90 * time.Second

// acquire takes the account's lease, under which all its writes are fenced.
func (o *owner) acquire(ctx context.Context) error {
	if o.lease.Epoch == 0 {
		l, err := o.m.deps.Store.AcquireLease(ctx, accountLease+o.id, o.m.cfg.Instance, o.m.cfg.ttl())
		if err != nil {
			return fmt.Errorf("acquire account: %w", err)
		}
		o.taken(l)
	}
	if o.overdue() {
		return fmt.Errorf("acquire account: its lease has run out: %w", store.ErrStale)
	}
	if o.owned || o.m.deps.Owned == nil {
		return nil
	}
	o.owned = true // also if it fails halfway: what has begun is ended then
	if err := o.m.deps.Owned(ctx, o.id, o.lease.Epoch); err != nil {
		return errors.Join(fmt.Errorf("take over account: %w", err), o.forgo(o.m.cfg.margin()))
	}
	return nil
}

// taken notes a lease that was acquired. Of an account that other hubs may take a keeper renews
// it, once the account runs.
func (o *owner) taken(l store.Lease) {
	o.hold(l)
	if !o.m.cfg.Shared {
		o.renew = o.m.deps.Clock.After(o.m.cfg.renew())
		return
	}
	o.log.Info("account is taken", "epoch", l.Epoch, "until", l.Until)
	o.m.metrics.leases.WithLabelValues("taken").Inc()
}

// within bounds what the account's goroutine waits for: by the time, and by the lease.
func (o *owner) within(d time.Duration) (context.Context, context.CancelFunc) {
	if o.keeper == nil {
		return context.WithTimeout(context.Background(), d)
	}
	return context.WithTimeout(o.keeper.ctx, d)
}

// ttl is how long a lease lasts without being renewed.
func (c *Config) ttl() time.Duration {
	switch {
	case c.Lease > 0:
		return c.Lease
	case c.Shared:
		return sharedTTL
	}
	return leaseTTL
}

// renew is how often a lease is renewed, margin how long before its end a hub that could not
// renew it lets go, and look how often a hub looks at who holds what.
func (c *Config) renew() time.Duration  { return c.ttl() / 3 }
func (c *Config) margin() time.Duration { return c.ttl() / 6 }
func (c *Config) look() time.Duration   { return c.ttl() / 12 }

// lost drops a lease that is another's, or given back. It waits at most so long for what is
// being written.
func (o *owner) lost(wait time.Duration) error {
	epoch := o.lease.Epoch
	o.keeper.stop()
	o.hold(store.Lease{})
	err := o.forgo(wait)
	if o.m.cfg.Shared && epoch != 0 {
		o.log.Info("account is let go", "epoch", epoch)
		o.m.metrics.leases.WithLabelValues("let_go").Inc()
	}
	return err
}

// forgo tells that nothing of the account is to be written any more, and waits at most so long
// for what is being written.
func (o *owner) forgo(wait time.Duration) error {
	if !o.owned || o.m.deps.Lost == nil {
		return nil
	}
	o.owned = false
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	return o.m.deps.Lost(ctx, o.id)
}

func (o *owner) hold(l store.Lease) {
	o.lease = l
	o.m.tenures.set(o.id, l)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.Epoch = l.Epoch
}

// prolong renews the lease where there are no other hubs. Without it no connection may be held:
// two owners of one account would throw each other out.
func (o *owner) prolong() {
	ctx, cancel := context.WithTimeout(context.Background(), min(storeTimeout, o.m.cfg.renew()))
	defer cancel()
	l, err := o.m.deps.Store.RenewLease(ctx, o.lease, o.m.cfg.ttl())
	switch {
	case err == nil:
		o.hold(l)
		o.log.Debug("account's lease is renewed", "epoch", l.Epoch, "until", l.Until)
	case errors.Is(err, store.ErrStale):
		o.log.Error("account's lease was lost", "err", err)
		o.renew = nil
		if o.want {
			o.retry(ReasonLeaseLost)
		}
		_ = o.lost(0)
		return
	case o.m.deps.Clock.Now().After(o.lease.Until):
		o.log.Error("account's lease ran out", "err", err)
		if o.session != nil {
			o.retry(ReasonLeaseLost)
		}
	default:
		o.log.Warn("account's lease was not renewed", "err", err)
		o.m.storage.doubt()
	}
	o.renew = o.m.deps.Clock.After(o.m.cfg.renew())
}

// expired lets go of an account whose lease ends, and could not be renewed, or is another's: that
// one may take it any moment, or has. This one takes it again if it is free once the database
// answers.
func (o *owner) expired() {
	o.gone = true // here
	if o.keeper != nil && o.keeper.taken() {
		_ = o.lost(0) // there is nothing to wait for
		return
	}
	if held(o.snapshot().State) {
		o.display(StateReconnecting, ReasonLeaseLost, "") // nothing is to be written any more
	}
	o.m.park(o)
}

// release gives the lease back. Another hub may take it at once, so that nothing is done under
// it any more when it goes.
func (o *owner) release() {
	o.renew = nil
	l := o.lease
	if l.Epoch == 0 {
		return
	}
	if o.m.storage.outage() != nil {
		_ = o.lost(0)
		return // it runs out by itself
	}
	wait := storeTimeout
	if o.m.cfg.Shared { // nobody renews it from now on
		left := o.m.tenures.of(o.id).Until.Sub(o.m.deps.Clock.Now())
		wait = min(wait, max(left, o.m.cfg.margin()))
	}
	if err := o.lost(wait); err != nil {
		o.log.Warn("account's lease is not given back, it runs out by itself", "err", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(wait, o.m.cfg.renew()))
	defer cancel()
	if err := o.m.deps.Store.ReleaseLease(ctx, l); err != nil {
		o.log.Warn("account's lease was not given back", "err", err)
	}
}
