package deliver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStore keeps deliveries in memory with the semantics of the seam. It survives
// the outbox that uses it, as a database does.
type fakeStore struct {
	mu        sync.Mutex
	rows      map[string]*store.Delivery
	events    map[string]*sdk.Event
	endpoints map[string]store.EndpointState
	down      bool
	bulks     []int
}

func newFakeStore() *fakeStore {
	return &fakeStore{rows: map[string]*store.Delivery{}, events: map[string]*sdk.Event{}, endpoints: map[string]store.EndpointState{}}
}

var errDown = errors.New("store is down")

func (f *fakeStore) lock() (func(), error) {
	f.mu.Lock()
	if f.down {
		f.mu.Unlock()
		return nil, errDown
	}
	return f.mu.Unlock, nil
}

func (f *fakeStore) setDown(down bool) {
	f.mu.Lock()
	f.down = down
	f.mu.Unlock()
}

// settle stores one event for endpoints, as the pipeline does before Enqueue.
func (f *fakeStore) settle(now time.Time, account, chat string, seq uint64, endpoints ...string) ([]store.Delivery, *sdk.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ev := &sdk.Event{
		ID: fmt.Sprintf("%s/%s/%d", account, chat, seq), Type: sdk.TypeMessage, Account: account, Chat: chat, Seq: seq, Time: now,
		Message: &sdk.Message{ID: fmt.Sprint("m", seq), Chat: chat, Kind: sdk.KindText, Text: "hi"},
	}
	f.events[ev.ID] = ev
	var ds []store.Delivery
	for _, ep := range endpoints {
		d := store.Delivery{
			ID: ep + "|" + ev.ID, EventID: ev.ID, Endpoint: ep, Account: account, Chat: chat, Seq: seq,
			State: store.DeliveryQueued, Due: now, CreatedAt: now, UpdatedAt: now,
		}
		c := d
		f.rows[d.ID] = &c
		ds = append(ds, d)
	}
	return ds, ev
}

func (f *fakeStore) Event(_ context.Context, id string) (store.StoredEvent, error) {
	unlock, err := f.lock()
	if err != nil {
		return store.StoredEvent{}, err
	}
	defer unlock()
	ev := f.events[id]
	if ev == nil {
		return store.StoredEvent{}, store.ErrNotFound
	}
	return store.StoredEvent{Event: ev}, nil
}

func (f *fakeStore) QueuedLanes(_ context.Context, endpoint string, after store.LaneRef, limit int) ([]store.LaneRef, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	seen := map[store.LaneRef]bool{}
	for _, d := range f.rows {
		ref := store.LaneRef{Endpoint: d.Endpoint, Account: d.Account, Chat: d.Chat}
		if d.Endpoint == endpoint && d.State == store.DeliveryQueued && compareLanes(ref, after) > 0 {
			seen[ref] = true
		}
	}
	var refs []store.LaneRef
	for ref := range seen {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, compareLanes)
	return refs[:min(limit, len(refs))], nil
}

func (f *fakeStore) QueuedLanesIn(_ context.Context, endpoint string, partitions []int, after store.LaneRef, limit int) ([]store.LaneState, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	by := map[store.LaneRef]store.LaneState{}
	for _, d := range f.rows {
		ref := store.LaneRef{Endpoint: d.Endpoint, Account: d.Account, Chat: d.Chat}
		if d.Endpoint == endpoint && d.State == store.DeliveryQueued && compareLanes(ref, after) > 0 && slices.Contains(partitions, partitionOf(ref)) {
			by[ref] = store.LaneState{LaneRef: ref, Queued: by[ref].Queued + 1, Last: max(by[ref].Last, d.Seq)}
		}
	}
	lanes := slices.SortedFunc(maps.Values(by), func(a, b store.LaneState) int { return compareLanes(a.LaneRef, b.LaneRef) })
	return lanes[:min(limit, len(lanes))], nil
}

func compareLanes(a, b store.LaneRef) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Chat, b.Chat))
}

func (f *fakeStore) LaneDeliveries(_ context.Context, lane store.LaneRef, after uint64, limit int) ([]store.Delivery, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	var ds []store.Delivery
	for _, d := range f.rows {
		if d.Endpoint == lane.Endpoint && d.Account == lane.Account && d.Chat == lane.Chat && d.State == store.DeliveryQueued && d.Seq > after {
			ds = append(ds, *d)
		}
	}
	slices.SortFunc(ds, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	return ds[:min(limit, len(ds))], nil
}

func (f *fakeStore) FinishDeliveries(_ context.Context, fs []store.DeliveryFinish) ([]string, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	f.bulks = append(f.bulks, len(fs))
	var missed []string
	for _, x := range fs {
		d := f.rows[x.ID]
		if d == nil || d.State != store.DeliveryQueued || d.Generation != x.Generation || d.Attempt != x.Attempt || d.Epoch > x.Epoch {
			missed = append(missed, x.ID)
			continue
		}
		d.State, d.Due, d.Reason, d.Stepped, d.Epoch, d.UpdatedAt = x.State, x.Due, x.Reason, x.Stepped, x.Epoch, x.At
		if x.Counted {
			d.Attempt++
		}
		if x.Record != nil {
			d.Attempts = append(d.Attempts, *x.Record)
		}
	}
	return missed, nil
}

func (f *fakeStore) Delivery(_ context.Context, id string) (store.Delivery, error) {
	unlock, err := f.lock()
	if err != nil {
		return store.Delivery{}, err
	}
	defer unlock()
	d := f.rows[id]
	if d == nil {
		return store.Delivery{}, store.ErrNotFound
	}
	return *d, nil
}

func (f *fakeStore) RequeueDelivery(_ context.Context, id string, due time.Time) (store.Delivery, error) {
	unlock, err := f.lock()
	if err != nil {
		return store.Delivery{}, err
	}
	defer unlock()
	d := f.rows[id]
	if d == nil {
		return store.Delivery{}, store.ErrNotFound
	}
	if d.State == store.DeliveryQueued {
		return store.Delivery{}, store.ErrStale
	}
	d.State, d.Due, d.Attempt, d.Stepped, d.Reason = store.DeliveryQueued, due, 0, false, ""
	d.Generation++
	return *d, nil
}

func (f *fakeStore) MoveDeliveries(_ context.Context, endpoint string, from, to store.DeliveryState, reason string, at time.Time) (int, error) {
	unlock, err := f.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	n := 0
	for _, d := range f.rows {
		if d.Endpoint == endpoint && d.State == from {
			d.State, d.Reason, d.UpdatedAt = to, reason, at
			n++
		}
	}
	return n, nil
}

func (f *fakeStore) CountDeliveries(_ context.Context, endpoint string) (map[store.DeliveryState]int, time.Time, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, time.Time{}, err
	}
	defer unlock()
	by := map[store.DeliveryState]int{}
	var oldest time.Time
	for _, d := range f.rows {
		if d.Endpoint != endpoint {
			continue
		}
		by[d.State]++
		if d.State == store.DeliveryQueued {
			oldest = earliest(oldest, d.CreatedAt)
		}
	}
	return by, oldest, nil
}

func (f *fakeStore) WaitingEndpoints(context.Context) ([]string, error) {
	unlock, err := f.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	ids := map[string]bool{}
	for _, d := range f.rows {
		if d.State == store.DeliveryQueued || d.State == store.DeliveryParked {
			ids[d.Endpoint] = true
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

func (f *fakeStore) SaveEndpoint(_ context.Context, e store.EndpointState) error {
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	f.endpoints[e.ID] = e
	return nil
}

func (f *fakeStore) EndpointStates(context.Context) ([]store.EndpointState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []store.EndpointState
	for _, e := range f.endpoints {
		all = append(all, e)
	}
	return all, nil
}

func (f *fakeStore) DeleteEndpoint(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.endpoints, id)
	return nil
}

func (f *fakeStore) count(endpoint string, s store.DeliveryState) int {
	by, _, _ := f.CountDeliveries(context.Background(), endpoint)
	return by[s]
}

func (f *fakeStore) row(id string) store.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := *f.rows[id]
	d.Attempts = slices.Clone(d.Attempts)
	return d
}

// got is one call of a fake connector.
type got struct {
	id, chat string
	seq      uint64
	attempt  int
	ordered  bool
	at       time.Time
	status   sdk.Status
}

// fakeConnector answers as told and remembers every call.
type fakeConnector struct {
	inFlight int
	answer   func(ctx context.Context, d sdk.Delivery) sdk.Result

	mu      sync.Mutex
	calls   []got
	now, hi int // under way now, and at most
	busy    map[string]int
	overlap bool // two of one chat were under way at once
}

func connector(inFlight int, answer func(context.Context, sdk.Delivery) sdk.Result) *fakeConnector {
	if answer == nil {
		answer = func(context.Context, sdk.Delivery) sdk.Result { return sdk.Result{Status: sdk.OK} }
	}
	return &fakeConnector{inFlight: inFlight, answer: answer, busy: map[string]int{}}
}

func (c *fakeConnector) Info() sdk.Info                        { return sdk.Info{Type: "fake", InFlight: c.inFlight} }
func (c *fakeConnector) Configure(json.RawMessage) error       { return nil }
func (c *fakeConnector) Start(context.Context, sdk.Host) error { return nil }
func (c *fakeConnector) Stop(context.Context) error            { return nil }

func (c *fakeConnector) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	key := d.Event.Account + "/" + d.Event.Chat
	c.mu.Lock()
	c.now++
	c.hi = max(c.hi, c.now)
	c.busy[key]++
	c.overlap = c.overlap || c.busy[key] > 1
	c.mu.Unlock()
	at := time.Now()
	res := sdk.Result{Reason: reasonPanic}
	defer func() {
		c.mu.Lock()
		c.now--
		c.busy[key]--
		c.calls = append(c.calls, got{
			id: d.Event.ID, chat: key, seq: d.Event.Seq, attempt: d.Attempt, ordered: d.Ordered, at: at, status: res.Status,
		})
		c.mu.Unlock()
	}()
	res = c.answer(ctx, d)
	return res
}

func (c *fakeConnector) log() []got {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

func (c *fakeConnector) oks() []got {
	return slices.DeleteFunc(c.log(), func(g got) bool { return g.status != sdk.OK })
}

// requireOrder checks that in each chat the first successes follow seq.
func requireOrder(t testing.TB, calls []got) {
	t.Helper()
	last, seen := map[string]uint64{}, map[string]bool{}
	for _, g := range calls {
		if g.status != sdk.OK || seen[g.id] {
			continue
		}
		seen[g.id] = true
		require.Greater(t, g.seq, last[g.chat], "chat %s", g.chat)
		last[g.chat] = g.seq
	}
}

func newOutbox(t testing.TB, f *fakeStore, cfg Config, eps ...Endpoint) *Outbox {
	t.Helper()
	o, err := New(cfg, Deps{Store: f, Events: f, Epoch: 1})
	require.NoError(t, err)
	for _, ep := range eps {
		o.AddEndpoint(ep)
	}
	require.NoError(t, o.Start(context.Background()))
	return o
}

func stop(t testing.TB, o *Outbox) {
	t.Helper()
	require.NoError(t, o.Stop(context.Background()))
}

// inMemory is how many lanes of an endpoint are in memory, and how many bytes are held.
func (o *Outbox) inMemory(id string) (lanes, held int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.endpoints[id].lanes), o.held
}

func (f *fakeStore) all() []store.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ds []store.Delivery
	for _, d := range f.rows {
		ds = append(ds, *d)
	}
	return ds
}

func (f *fakeStore) endpoint(id string) store.EndpointState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.endpoints[id]
}
