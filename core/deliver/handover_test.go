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

// laneA is the lane that the first of hubs has.
func laneA() store.LaneRef { return store.LaneRef{Endpoint: epA, Account: "a", Chat: "c"} }

// settleAfter is settle with the delivery before it in the lane.
func (f *fakeStore) settleAfter(prev, seq uint64) ([]store.Delivery, *sdk.Event) {
	ds, ev := f.settle(time.Now(), "a", "c", seq, epA)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range ds {
		ds[i].Prev = prev
		f.rows[ds[i].ID].Prev = prev
	}
	return ds, ev
}

func TestWhatSteppedAsideHoldsUpNothingThatAnotherHubWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, func(_ context.Context, d sdk.Delivery) sdk.Result {
			if d.Event.Seq == 1 {
				return sdk.Result{Status: sdk.Retry, Code: 422, Reason: "bad", Limit: 100}
			}
			return sdk.Result{Status: sdk.OK}
		})
		a, b := hubs(t, f, c)
		defer stop(t, a)
		defer stop(t, b)
		a.Enqueue(f.settleAfter(0, 1))
		for !f.row(epA + "|a/c/1").Stepped {
			time.Sleep(time.Second)
		}
		f.settleAfter(1, 2) // by another hub
		a.Nudge([]store.LaneRef{laneA()})
		time.Sleep(3 * time.Second)
		require.Equal(t, store.DeliveryOK, f.row(epA+"|a/c/2").State)

		f.settleAfter(2, 3) // by another hub, and what it told got lost
		time.Sleep(3 * time.Second)
		require.Equal(t, store.DeliveryOK, f.row(epA+"|a/c/3").State)
	})
}

func TestAHandoverLetsWhatIsUnderWayFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, func(ctx context.Context, d sdk.Delivery) sdk.Result {
			select {
			case <-time.After(time.Second):
				return sdk.Result{Status: sdk.OK}
			case <-ctx.Done(): // the receiver may have had it
				return retry("cut off")
			}
		})
		a, b := hubs(t, f, c)
		defer stop(t, a)
		defer stop(t, b)
		for seq := range uint64(3) {
			a.Enqueue(f.settleAfter(seq, seq+1))
		}
		time.Sleep(500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		p := partitionOf(laneA())
		require.NoError(t, a.Disown(ctx, p))
		require.Equal(t, store.DeliveryOK, f.row(epA+"|a/c/1").State)
		b.Own(p, 2)
		time.Sleep(5 * time.Second)
		require.Len(t, c.log(), 3, "repeated: %v", c.log())
		requireOrder(t, c.log())
	})
}

func TestAnOutcomeThatMissedDoesNotLetTheNextOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		f, c := newFakeStore(), connector(1, func(_ context.Context, d sdk.Delivery) sdk.Result {
			if calls++; calls == 1 {
				time.Sleep(time.Second)
				return retry("not now")
			}
			return sdk.Result{Status: sdk.OK}
		})
		a, b := hubs(t, f, c)
		defer stop(t, a)
		defer stop(t, b)
		for seq := range uint64(3) {
			a.Enqueue(f.settleAfter(seq, seq+1))
		}
		// Another hub parks what there is and queues it again, as one that hears late that an
		// endpoint is enabled.
		time.Sleep(500 * time.Millisecond)
		_, err := f.MoveDeliveries(t.Context(), epA, store.DeliveryQueued, store.DeliveryParked, "operator", time.Now())
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Empty(t, c.oks(), "delivered although parked")
		_, err = f.MoveDeliveries(t.Context(), epA, store.DeliveryParked, store.DeliveryQueued, "", time.Now())
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.Equal(t, 3, f.count(epA, store.DeliveryOK))
		requireOrder(t, c.log())
		require.Len(t, c.log(), 4)
	})
}

func TestAnAccountThatBeginsAnewIsNotTakenForTheOneThatWasDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, nil)
		a, b := hubs(t, f, c)
		defer stop(t, a)
		defer stop(t, b)
		time.Sleep(time.Second)
		for seq := range uint64(5) {
			a.Enqueue(f.settleAfter(seq, seq+1))
		}
		time.Sleep(3 * time.Second)
		a.ForgetAccount("a")
		before := len(c.log())
		f.settleAfter(0, 1) // by another hub, and what it told got lost
		a.Enqueue(f.settleAfter(1, 2))
		time.Sleep(5 * time.Second)
		var seqs []uint64
		for _, g := range c.log()[before:] {
			seqs = append(seqs, g.seq)
		}
		require.Equal(t, []uint64{1, 2}, seqs)
	})
}

func TestManyThatSteppedAsideHoldUpNothingAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, nil)
		for seq := range uint64(2*laneWindow + 3) {
			ds, _ := f.settleAfter(seq, seq+1)
			f.mu.Lock()
			f.rows[ds[0].ID].Stepped, f.rows[ds[0].ID].Due = true, time.Now().Add(time.Hour)
			f.mu.Unlock()
		}
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		time.Sleep(time.Second)
		o.Enqueue(f.settleAfter(2*laneWindow+3, 2*laneWindow+4))
		time.Sleep(time.Second)
		require.Equal(t, 1, f.count(epA, store.DeliveryOK))
	})
}

// slowScans is a store in which a search takes a second.
type slowScans struct {
	*fakeStore
	scans atomic.Int32
}

func (s *slowScans) QueuedLanesIn(ctx context.Context, endpoint string, partitions []int, after store.LaneRef, limit int) ([]store.LaneState, error) {
	s.scans.Add(1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	return s.fakeStore.QueuedLanesIn(ctx, endpoint, partitions, after, limit)
}

// A hub under load tells again and again that there is more than it can name.
func TestSearchesThatAreAskedForLeaveTheStoreHalfOfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &slowScans{fakeStore: newFakeStore()}
		o, err := New(Config{}, Deps{Store: f, Events: f, Shared: true})
		require.NoError(t, err)
		o.AddEndpoint(Endpoint{ID: epA, Connector: connector(1, nil)})
		require.NoError(t, o.Start(t.Context()))
		defer stop(t, o)
		o.Own(partitionOf(laneA()), 1)
		time.Sleep(5 * time.Second)
		before := f.scans.Load()
		for range 200 {
			o.Rescan()
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, f.scans.Load()-before, int32(11))
		require.GreaterOrEqual(t, f.scans.Load()-before, int32(9))
	})
}
