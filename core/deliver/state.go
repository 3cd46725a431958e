package deliver

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
)

// firstWindow is how many attempts a new endpoint gets at once before it has shown
// what it takes; each success adds one.
const firstWindow = 4

// endpoint is an Endpoint at work. It is guarded by Outbox.mu.
type endpoint struct {
	Endpoint     // ID and Name never change
	inFlight int // the connector's own bound
	window   int // the slow start's present bound
	policy   policy
	lanes    map[store.LaneRef]*lane
	shared   bool
	// tops is, while shared, how far lanes were known that memory has nothing else of.
	tops    map[store.LaneRef]uint64
	ready   []*lane
	waiting waiting
	breaker breaker

	flying    int
	unflushed int

	disabled    bool
	reason      string
	switched    time.Time // when disabled last changed, here or elsewhere
	leaving     bool      // being removed: nothing new starts
	pausedUntil time.Time
	// recovered is when the endpoint last came back: what waited before is due now.
	recovered time.Time
	lastOK    time.Time
	lastError string
	lastErrAt time.Time

	// op serialises what changes the endpoint's rows as a whole. It is taken before mu.
	op sync.Mutex
	// life counts how often memory was forgotten: what a scan began before is void.
	life int

	// What the control loop is to do.
	save     bool // write the state
	park     bool // move queued deliveries to parked once nothing is under way
	scan     time.Time
	scanning bool
	rescan   bool      // once more after the scan that is under way
	rest     time.Time // no scan before it, unless we were given a partition
	round    uint64    // counts the scans
	scanned  bool      // every lane that the store had is known
	counts   counts
	idle     chan struct{} // closed when nothing is under way, if someone waits

	metrics endpointMetrics
}

// counts is what the store last said about an endpoint's deliveries.
type counts struct {
	by     map[store.DeliveryState]int
	oldest time.Time
	next   time.Time
}

// configure takes what may change while the endpoint works; ID and Name stay.
func (ep *endpoint) configure(e Endpoint, cfg Config) {
	ep.Connector, ep.Retry, ep.Ordering = e.Connector, e.Retry, e.Ordering
	if ep.Retry == nil { // an empty list is one attempt
		ep.Retry = cfg.Retry
	}
	if ep.Ordering == "" {
		ep.Ordering = config.OrderingBounded
	}
	ep.policy = policy{retry: ep.Retry, ordering: ep.Ordering}
	ep.inFlight = max(e.Connector.Info().InFlight, 1)
	ep.window = min(max(ep.window, firstWindow), ep.inFlight)
}

// restore takes over what a predecessor knew.
func (ep *endpoint) restore(s store.EndpointState, now time.Time) {
	ep.lastOK, ep.switched = s.LastOK, s.UpdatedAt
	if s.Disabled {
		ep.disabled, ep.reason, ep.park = true, s.Reason, true
	}
	if !s.OpenSince.IsZero() {
		ep.breaker.trip(s.OpenSince, now)
		ep.breaker.at = now // a restart may be what mended it
	}
}

func (ep *endpoint) state() store.EndpointState {
	s := store.EndpointState{ID: ep.ID, Disabled: ep.disabled, Reason: ep.reason, LastOK: ep.lastOK, UpdatedAt: ep.switched}
	if ep.breaker.open {
		s.OpenSince = ep.breaker.since
	}
	return s
}

func (ep *endpoint) lane(ref store.LaneRef) *lane {
	l := ep.lanes[ref]
	if l == nil {
		l = &lane{ref: ref, ep: ep, more: !ep.scanned, touched: ep.round}
		if ep.shared {
			l.partition = partitionOf(ref)
		}
		ep.lanes[ref] = l
	}
	return l
}

// place puts a lane where it belongs after anything about it changed.
func (ep *endpoint) place(l *lane, now time.Time) {
	it, at := l.next(now, ep.Ordering)
	fetch := l.more && !l.loading && l.open(ep.Ordering)
	switch {
	case it != nil || fetch:
		if l.where == inReady {
			return
		}
		ep.unwait(l)
		l.where = inReady
		ep.ready = append(ep.ready, l)
	case l.where == inReady:
		// It is looked at again when its turn comes.
	case !at.IsZero():
		l.due = at
		if l.where == inWaiting {
			heap.Fix(&ep.waiting, l.index)
			return
		}
		l.where = inWaiting
		heap.Push(&ep.waiting, l)
	default:
		ep.unwait(l)
		if l.idle() {
			ep.remember(l)
			delete(ep.lanes, l.ref)
		}
	}
}

func (ep *endpoint) unwait(l *lane) {
	if l.where == inWaiting {
		heap.Remove(&ep.waiting, l.index)
		l.where = nowhere
	}
}

// wake moves the lanes that have become due to the ready ones.
func (ep *endpoint) wake(now time.Time) {
	for len(ep.waiting) > 0 && !ep.waiting[0].due.After(now) {
		l := ep.waiting[0]
		ep.unwait(l)
		ep.place(l, now)
	}
}

// recover makes everything that waits due now, to be worked off with a slow start.
func (ep *endpoint) recover(now time.Time) {
	ep.recovered = now
	ep.window = 1
	for _, l := range ep.lanes {
		for _, it := range l.items {
			if it.due.After(now) {
				it.due = now
			}
		}
	}
	for len(ep.waiting) > 0 {
		l := ep.waiting[0]
		ep.unwait(l)
		ep.place(l, now)
	}
}

// forget drops an endpoint's lanes from memory; only when nothing is under way. A
// read that is still on its way finds its lane detached.
func (o *Outbox) forget(ep *endpoint) {
	for _, l := range ep.lanes {
		for _, it := range l.items {
			o.release(it)
		}
		l.items, l.where, l.ep = nil, nowhere, nil
	}
	ep.life++
	ep.lanes = map[store.LaneRef]*lane{}
	clear(ep.tops)
	ep.ready, ep.waiting, ep.scanned = nil, nil, false
}

func (ep *endpoint) quiet() bool { return ep.flying == 0 && ep.unflushed == 0 }

// tellIdle wakes who waits for the endpoint to come to rest.
func (ep *endpoint) tellIdle() {
	if ep.idle != nil && ep.quiet() {
		close(ep.idle)
		ep.idle = nil
	}
}

// awaitIdle waits until nothing of the endpoint is under way or unwritten.
func (o *Outbox) awaitIdle(ctx context.Context, ep *endpoint) error {
	o.mu.Lock()
	if ep.quiet() {
		o.mu.Unlock()
		return nil
	}
	if ep.idle == nil {
		ep.idle = make(chan struct{})
	}
	ch := ep.idle
	o.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
