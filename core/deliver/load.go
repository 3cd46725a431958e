package deliver

import (
	"context"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// loaders is how many reads of lanes run at once.
	loaders = 4
	// lanePage is how many lanes one read of a scan returns.
	lanePage = 500
	// rescan is how often the store is searched for lanes that memory does not know.
	// Enqueue makes it unnecessary; it is there in case a call never came.
	rescan = time.Minute
	// sharedRescan is the same where other processes put deliveries of our accounts into
	// the store: replays, and what a predecessor's last event led to.
	sharedRescan = 3 * time.Second
	// readPause is how long a read that failed waits.
	readPause = 500 * time.Millisecond
)

// refill asks for a lane's next deliveries. The caller holds mu.
func (o *Outbox) refill(l *lane) {
	if l.more && !l.loading {
		l.loading = true
		o.loads = append(o.loads, l)
	}
}

// startLoads starts what reads may run. The caller holds mu.
func (o *Outbox) startLoads(ctx context.Context) {
	for o.loading < loaders && len(o.loads) > 0 && !o.stopping {
		l := o.loads[0]
		o.loads = o.loads[1:]
		o.loading++
		o.loops.Add(1)
		go func() {
			defer o.loops.Done()
			o.load(ctx, l)
		}()
	}
}

// load reads a lane's next deliveries from the store.
func (o *Outbox) load(ctx context.Context, l *lane) {
	o.mu.Lock()
	after := l.top
	l.again = false
	o.mu.Unlock()

	ds, err := o.store.LaneDeliveries(ctx, l.ref, after, laneWindow)
	if err != nil && ctx.Err() == nil {
		o.log.Warn("lane not read, trying again", "chat", l.ref.Chat, "account", l.ref.Account, "err", err)
		sleep(ctx, readPause)
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.wakeDispatcher()
	o.loading--
	l.loading = false
	if l.ep == nil || !o.mine(l.ref.Account) {
		return // forgotten, or another's, meanwhile
	}
	now := o.now()
	if err == nil {
		for i := range ds {
			it := newItem(&ds[i])
			if it.due.After(now) && !ds[i].UpdatedAt.After(l.ep.recovered) {
				it.due = now // it waits since before the endpoint came back
			}
			l.insert(it)
		}
		l.more = l.again || len(ds) == laneWindow
	}
	l.ep.place(l, now)
}

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
	o.mu.Lock()
	life := ep.life
	o.mu.Unlock()
	var after store.LaneRef
	var err error
	for {
		var refs []store.LaneRef
		if refs, err = o.store.QueuedLanes(ctx, ep.ID, after, lanePage); err != nil {
			break
		}
		if !o.found(ep, life, refs) || len(refs) < lanePage {
			break
		}
		after = refs[len(refs)-1]
	}
	if err != nil && ctx.Err() == nil {
		o.log.Warn("lanes not read, trying again", "connector", ep.Name, "err", err)
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.wakeDispatcher()
	ep.scanning = false
	switch {
	case ep.life != life:
		ep.scan = time.Time{}
	case err != nil:
		ep.scan = o.now().Add(readPause)
	default:
		ep.scanned = true
		ep.scan = o.now().Add(o.rescan())
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
		if ep.lanes[ref] != nil || !o.mine(ref.Account) {
			continue
		}
		l := ep.lane(ref)
		l.more = true
		ep.place(l, now)
	}
	o.wakeDispatcher()
	return true
}
