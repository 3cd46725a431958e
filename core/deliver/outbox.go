package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

const (
	// maxHeld bounds the memory that events waiting with their delivery take; above
	// it they are read again when their turn comes.
	maxHeld = 32 << 20
	// maxUnflushed bounds finished deliveries that are not durable, and with those in
	// flight the duplicates that a crash can cause.
	maxUnflushed = 256
	// stopMargin is what Stop adds to the grace for cancelling and flushing.
	stopMargin = time.Second
)

// Outbox hands stored deliveries to connectors. All methods are safe for concurrent use.
type Outbox struct {
	cfg     Config
	store   Store
	events  Events
	log     *slog.Logger
	now     func() time.Time
	rand    func() float64
	epoch   uint64
	shared  bool
	lease   func(partition int, epoch uint64) bool // Deps.Leased
	abroad  func(int, store.LaneRef)               // Deps.Elsewhere
	metrics *metrics

	dispatchWake chan struct{}
	controlWake  chan struct{}
	flushWake    chan struct{}

	mu        sync.Mutex
	started   bool
	stopping  bool
	endpoints map[string]*endpoint
	order     []*endpoint // the same, in the order in which the dispatcher asks them
	states    map[string]store.EndpointState
	flying    int
	unflushed int
	held      int // bytes
	loads     []*lane
	loading   int
	pending   []finished
	gone      map[string]bool // removed endpoints
	cancels   []string        // of these, those that got a delivery too late
	owned     map[int]uint64  // while shared: the partitions in our charge, and their epochs
	missing   map[string]*missing

	missingNext time.Time // the controller's: when it looks for them

	attempts sync.WaitGroup // connector calls
	loops    sync.WaitGroup // everything else
	stop     stopper
}

// stopper is what Stop cancels, in this order.
type stopper struct {
	dispatch context.CancelFunc // the dispatcher, loads, scans, control
	attempts context.CancelFunc
	flush    context.CancelFunc // asks the flusher to finish
	io       context.CancelFunc // gives up writing
}

// New makes an outbox. Nothing runs before Start.
func New(cfg Config, deps Deps) (*Outbox, error) {
	cfg.setDefaults()
	if err := deps.setDefaults(); err != nil {
		return nil, err
	}
	o := &Outbox{
		cfg: cfg, store: deps.Store, events: deps.Events,
		log: deps.Logger.With("component", "deliver"), now: deps.Now, rand: deps.Rand, epoch: deps.Epoch,
		shared: deps.Shared, lease: deps.Leased, abroad: deps.Elsewhere, owned: map[int]uint64{},
		dispatchWake: make(chan struct{}, 1), controlWake: make(chan struct{}, 1), flushWake: make(chan struct{}, 1),
		endpoints: map[string]*endpoint{}, states: map[string]store.EndpointState{}, gone: map[string]bool{},
	}
	m, err := newMetrics(deps.Registerer, o)
	if err != nil {
		return nil, err
	}
	o.metrics = m
	return o, nil
}

// Start reads the endpoints' health and begins to deliver. ctx bounds the start only.
// It may be called once.
func (o *Outbox) Start(ctx context.Context) error {
	states, err := o.store.EndpointStates(ctx)
	if err != nil {
		return fmt.Errorf("read endpoint states: %w", err)
	}
	base := context.WithoutCancel(ctx)
	ioCtx, io := context.WithCancel(base)
	flushCtx, flush := context.WithCancel(base)
	attemptCtx, attempts := context.WithCancel(base)
	dispatchCtx, dispatch := context.WithCancel(ioCtx)

	o.mu.Lock()
	defer o.mu.Unlock()
	if o.started {
		io()
		flush()
		attempts()
		dispatch()
		return errors.New("deliver: started twice")
	}
	o.started = true
	o.stop = stopper{dispatch: dispatch, attempts: attempts, flush: flush, io: io}
	now := o.now()
	for _, s := range states {
		o.states[s.ID] = s
		if ep := o.endpoints[s.ID]; ep != nil {
			ep.restore(s, now)
		}
	}
	o.loops.Add(3)
	go func() { defer o.loops.Done(); o.dispatcher(dispatchCtx, attemptCtx) }()
	go func() { defer o.loops.Done(); o.controller(dispatchCtx) }()
	go func() { defer o.loops.Done(); o.flusher(flushCtx, ioCtx) }()
	return nil
}

// Stop ends delivery: nothing new starts, what is in flight gets the grace, then is
// cancelled (which spends no attempt), and every outcome is written. It takes at
// most the grace and a second, or until ctx ends. Safe without Start, and safe twice.
func (o *Outbox) Stop(ctx context.Context) error {
	o.mu.Lock()
	if !o.started || o.stopping {
		o.mu.Unlock()
		return nil
	}
	o.stopping = true
	o.mu.Unlock()
	o.stop.dispatch()

	var errs []error
	if !waitFor(ctx, &o.attempts, o.cfg.Grace) {
		o.stop.attempts()
		if !waitFor(ctx, &o.attempts, stopMargin/3) {
			errs = append(errs, errors.New("a connector does not return from a cancelled delivery"))
		}
	}
	o.stop.attempts()
	o.stop.flush()
	if !waitFor(ctx, &o.loops, stopMargin/3) {
		o.stop.io()
		if !waitFor(ctx, &o.loops, stopMargin/3) {
			errs = append(errs, errors.New("the store does not return"))
		}
	}
	o.stop.io()
	o.mu.Lock()
	if n := o.unflushed; n > 0 {
		errs = append(errs, fmt.Errorf("%d outcomes were not written: these deliveries will be repeated", n))
	}
	o.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop delivery: %w", err)
	}
	return nil
}

// waitFor waits for wg, at most d and at most until ctx ends; false if it gave up.
func waitFor(ctx context.Context, wg *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// AddEndpoint begins to serve an endpoint, before or after Start. One that is there
// already gets the new connector, schedule and ordering, and keeps its queue.
func (o *Outbox) AddEndpoint(e Endpoint) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if ep := o.endpoints[e.ID]; ep != nil && !ep.leaving {
		ep.configure(e, o.cfg)
		o.wakeDispatcher()
		return
	}
	if e.Name == "" {
		e.Name = e.ID
	}
	ep := &endpoint{
		Endpoint: e, shared: o.shared, lanes: map[store.LaneRef]*lane{}, tops: map[store.LaneRef]uint64{},
		breaker: breaker{probes: o.cfg.Probes},
	}
	ep.configure(e, o.cfg)
	ep.metrics = o.metrics.endpoint(ep.ID)
	if s, ok := o.states[e.ID]; ok {
		ep.restore(s, o.now())
	}
	delete(o.gone, e.ID)
	o.endpoints[e.ID] = ep
	o.order = append(o.order, ep)
	o.wakeDispatcher()
	o.wakeController()
}

// Enqueue takes deliveries of one event over right after Settle stored them, so that
// nothing has to be read back. It never blocks and never fails: what does not fit
// into memory is fetched from the store when its turn comes. For each chat it must
// be called in order of seq. ev must not be changed afterwards.
func (o *Outbox) Enqueue(ds []store.Delivery, ev *sdk.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	for i := range ds {
		o.enqueueLocked(&ds[i], ev, now)
	}
	o.wakeDispatcher()
}

func (o *Outbox) enqueueLocked(d *store.Delivery, ev *sdk.Event, now time.Time) {
	ep := o.endpoints[d.Endpoint]
	if ep == nil || ep.leaving {
		// Unless it was removed, the store is read when the endpoint is added.
		if o.gone[d.Endpoint] {
			o.cancels = append(o.cancels, d.Endpoint)
			o.wakeController()
		}
		return
	}
	if ep.disabled {
		ep.park = true
		o.wakeController()
		return
	}
	ref := store.LaneRef{Endpoint: d.Endpoint, Account: d.Account, Chat: d.Chat}
	if o.strangers(ref) {
		return
	}
	l := ep.lane(ref)
	if l.touched = ep.round; o.shared && ep.broken(l, d) {
		l.more = true
	}
	switch {
	case l.more:
		// Those before it are still in the store: it is read after them.
		if l.loading {
			l.again = true
		}
	case d.Seq <= l.top:
		return // taken already, from the store or by an earlier call
	case l.fresh() >= laneWindow:
		l.more = true
	default:
		it := newItem(d)
		if ev != nil {
			if size := eventSize(ev); o.held+size <= maxHeld {
				it.event, it.size = ev, size
				o.held += size
			}
		}
		l.insert(it)
	}
	ep.place(l, now)
}

func eventSize(ev *sdk.Event) int {
	n := 512 + len(ev.Raw)
	if ev.Message != nil {
		n += len(ev.Message.Text)
	}
	return n
}

// release gives back the memory of an item's event.
func (o *Outbox) release(it *item) {
	o.held -= it.size
	it.event, it.size = nil, 0
}

func (o *Outbox) wakeDispatcher() { poke(o.dispatchWake) }
func (o *Outbox) wakeController() { poke(o.controlWake) }

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
