package deliver

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// hubs are two outboxes on one store: the first has the partition of chat "c" of account "a",
// the second that of account "b".
func hubs(t *testing.T, f *fakeStore, c sdk.Connector) (a, b *Outbox) {
	t.Helper()
	var both [2]*Outbox
	for i, account := range []string{"a", "b"} {
		o, err := New(Config{}, Deps{Store: f, Events: f, Shared: true})
		require.NoError(t, err)
		o.AddEndpoint(Endpoint{ID: epA, Connector: c})
		require.NoError(t, o.Start(context.Background()))
		o.Own(partitionOf(store.LaneRef{Account: account, Chat: "c"}), 1)
		both[i] = o
	}
	return both[0], both[1]
}

func stateOf(t *testing.T, o *Outbox) string {
	t.Helper()
	s, err := o.Status(t.Context(), epA)
	require.NoError(t, err)
	return s.State + s.Reason
}

func TestAnEndpointIsDisabledAndEnabledOnEveryHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, nil)
		a, b := hubs(t, f, c)
		defer stop(t, a)
		defer stop(t, b)
		require.NoError(t, a.Disable(epA, "operator"))
		time.Sleep(2 * time.Second) // until it is written
		require.Equal(t, "active", stateOf(t, b))
		require.NoError(t, b.Refresh(t.Context()))
		require.Equal(t, "disabledoperator", stateOf(t, b))
		a.Enqueue(f.settle(time.Now(), "a", "c", 1, epA))
		b.Enqueue(f.settle(time.Now(), "b", "c", 1, epA))
		time.Sleep(5 * time.Second)
		require.Equal(t, 2, f.count(epA, store.DeliveryParked))
		require.Empty(t, c.log())

		require.NoError(t, b.Enable(t.Context(), epA))
		// This one is parked by a hub that has not heard of it yet.
		a.Enqueue(f.settle(time.Now(), "a", "c", 2, epA))
		time.Sleep(2 * time.Second)
		require.NoError(t, a.Refresh(t.Context()))
		require.Equal(t, "active", stateOf(t, a))
		time.Sleep(10 * time.Second)
		require.Equal(t, 3, f.count(epA, store.DeliveryOK))
		requireOrder(t, c.log())

		// Nothing more happens.
		require.NoError(t, b.Refresh(t.Context()))
		require.Equal(t, "active", stateOf(t, b))
		require.False(t, f.endpoint(epA).Disabled)
	})
}

func TestAReceiverThatIsGoneIsLeftAloneByEveryHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		f, c := newFakeStore(), connector(1, func(context.Context, sdk.Delivery) sdk.Result {
			calls.Add(1)
			return sdk.Result{Status: sdk.Disable, Code: 410, Reason: "gone"}
		})
		a, b := hubs(t, f, c)
		defer stop(t, a)
		defer stop(t, b)
		a.Enqueue(f.settle(time.Now(), "a", "c", 1, epA))
		time.Sleep(3 * time.Second)
		require.NoError(t, b.Refresh(t.Context()))
		require.Equal(t, "disabledgone", stateOf(t, b))
		b.Enqueue(f.settle(time.Now(), "b", "c", 1, epA))
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, calls.Load())
		require.Equal(t, 2, f.count(epA, store.DeliveryParked))
	})
}

// A hub that has not heard of a decision has something else to write; and may be in the
// midst of it.
func TestADecisionIsNotOverwrittenByWhoHasNotHeardOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		a, b := hubs(t, f, connector(1, nil))
		defer stop(t, a)
		defer stop(t, b)
		require.NoError(t, a.Disable(epA, "operator"))
		time.Sleep(2 * time.Second)
		require.True(t, f.endpoint(epA).Disabled)
		b.mu.Lock()
		b.endpoints[epA].save = true // as when its breaker opens
		b.mu.Unlock()
		time.Sleep(2 * time.Second)
		require.True(t, f.endpoint(epA).Disabled)
		require.NoError(t, f.SaveEndpoint(t.Context(), store.EndpointState{ID: epA}))
		require.NoError(t, a.Refresh(t.Context()))
		time.Sleep(2 * time.Second)
		require.True(t, f.endpoint(epA).Disabled)
		require.Equal(t, "disabledoperator", stateOf(t, a))
		require.NoError(t, b.Refresh(t.Context()))
		require.Equal(t, "disabledoperator", stateOf(t, b))
	})
}

func TestAnEndpointThatIsAddedLaterIsAsOthersHaveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		o := newOutbox(t, f, Config{})
		defer stop(t, o)
		require.NoError(t, f.SaveEndpoint(t.Context(), store.EndpointState{ID: epA, Disabled: true, Reason: "operator", UpdatedAt: time.Now()}))
		require.NoError(t, o.Refresh(t.Context()))
		o.AddEndpoint(Endpoint{ID: epA, Connector: connector(1, nil)})
		require.Equal(t, "disabledoperator", stateOf(t, o))
	})
}

// A clock that is behind makes no decision look old.
func TestALaterDecisionCountsWhateverTheClock(t *testing.T) {
	ep := &endpoint{switched: time.Unix(1000, 0)}
	require.Equal(t, time.Unix(1000, 1e6), ep.later(time.Unix(900, 0)))
	require.Equal(t, time.Unix(1001, 0), ep.later(time.Unix(1001, 5)))
}
