package deliver

import (
	"context"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// sharedRescan is how often the store is searched where other processes write deliveries
	// that are ours to make: they tell of them, but what they tell may get lost. A search of a
	// large backlog is not to be most of what the store does: it pauses restShare times as long
	// as it took.
	sharedRescan = time.Second
	restShare    = 20
)

// startScan searches the store for an endpoint's lanes. The caller holds mu.
func (o *Outbox) startScan(ctx context.Context, ep *endpoint) {
	ep.scanning = true
	o.loops.Add(1)
	go func() {
		defer o.loops.Done()
		o.scan(ctx, ep)
	}()
}

func (o *Outbox) scan(ctx context.Context, ep *endpoint) {
	begun := o.now()
	o.mu.Lock()
	ep.round++
	ep.rescan = false
	life, round := ep.life, ep.round
	partitions := make([]int, 0, len(o.owned))
	for p := range o.owned {
		partitions = append(partitions, p)
	}
	o.mu.Unlock()
	var err error
	if o.shared {
		err = o.scanIn(ctx, ep, life, partitions)
	} else {
		err = o.scanAll(ctx, ep, life)
	}
	if err != nil && ctx.Err() == nil {
		o.log.Warn("lanes not read, trying again", "connector", ep.Name, "err", err)
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.wakeDispatcher()
	ep.scanning = false
	now := o.now()
	switch {
	case ep.life != life:
		ep.scan = time.Time{}
	case err != nil:
		ep.scan = now.Add(readPause)
	default:
		ep.scanned = true
		took := now.Sub(begun)
		ep.scan, ep.rest = now.Add(o.pause(took)), now.Add(took)
		if ep.rescan {
			ep.scan = ep.rest
		}
		if o.shared {
			o.unlisted(ep, round, now)
		}
	}
}

// pause is how long a scan that took so long is good for.
func (o *Outbox) pause(took time.Duration) time.Duration {
	if o.shared {
		return min(max(sharedRescan, restShare*took), rescan)
	}
	return rescan
}

// scanAll notes all lanes of an endpoint that have queued deliveries.
func (o *Outbox) scanAll(ctx context.Context, ep *endpoint, life int) error {
	var after store.LaneRef
	for {
		refs, err := o.store.QueuedLanes(ctx, ep.ID, after, lanePage)
		if err != nil {
			return err
		}
		if !o.found(ep, life, refs) || len(refs) < lanePage {
			return nil
		}
		after = refs[len(refs)-1]
	}
}

// found notes lanes that have queued deliveries; false if the endpoint was
// forgotten meanwhile, and what the scan says is old.
func (o *Outbox) found(ep *endpoint, life int, refs []store.LaneRef) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ep.life != life {
		return false
	}
	now := o.now()
	for _, ref := range refs {
		if ep.lanes[ref] != nil {
			continue
		}
		l := ep.lane(ref)
		l.more = true
		ep.place(l, now)
	}
	o.wakeDispatcher()
	return true
}

// scanIn notes those lanes of an endpoint that are in our partitions.
func (o *Outbox) scanIn(ctx context.Context, ep *endpoint, life int, partitions []int) error {
	var after store.LaneRef
	for {
		lanes, err := o.store.QueuedLanesIn(ctx, ep.ID, partitions, after, lanePage)
		if err != nil {
			return err
		}
		if !o.foundIn(ep, life, lanes) || len(lanes) < lanePage {
			return nil
		}
		after = lanes[len(lanes)-1].LaneRef
	}
}

// foundIn is found where other processes write, too: also what is new in lanes that memory knows.
func (o *Outbox) foundIn(ep *endpoint, life int, lanes []store.LaneState) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ep.life != life {
		return false
	}
	now := o.now()
	for _, s := range lanes {
		l := ep.lanes[s.LaneRef]
		switch {
		case l == nil && !o.mine(partitionOf(s.LaneRef)):
			continue
		case l == nil:
			l = ep.lane(s.LaneRef)
			l.more = true
		case l.more:
			o.topUp(l)
		case s.Last > l.top:
			l.more = true
			o.topUp(l)
		case l.touched < ep.round && l.quiet() && (s.Queued != len(l.items) || s.Last != l.items[len(l.items)-1].seq):
			o.renew(l)
			l.more = true
		}
		l.listed = ep.round
		ep.place(l, now)
	}
	o.wakeDispatcher()
	return true
}

// unlisted forgets the lanes that a scan should have found and did not: their account was
// deleted by another process, or their deliveries were cancelled. The caller holds mu.
func (o *Outbox) unlisted(ep *endpoint, round uint64, now time.Time) {
	for _, l := range ep.lanes {
		if l.listed < round && l.touched < round && l.quiet() {
			o.renew(l)
			l.more = false
			ep.place(l, now)
		}
	}
}

// topUp reads a lane's next deliveries if there is room, though its head may be waiting: what
// memory has then is all there is, and can be compared with what the next scan says.
func (o *Outbox) topUp(l *lane) {
	if l.fresh() <= laneLow {
		o.refill(l)
	}
}

// renew drops what memory knows of a quiet lane. The caller holds mu.
func (o *Outbox) renew(l *lane) {
	for _, it := range l.items {
		o.release(it)
	}
	l.items, l.top = nil, 0
}

// reread drops what memory knows of a lane that is stale, so that it is read again, once
// nothing of it is under way. The caller holds mu.
func (o *Outbox) reread(l *lane) {
	if l.stale && l.quiet() {
		o.renew(l)
		l.stale, l.more = false, true
	}
}

// Nudge says that another process has written into lanes. Those that are not ours are passed over.
func (o *Outbox) Nudge(lanes []store.LaneRef) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	for _, ref := range lanes {
		ep := o.endpoints[ref.Endpoint]
		switch {
		case ep == nil || ep.leaving || !o.mine(partitionOf(ref)):
			continue
		case ep.disabled:
			ep.park = true
			o.wakeController()
			continue
		}
		l := ep.lane(ref)
		l.more, l.again, l.touched = true, l.loading, ep.round
		ep.place(l, now)
	}
	o.wakeDispatcher()
}

// Rescan says that another process has written into more lanes than it can name. However often
// it says so, searches take half of the time at most.
func (o *Outbox) Rescan() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, ep := range o.order {
		ep.scan, ep.rescan = ep.rest, true
	}
	o.wakeDispatcher()
}
