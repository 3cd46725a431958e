package deliver

import (
	"context"
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
