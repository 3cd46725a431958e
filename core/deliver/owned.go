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
				l.stale = true
				o.reread(l)
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

// Disown ends it: attempts under way may finish within the grace, and within three quarters of
// the time until ctx ends, then are cancelled, which spends none; and their outcomes are written,
// so that a successor that begins after Disown returned repeats nothing. It waits for that at
// most until ctx ends.
func (o *Outbox) Disown(ctx context.Context, partition int) error {
	busy := o.drop(partition)
	if len(busy) == 0 {
		return nil
	}
	patience := o.cfg.Grace
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end)*3/4)
	}
	cut := time.NewTimer(patience)
	defer cut.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for impatient := false; len(busy) > 0; {
		select {
		case <-tick.C:
			if impatient { // also what had only just begun
				o.cut(busy)
			}
		case <-cut.C:
			impatient = true
		case <-ctx.Done():
			o.cut(busy)
			return fmt.Errorf("hand deliveries of partition %d over: %w", partition, ctx.Err())
		}
		busy = o.busy(busy)
	}
	return nil
}

// drop forgets a partition's lanes, and returns those that have something under way.
func (o *Outbox) drop(partition int) (busy []*lane) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.owned, partition)
	now := o.now()
	for _, ep := range o.order {
		for _, l := range ep.lanes {
			if l.partition != partition {
				continue
			}
			o.shed(l)
			if l.flying > 0 || l.unflushed > 0 {
				busy = append(busy, l)
			}
			ep.place(l, now)
		}
		clear(ep.tops)
	}
	return busy
}

// busy returns those of the lanes that still have something under way, and forgets what has
// come back to the others.
func (o *Outbox) busy(lanes []*lane) (still []*lane) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	for _, l := range lanes {
		switch {
		case l.flying > 0 || l.unflushed > 0:
			still = append(still, l)
		case l.ep != nil:
			o.shed(l)
			l.ep.place(l, now)
		}
	}
	return still
}

// cut cancels what is under way of some lanes.
func (o *Outbox) cut(lanes []*lane) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range lanes {
		l.cancel()
	}
}

// cancel ends the attempts that are under way; their outcomes come.
func (l *lane) cancel() {
	for _, it := range l.items {
		if it.cancel != nil {
			it.cancel()
		}
	}
}

// shed drops what a lane has waiting. The caller holds mu.
func (o *Outbox) shed(l *lane) {
	var under []*item // their outcomes come
	for _, it := range l.items {
		if it.flying || it.flushing {
			under = append(under, it)
		} else {
			o.release(it)
		}
	}
	l.items, l.top, l.more = under, 0, false
}

// empty drops what a lane has waiting, and cancels what is under way. The caller holds mu.
func (o *Outbox) empty(l *lane) {
	l.cancel()
	o.shed(l)
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
	o.shed(l)
	ep.place(l, now)
	return true
}

// broken says that the store may have deliveries of a lane between those that memory knows
// and d: another process wrote them, and this one was not told.
func (ep *endpoint) broken(l *lane, d *store.Delivery) bool {
	if l.top == 0 {
		return d.Prev != ep.tops[l.ref]
	}
	return d.Prev != l.top && d.Seq > l.top
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
