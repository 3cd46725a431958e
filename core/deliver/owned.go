package deliver

import (
	"context"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// Where several processes deliver from one database, each makes the deliveries of the
// partitions that it holds, whoever writes them. A lane lies wholly in one partition, so that
// its order is one process's affair; what others write into it is read from the store.

// Own begins to deliver what waits in a partition, under its lease's epoch.
func (o *Outbox) Own(partition int, epoch uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owned[partition] = epoch
	now := o.now()
	for _, ep := range o.order {
		for _, l := range ep.lanes {
			if l.partition == partition { // something is under way from a time before
				l.more = true
				ep.place(l, now)
			}
		}
		ep.scan = time.Time{} // its lanes were passed over until now
		ep.scanned = false
		ep.life++ // and may be in a scan that is under way
		clear(ep.tops)
	}
	o.wakeDispatcher()
}

// Disown ends it: attempts under way are cancelled, which spends none, and their outcomes
// written, so that a successor that begins after Disown returned repeats nothing. It waits
// for that at most until ctx ends.
func (o *Outbox) Disown(ctx context.Context, partition int) error {
	o.mu.Lock()
	delete(o.owned, partition)
	o.mu.Unlock()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for o.drop(partition) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("hand deliveries of partition %d over: %w", partition, ctx.Err())
		}
	}
	return nil
}

// drop forgets a partition's lanes, and says how many have something under way.
func (o *Outbox) drop(partition int) (busy int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, again := o.owned[partition]; again {
		return 0
	}
	now := o.now()
	for _, ep := range o.order {
		for _, l := range ep.lanes {
			if l.partition != partition {
				continue
			}
			o.empty(l)
			if l.flying > 0 || l.unflushed > 0 {
				busy++
			}
			ep.place(l, now)
		}
		clear(ep.tops)
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

// partitionOf is that of a lane.
func partitionOf(ref store.LaneRef) int {
	return store.Partition(store.ChatRef{Account: ref.Account, Chat: ref.Chat})
}

// mine says whether a partition's deliveries are ours to make. The caller holds mu.
func (o *Outbox) mine(partition int) bool {
	epoch, owned := o.owned[partition]
	return owned && o.leased(partition, epoch) || !o.shared
}

// fence is the epoch under which the outcomes of what begins now are written. The caller holds mu.
func (o *Outbox) fence(partition int) uint64 {
	if !o.shared {
		return o.epoch
	}
	return o.owned[partition]
}

// leased says whether a partition may be acted for under an epoch. Between the end of a lease
// and Disown another process may make the partition's deliveries.
func (o *Outbox) leased(partition int, epoch uint64) bool {
	return o.lease == nil || o.lease(partition, epoch)
}

// strangers says whether a lane, which has got a delivery, is another process's, and sees to it
// that that one is told. The caller holds mu.
func (o *Outbox) strangers(ref store.LaneRef) bool {
	if !o.shared {
		return false
	}
	p := partitionOf(ref)
	if o.mine(p) {
		return false
	}
	o.abroad(p, ref)
	return true
}

// strange empties a lane whose turn has come although its partition is another's by now. The
// caller holds mu.
func (o *Outbox) strange(ep *endpoint, l *lane, now time.Time) bool {
	if o.mine(l.partition) {
		return false
	}
	o.empty(l)
	ep.place(l, now)
	return true
}

// broken says that the store may have deliveries of a lane between those that memory knows
// and d: another process wrote them, and this one was not told.
func (ep *endpoint) broken(l *lane, d *store.Delivery) bool {
	top := l.top
	if top == 0 {
		top = ep.tops[l.ref]
	}
	return d.Prev != top && d.Seq > top
}

// maxTops bounds how many lanes are remembered that memory has nothing else of.
const maxTops = 16384

// remember keeps how far a lane was known, so that its next delivery need not ask the store
// whether there are others before it. The caller holds mu.
func (ep *endpoint) remember(l *lane) {
	if !ep.shared || l.top == 0 {
		return
	}
	if len(ep.tops) >= maxTops {
		clear(ep.tops)
	}
	ep.tops[l.ref] = l.top
}
