package deliver

import (
	"context"
	"time"
)

const (
	// loaders is how many reads of lanes run at once.
	loaders = 4
	// lanePage is how many lanes one read of a scan returns.
	lanePage = 500
	// rescan is how often the store is searched for lanes that memory does not know.
	// Enqueue makes it unnecessary; it is there in case a call never came.
	rescan = time.Minute
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
	after, epoch := l.top, o.fence(l.partition)
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
	if l.ep == nil {
		return // forgotten meanwhile
	}
	now := o.now()
	l.touched = l.ep.round
	switch {
	case !o.mine(l.partition):
		o.shed(l) // another's meanwhile
	case epoch != o.fence(l.partition):
		l.more = true // and ours again: what was read is of before
	case err == nil:
		for i := range ds {
			it := newItem(&ds[i])
			if it.due.After(now) && !ds[i].UpdatedAt.After(l.ep.recovered) {
				it.due = now // it waits since before the endpoint came back
			}
			l.insert(it)
		}
		l.more = l.again || len(ds) == laneWindow
	}
	o.reread(l)
	l.ep.place(l, now)
}
