package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// A lease is renewed well before it ends: an outage of the store that is shorter than
// the rest does not cost the connection.
const (
	leaseTTL   = 90 * time.Second
	leaseRenew = 30 * time.Second
)

// acquire takes the account's lease, under which all its writes are fenced.
func (o *owner) acquire(ctx context.Context) error {
	if o.lease.Epoch == 0 {
		l, err := o.m.deps.Store.AcquireLease(ctx, "account/"+o.id, o.m.cfg.Instance, leaseTTL)
		if err != nil {
			return fmt.Errorf("acquire account: %w", err)
		}
		o.hold(l)
		o.renew = o.m.deps.Clock.After(leaseRenew)
	}
	if o.owned || o.m.deps.Owned == nil {
		return nil
	}
	if err := o.m.deps.Owned(ctx, o.id, o.lease.Epoch); err != nil {
		return fmt.Errorf("take over account: %w", err)
	}
	o.owned = true
	return nil
}

// lost drops a lease that is another's, or given back.
func (o *owner) lost() {
	o.hold(store.Lease{})
	if o.owned && o.m.deps.Lost != nil {
		o.m.deps.Lost(o.id)
	}
	o.owned = false
}

func (o *owner) hold(l store.Lease) {
	o.lease = l
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.Epoch = l.Epoch
}

// prolong renews the lease. Without it no connection may be held: two owners of one
// account would throw each other out.
func (o *owner) prolong() {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	l, err := o.m.deps.Store.RenewLease(ctx, o.lease, leaseTTL)
	switch {
	case err == nil:
		o.hold(l)
	case errors.Is(err, store.ErrStale):
		o.log.Error("account's lease was lost", "err", err)
		o.renew = nil
		if o.want {
			o.retry(ReasonLeaseLost)
		}
		o.lost()
		return
	case o.m.deps.Clock.Now().After(o.lease.Until):
		o.log.Error("account's lease ran out", "err", err)
		if o.session != nil {
			o.retry(ReasonLeaseLost)
		}
	default:
		o.log.Warn("account's lease was not renewed", "err", err)
	}
	o.renew = o.m.deps.Clock.After(leaseRenew)
}

// release gives the lease back.
func (o *owner) release() {
	o.renew = nil
	if o.lease.Epoch == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	if err := o.m.deps.Store.ReleaseLease(ctx, o.lease); err != nil {
		o.log.Warn("account's lease was not given back", "err", err)
	}
	o.lost()
}
