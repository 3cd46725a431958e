package deliver

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

const epA, epB = "wh_a", "wh_b"

func retry(reason string) sdk.Result { return sdk.Result{Code: 500, Reason: reason} }

func TestDeliversEachChatInOrderAndRecordsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(8, func(context.Context, sdk.Delivery) sdk.Result {
			time.Sleep(time.Millisecond)
			return sdk.Result{Status: sdk.OK, Code: 200}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		for seq := uint64(1); seq <= 200; seq++ {
			for chat := range 10 {
				o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint("c", chat), seq, epA))
			}
		}
		time.Sleep(time.Minute)
		require.Equal(t, 2000, f.count(epA, store.DeliveryOK))
		require.Len(t, c.log(), 2000, "each once")
		requireOrder(t, c.log())
		require.False(t, c.overlap)
		require.LessOrEqual(t, c.hi, 8)
		d := f.row(epA + "|acc/c3/7")
		require.Len(t, d.Attempts, 1)
		require.Equal(t, 1, d.Attempt)
		require.EqualValues(t, 1, d.Epoch)
		lanes, held := o.inMemory(epA)
		require.Zero(t, lanes, "a lane with nothing to do takes no memory")
		require.Zero(t, held)
	})
}

func TestWholeScheduleThenDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, func(context.Context, sdk.Delivery) sdk.Result { return retry("server_error") })
		o := newOutbox(t, f, Config{DisableAfter: 1000 * time.Hour}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		o.Enqueue(f.settle(time.Now(), "acc", "c", 1, epA))
		start := time.Now()
		time.Sleep(200 * time.Hour)
		d := f.row(epA + "|acc/c/1")
		require.Equal(t, store.DeliveryDead, d.State)
		require.Equal(t, reasonExhausted, d.Reason)
		require.Equal(t, 18, d.Attempt)
		took := d.UpdatedAt.Sub(start)
		require.Greater(t, took, 46*time.Hour)
		require.Less(t, took, 138*time.Hour)
	})
}

func TestDownEndpointLosesNothingAndRecoversAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		f, c := newFakeStore(), connector(16, func(context.Context, sdk.Delivery) sdk.Result {
			if up.Load() {
				return sdk.Result{Status: sdk.OK}
			}
			return retry("network")
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		for seq := uint64(1); seq <= 50; seq++ {
			for chat := range 20 {
				o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint("c", chat), seq, epA))
			}
		}
		time.Sleep(6 * time.Hour)
		require.Equal(t, 1000, f.count(epA, store.DeliveryQueued))
		s, err := o.Status(t.Context(), epA)
		require.NoError(t, err)
		require.Equal(t, "failing", s.State)
		require.False(t, f.endpoint(epA).OpenSince.IsZero(), "the breaker is persisted")
		for _, d := range f.all() {
			require.LessOrEqual(t, d.Attempt, 15, "probes do not use up the schedule")
		}
		up.Store(true)
		time.Sleep(61 * time.Second)
		require.Equal(t, 1000, f.count(epA, store.DeliveryOK), "one probe and all is delivered")
		require.True(t, f.endpoint(epA).OpenSince.IsZero())
		ordered := c.oks()
		kept := ordered[:0]
		for _, g := range ordered {
			if g.ordered {
				kept = append(kept, g)
			}
		}
		requireOrder(t, kept)
	})
}

func TestBoundedOrderStepsAsideAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(4, func(_ context.Context, d sdk.Delivery) sdk.Result {
			if d.Event.Seq == 1 && d.Attempt <= 8 {
				return retry("server_error")
			}
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		for seq := uint64(1); seq <= 3; seq++ {
			o.Enqueue(f.settle(time.Now(), "acc", "c", seq, epA))
		}
		time.Sleep(2 * time.Hour)
		calls := c.oks()
		require.Len(t, calls, 3)
		require.EqualValues(t, 2, calls[0].seq)
		require.False(t, calls[0].ordered)
		require.EqualValues(t, 3, calls[1].seq)
		require.False(t, calls[1].ordered)
		require.EqualValues(t, 1, calls[2].seq)
		require.True(t, f.row(epA+"|acc/c/1").Stepped)
		o.Enqueue(f.settle(time.Now(), "acc", "c", 4, epA))
		time.Sleep(time.Second)
		require.True(t, c.oks()[3].ordered, "order holds again once it has finished")
	})
}

func TestStrictOrderWaitsAndNoOrderDoesNot(t *testing.T) {
	for _, ordering := range []config.Ordering{config.OrderingStrict, config.OrderingNone} {
		synctest.Test(t, func(t *testing.T) {
			f, c := newFakeStore(), connector(4, func(_ context.Context, d sdk.Delivery) sdk.Result {
				if d.Event.Seq == 1 && d.Attempt <= 9 {
					return retry("server_error")
				}
				time.Sleep(time.Millisecond)
				return sdk.Result{Status: sdk.OK}
			})
			o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c, Ordering: ordering})
			defer stop(t, o)
			for seq := uint64(1); seq <= 20; seq++ {
				o.Enqueue(f.settle(time.Now(), "acc", "c", seq, epA))
			}
			time.Sleep(5 * time.Hour)
			calls := c.oks()
			require.Len(t, calls, 20)
			if ordering == config.OrderingStrict {
				requireOrder(t, calls)
				require.True(t, calls[19].ordered)
			} else {
				require.EqualValues(t, 1, calls[19].seq)
				require.True(t, c.overlap)
			}
		})
	}
}

func TestSlowEndpointsDoNotDelayAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		fast := connector(16, nil)
		eps := []Endpoint{{ID: epA, Connector: fast}}
		ids := []string{epA}
		for i := range 5 {
			id := fmt.Sprint("slow", i)
			ids = append(ids, id)
			eps = append(eps, Endpoint{ID: id, Connector: connector(16, func(ctx context.Context, _ sdk.Delivery) sdk.Result {
				select {
				case <-time.After(19 * time.Second):
				case <-ctx.Done():
				}
				return sdk.Result{Status: sdk.OK}
			})})
		}
		o := newOutbox(t, f, Config{InFlight: 64}, eps...)
		defer stop(t, o)
		for seq := uint64(1); seq <= 20; seq++ {
			for chat := range 30 {
				o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), seq, ids...))
			}
			time.Sleep(100 * time.Millisecond)
			require.Len(t, fast.log(), int(seq)*30, "delivered at once")
		}
		time.Sleep(time.Hour)
		require.Equal(t, 600, f.count("slow4", store.DeliveryOK))
	})
}

func TestBacklogInStoreIsWorkedOff(t *testing.T) {
	for name, chats := range map[string]int{"one chat": 1, "500 chats": 500} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, c := newFakeStore(), connector(16, nil)
				per := 2000 / chats
				for seq := 1; seq <= per; seq++ {
					for chat := range chats {
						f.settle(time.Now(), "acc", fmt.Sprint(chat), uint64(seq), epA)
					}
				}
				o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
				// What comes in meanwhile queues up behind.
				for chat := range chats {
					o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), uint64(per+1), epA))
				}
				time.Sleep(time.Minute)
				require.Equal(t, 2000+chats, f.count(epA, store.DeliveryOK))
				require.Len(t, c.log(), 2000+chats)
				requireOrder(t, c.log())
				stop(t, o)
			})
		})
	}
}

func TestRateLimitPausesTheEndpointAndSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		f, c := newFakeStore(), connector(1, func(context.Context, sdk.Delivery) sdk.Result {
			if n.Add(1) <= 3 {
				return sdk.Result{Code: 429, Reason: "rate_limited", Uncounted: true, After: 7 * time.Second}
			}
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		for chat := range 5 {
			o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), 1, epA))
		}
		time.Sleep(20 * time.Second)
		require.Len(t, c.log(), 3)
		time.Sleep(2 * time.Second)
		require.Equal(t, 5, f.count(epA, store.DeliveryOK))
		for _, d := range f.all() {
			require.Equal(t, 1, d.Attempt)
		}
	})
}

func TestLimitedFailureDiesEarlyAndHarmsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, func(_ context.Context, d sdk.Delivery) sdk.Result {
			if d.Event.Chat == "bad" {
				return sdk.Result{Code: 400, Reason: "bad_request", Limit: 3}
			}
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		for seq := uint64(1); seq <= 4; seq++ {
			o.Enqueue(f.settle(time.Now(), "acc", "bad", seq, epA))
		}
		time.Sleep(time.Minute)
		require.Equal(t, 4, f.count(epA, store.DeliveryDead))
		d := f.row(epA + "|acc/bad/1")
		require.Equal(t, 3, d.Attempt)
		require.Equal(t, "bad_request", d.Reason)
		s, err := o.Status(t.Context(), epA)
		require.NoError(t, err)
		require.Equal(t, "active", s.State)
	})
}

func TestPanicIsARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, func(_ context.Context, d sdk.Delivery) sdk.Result {
			if d.Attempt == 1 {
				panic("boom")
			}
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		o.Enqueue(f.settle(time.Now(), "acc", "c", 1, epA))
		time.Sleep(3 * time.Second)
		d := f.row(epA + "|acc/c/1")
		require.Equal(t, store.DeliveryOK, d.State)
		require.Equal(t, reasonPanic, d.Attempts[0].Reason)
	})
}

func TestHungConnectorIsTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, func(ctx context.Context, d sdk.Delivery) sdk.Result {
			if d.Attempt == 1 {
				<-ctx.Done()
				return sdk.Result{Reason: "timeout"}
			}
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{Attempt: 10 * time.Second}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		o.Enqueue(f.settle(time.Now(), "acc", "c", 1, epA))
		time.Sleep(12 * time.Second)
		require.Equal(t, 2, f.row(epA+"|acc/c/1").Attempt, "a timeout is counted")
	})
}

func TestStoreOutageStallsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(16, nil)
		o := newOutbox(t, f, Config{InFlight: 32}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		time.Sleep(time.Second)
		for seq := uint64(1); seq <= 60; seq++ {
			for chat := range 20 {
				ds, ev := f.settle(time.Now(), "acc", fmt.Sprint(chat), seq, epA)
				o.Enqueue(ds, ev)
			}
			if seq == 1 {
				f.setDown(true)
			}
		}
		time.Sleep(time.Minute)
		require.LessOrEqual(t, len(c.log()), 32+maxUnflushed, "what a crash could repeat is bounded")
		f.setDown(false)
		time.Sleep(10 * time.Second)
		require.Equal(t, 1200, f.count(epA, store.DeliveryOK))
		require.Len(t, c.log(), 1200)
	})
}

func TestFencedOutcomeIsDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, func(context.Context, sdk.Delivery) sdk.Result {
			time.Sleep(time.Second)
			return retry("server_error")
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		ds, ev := f.settle(time.Now(), "acc", "c", 1, epA)
		o.Enqueue(ds, ev)
		time.Sleep(100 * time.Millisecond)
		f.mu.Lock()
		f.rows[ds[0].ID].State = store.DeliveryCancelled
		f.mu.Unlock()
		time.Sleep(time.Hour)
		require.Len(t, c.log(), 1)
		lanes, _ := o.inMemory(epA)
		require.Zero(t, lanes)
		require.Empty(t, f.row(ds[0].ID).Attempts)
	})
}
