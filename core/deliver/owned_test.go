package deliver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// sink notes what two outboxes deliver.
type sink struct {
	mu   sync.Mutex
	got  map[string][]uint64 // by chat
	by   map[string]int      // by outbox
	slow time.Duration
}

type half struct {
	*sink
	name string
}

func (h half) Info() sdk.Info                        { return sdk.Info{Type: "sink", InFlight: 8} }
func (h half) Configure(json.RawMessage) error       { return nil }
func (h half) Start(context.Context, sdk.Host) error { return nil }
func (h half) Stop(context.Context) error            { return nil }

func (h half) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	select {
	case <-ctx.Done():
		return sdk.Result{Status: sdk.Retry}
	case <-time.After(h.slow):
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got[d.Event.Chat] = append(h.got[d.Event.Chat], d.Event.Seq)
	h.by[h.name]++
	return sdk.Result{Status: sdk.OK}
}

func TestDeliveriesFollowTheirPartition(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer func() { require.NoError(t, s.Close()) }()
	to := &sink{got: map[string][]uint64{}, by: map[string]int{}, slow: time.Millisecond}
	start := func(name string) *deliver.Outbox {
		o, err := deliver.New(deliver.Config{}, deliver.Deps{Store: s, Events: s, Shared: true})
		require.NoError(t, err)
		o.AddEndpoint(deliver.Endpoint{ID: "wh_1", Connector: half{to, name}})
		require.NoError(t, o.Start(t.Context()))
		return o
	}
	a, b := start("a"), start("b")
	const chats, each = 8, 60
	for n := range each {
		for chat := range chats {
			ds, ev := appendAndSettle(t, s, chat, n, "wh_1")
			a.Enqueue(ds, ev) // nobody has the partitions yet: it stays in the store
		}
	}
	to.mu.Lock()
	require.Empty(t, to.got)
	to.mu.Unlock()

	// From one to the other and back, while it delivers.
	owners, epoch := []*deliver.Outbox{a, b}, uint64(0)
	total := func() (n int) {
		to.mu.Lock()
		defer to.mu.Unlock()
		for _, seqs := range to.got {
			n += len(seqs)
		}
		return n
	}
	for round := 0; total() < chats*each; round++ {
		epoch++
		o := owners[round%2]
		for p := range store.Partitions {
			o.Own(p, epoch)
		}
		target := min(total()+60, chats*each)
		require.Eventually(t, func() bool { return total() >= target }, 20*time.Second, time.Millisecond)
		for p := range store.Partitions {
			require.NoError(t, o.Disown(t.Context(), p))
		}
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	for chat, seqs := range to.got {
		require.Len(t, seqs, each, chat)
		for i, seq := range seqs {
			require.EqualValues(t, i+1, seq, "chat %s: %v", chat, seqs)
		}
	}
	require.Positive(t, to.by["a"])
	require.Positive(t, to.by["b"])
	for i, o := range owners {
		require.NoError(t, o.Stop(t.Context()), fmt.Sprint(i))
	}
}

// held is a connector whose deliveries wait until they are let go.
type held struct {
	half
	begun, free chan struct{}
}

func (h held) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	h.begun <- struct{}{}
	<-h.free
	return h.half.Deliver(ctx, d)
}

func TestAnOutcomeThatComesAfterTheLeaseRanOutIsNotWritten(t *testing.T) {
	s := openStore(t, t.TempDir())
	defer func() { require.NoError(t, s.Close()) }()
	to := &sink{got: map[string][]uint64{}, by: map[string]int{}}
	c := held{half: half{to, "a"}, begun: make(chan struct{}, 10), free: make(chan struct{})}
	var leased atomic.Bool
	leased.Store(true)
	o, err := deliver.New(deliver.Config{}, deliver.Deps{
		Store: s, Events: s, Shared: true,
		Leased: func(_ int, epoch uint64) bool { return epoch == 3 && leased.Load() },
	})
	require.NoError(t, err)
	o.AddEndpoint(deliver.Endpoint{ID: "wh_1", Connector: c})
	require.NoError(t, o.Start(t.Context()))
	for p := range store.Partitions {
		o.Own(p, 3)
	}
	var first []store.Delivery
	for n := range 3 { // of one chat: one after the other
		ds, ev := appendAndSettle(t, s, 1, n, "wh_1")
		first = append(first, ds...)
		o.Enqueue(ds, ev)
	}
	<-c.begun
	leased.Store(false) // the process was stopped, and has been woken
	close(c.free)
	require.NoError(t, o.Stop(t.Context())) // writes every outcome that it may
	require.Empty(t, c.begun, "a delivery was begun that is another's to make")
	require.EqualValues(t, 1, to.by["a"])
	queued, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{EventID: first[0].EventID, Limit: 10})
	require.NoError(t, err)
	require.Len(t, queued, 1)
	require.Equal(t, store.DeliveryQueued, queued[0].State)
	require.Zero(t, queued[0].Attempt)
}
