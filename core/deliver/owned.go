package deliver

import (
	"context"
	"fmt"
	"time"
)

// Where several processes deliver from one database, an account's deliveries belong to the
// process that owns the account. That keeps each chat's order without a message between
// processes: who writes a delivery is who makes it.

// Own begins to deliver what waits for an account, under its lease's epoch.
func (o *Outbox) Own(account string, epoch uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owned[account] = epoch
	for _, ep := range o.order {
		ep.scan = time.Time{} // its lanes were passed over until now
		ep.scanned = false
		ep.life++ // and may be in a scan that is under way
	}
	o.wakeDispatcher()
}

// Disown ends it: attempts under way are cancelled, which spends none, and their outcomes
// written, so that a successor that begins after Disown returned repeats nothing. It waits
// for that at most until ctx ends.
func (o *Outbox) Disown(ctx context.Context, account string) error {
	o.mu.Lock()
	if epoch, ok := o.owned[account]; ok {
		o.ceding[account] = epoch
		delete(o.owned, account)
	}
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.ceding, account)
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for o.drop(account) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("hand deliveries of %s over: %w", account, ctx.Err())
		}
	}
	return nil
}

// drop forgets an account's lanes, and says how many have something under way.
func (o *Outbox) drop(account string) (busy int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, again := o.owned[account]; again {
		return 0
	}
	now := o.now()
	for _, ep := range o.order {
		for ref, l := range ep.lanes {
			if ref.Account != account {
				continue
			}
			o.empty(l)
			if l.flying > 0 || l.unflushed > 0 {
				busy++
			}
			ep.place(l, now)
		}
	}
	return busy
}

// empty drops what a lane has waiting, and cancels what is under way. The caller holds mu.
func (o *Outbox) empty(l *lane) {
	var under []*item // their outcomes come
	for _, it := range l.items {
		switch {
		case it.flying:
			if it.cancel != nil {
				it.cancel()
			}
			under = append(under, it)
		case it.flushing:
			under = append(under, it)
		default:
			o.release(it)
		}
	}
	l.items, l.top, l.more = under, 0, false
}

// mine says whether an account's deliveries are ours to make. The caller holds mu.
func (o *Outbox) mine(account string) bool {
	epoch, owned := o.owned[account]
	return owned && o.leased(account, epoch) || !o.shared
}

// fence is the epoch under which an account's outcomes are written. The caller holds mu.
func (o *Outbox) fence(account string) uint64 {
	if !o.shared {
		return o.epoch
	}
	if epoch, ok := o.owned[account]; ok {
		return epoch
	}
	return o.ceding[account]
}

// leased says whether an account may be acted for under an epoch. Between the end of a lease
// and Disown another process may make the account's deliveries.
func (o *Outbox) leased(account string, epoch uint64) bool {
	return o.lease == nil || o.lease(account, epoch)
}

// strange empties a lane whose turn has come although its account is another's by now. The
// caller holds mu.
func (o *Outbox) strange(ep *endpoint, l *lane, now time.Time) bool {
	if o.mine(l.ref.Account) {
		return false
	}
	o.empty(l)
	ep.place(l, now)
	return true
}

func (o *Outbox) rescan() time.Duration {
	if o.shared {
		return sharedRescan
	}
	return rescan
}
