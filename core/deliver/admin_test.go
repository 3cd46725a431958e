package deliver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

func TestDisabledEndpointIsParkedAndEnabledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		gone.Store(true)
		f, c := newFakeStore(), connector(4, func(context.Context, sdk.Delivery) sdk.Result {
			time.Sleep(10 * time.Millisecond)
			if gone.Load() {
				return sdk.Result{Status: sdk.Disable, Code: 410, Reason: "gone"}
			}
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		for seq := uint64(1); seq <= 10; seq++ {
			for chat := range 10 {
				o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), seq, epA))
			}
		}
		time.Sleep(5 * time.Second)
		require.Equal(t, 100, f.count(epA, store.DeliveryParked))
		require.LessOrEqual(t, len(c.log()), 4)
		o.Enqueue(f.settle(time.Now(), "acc", "1", 11, epA))
		time.Sleep(5 * time.Second)
		require.Equal(t, 101, f.count(epA, store.DeliveryParked), "what comes later is parked too")
		s, err := o.Status(t.Context(), epA)
		require.NoError(t, err)
		require.Equal(t, "disabled", s.State)
		require.Equal(t, "gone", s.Reason)
		stop(t, o)

		o = newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		time.Sleep(2 * time.Minute)
		require.LessOrEqual(t, len(c.log()), 4, "it stays disabled over a restart")
		gone.Store(false)
		require.NoError(t, o.Enable(t.Context(), epA))
		require.NoError(t, o.Enable(t.Context(), epA))
		o.Enqueue(f.settle(time.Now(), "acc", "1", 12, epA))
		time.Sleep(10 * time.Second)
		require.Equal(t, 102, f.count(epA, store.DeliveryOK))
		requireOrder(t, c.log())
		require.Len(t, c.oks(), 102)
		require.False(t, f.endpoint(epA).Disabled)
	})
}

func TestWhatFailsIsTriedAtOnceWhenTheOperatorSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var well atomic.Bool
		f, c := newFakeStore(), connector(4, func(context.Context, sdk.Delivery) sdk.Result {
			if well.Load() {
				return sdk.Result{Status: sdk.OK}
			}
			return sdk.Result{Uncounted: true, Reason: "connector_down", After: 15 * time.Minute}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		for chat := range 20 {
			o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), 1, epA))
		}
		time.Sleep(time.Minute)
		well.Store(true)
		time.Sleep(time.Minute)
		require.Less(t, f.count(epA, store.DeliveryOK), 20)
		require.NoError(t, o.Enable(t.Context(), epA))
		time.Sleep(time.Second)
		require.Equal(t, 20, f.count(epA, store.DeliveryOK))
		require.True(t, f.endpoint(epA).OpenSince.IsZero())
	})
}

func TestDisabledAfterDaysWithoutSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(4, func(context.Context, sdk.Delivery) sdk.Result { return retry("network") })
		o := newOutbox(t, f, Config{DisableAfter: 3 * time.Hour}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		for chat := range 30 {
			o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), 1, epA))
		}
		time.Sleep(4 * time.Hour)
		require.Equal(t, 30, f.count(epA, store.DeliveryParked), "never discarded")
		require.Equal(t, reasonNoSuccess, f.endpoint(epA).Reason)
	})
}

func TestRemovedEndpointIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(4, func(ctx context.Context, _ sdk.Delivery) sdk.Result {
			<-ctx.Done()
			return sdk.Result{Reason: "timeout"}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c}, Endpoint{ID: epB, Connector: connector(1, nil)})
		defer stop(t, o)
		for chat := range 10 {
			o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), 1, epA, epB))
		}
		time.Sleep(time.Second)
		start := time.Now()
		require.NoError(t, o.RemoveEndpoint(t.Context(), epA))
		require.Less(t, time.Since(start), time.Second)
		require.Equal(t, 10, f.count(epA, store.DeliveryCancelled))
		require.Equal(t, 10, f.count(epB, store.DeliveryOK))
		o.Enqueue(f.settle(time.Now(), "acc", "0", 2, epA))
		time.Sleep(2 * time.Second)
		require.Equal(t, 11, f.count(epA, store.DeliveryCancelled), "also what was on its way")
		_, err := o.Status(t.Context(), epA)
		require.ErrorIs(t, err, store.ErrNotFound)
		require.NoError(t, o.RemoveEndpoint(t.Context(), epA))
	})
}

func TestDetachedEndpointKeepsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, func(context.Context, sdk.Delivery) sdk.Result { return retry("network") })
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		o.Enqueue(f.settle(time.Now(), "acc", "c", 1, epA))
		time.Sleep(time.Minute)
		require.NoError(t, o.DetachEndpoint(t.Context(), epA))
		o.Enqueue(f.settle(time.Now(), "acc", "c", 2, epA))
		time.Sleep(time.Hour)
		require.Equal(t, 2, f.count(epA, store.DeliveryQueued))
		ok := connector(1, nil)
		o.AddEndpoint(Endpoint{ID: epA, Connector: ok})
		time.Sleep(time.Minute)
		require.Equal(t, 2, f.count(epA, store.DeliveryOK))
		requireOrder(t, ok.log())
	})
}

func TestReplayDeliversOnceMoreWithAWholeSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		f, c := newFakeStore(), connector(1, func(context.Context, sdk.Delivery) sdk.Result {
			if bad.Load() {
				return sdk.Result{Status: sdk.Reject, Reason: "aborted"}
			}
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		bad.Store(true)
		ds, ev := f.settle(time.Now(), "acc", "c", 1, epA)
		o.Enqueue(ds, ev)
		time.Sleep(time.Second)
		require.Equal(t, store.DeliveryDead, f.row(ds[0].ID).State)
		bad.Store(false)
		d, err := o.Replay(t.Context(), ds[0].ID)
		require.NoError(t, err)
		require.Equal(t, 1, d.Generation)
		_, err = o.Replay(t.Context(), ds[0].ID)
		require.ErrorIs(t, err, store.ErrStale)
		time.Sleep(time.Second)
		require.Equal(t, store.DeliveryOK, f.row(ds[0].ID).State)
		require.Equal(t, 1, c.oks()[0].attempt)
		_, err = o.Replay(t.Context(), "nothing")
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

func TestFailingReplayDoesNotHoldUpWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		f, c := newFakeStore(), connector(1, func(_ context.Context, d sdk.Delivery) sdk.Result {
			if bad.Load() && d.Event.Seq == 1 {
				return retry("server_error")
			}
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		ds, ev := f.settle(time.Now(), "acc", "c", 1, epA)
		o.Enqueue(ds, ev)
		time.Sleep(time.Second)
		bad.Store(true)
		_, err := o.Replay(t.Context(), ds[0].ID)
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond)
		o.Enqueue(f.settle(time.Now(), "acc", "c", 2, epA))
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, store.DeliveryOK, f.row(epA+"|acc/c/2").State)
		require.Equal(t, store.DeliveryQueued, f.row(ds[0].ID).State)
	})
}

// A crash is a process that stops writing: here, a store that refuses everything
// from some moment on, until a successor opens it.
func TestCrashRepeatsWithinTheBoundAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(16, func(ctx context.Context, _ sdk.Delivery) sdk.Result {
			select {
			case <-time.After(time.Millisecond):
				return sdk.Result{Status: sdk.OK}
			case <-ctx.Done():
				return sdk.Result{}
			}
		})
		const chats, per, crashes = 40, 50, 5
		for seq := uint64(1); seq <= per; seq++ {
			for chat := range chats {
				f.settle(time.Now(), "acc", fmt.Sprint(chat), seq, epA)
			}
		}
		cfg := Config{InFlight: 32, Grace: time.Nanosecond}
		for range crashes {
			o := newOutbox(t, f, cfg, Endpoint{ID: epA, Connector: c})
			time.Sleep(23 * time.Millisecond)
			f.setDown(true)
			time.Sleep(50 * time.Millisecond)
			_ = o.Stop(t.Context()) // says what it could not write
			f.setDown(false)
		}
		o := newOutbox(t, f, cfg, Endpoint{ID: epA, Connector: c})
		time.Sleep(time.Minute)
		stop(t, o)
		require.Equal(t, chats*per, f.count(epA, store.DeliveryOK))
		requireOrder(t, c.log())
		duplicates := len(c.oks()) - chats*per
		require.Positive(t, duplicates, "the test must have hit something")
		require.LessOrEqual(t, duplicates, crashes*(cfg.InFlight+maxUnflushed))
	})
}

func TestStopWaitsThenCancelsAndCountsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(4, func(ctx context.Context, d sdk.Delivery) sdk.Result {
			d1 := 5 * time.Second
			if d.Event.Chat == "slow" {
				d1 = time.Minute
			}
			select {
			case <-time.After(d1):
				return sdk.Result{Status: sdk.OK}
			case <-ctx.Done():
				return sdk.Result{Reason: "cancelled"}
			}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		for seq := uint64(1); seq <= 3; seq++ {
			o.Enqueue(f.settle(time.Now(), "acc", "slow", seq, epA))
			o.Enqueue(f.settle(time.Now(), "acc", "quick", seq, epA))
		}
		time.Sleep(time.Second)
		start := time.Now()
		stop(t, o)
		require.LessOrEqual(t, time.Since(start), 8*time.Second)
		require.GreaterOrEqual(t, time.Since(start), 7*time.Second)
		require.Equal(t, store.DeliveryOK, f.row(epA+"|acc/quick/1").State, "what was under way finished")
		require.Zero(t, f.row(epA+"|acc/slow/1").Attempt, "what was cancelled spent nothing")
		require.Equal(t, 5, f.count(epA, store.DeliveryQueued), "and nothing new began")
		require.NoError(t, o.Stop(context.Background()), "twice is fine")
	})
}

func TestStopWithTheStoreDownSaysWhatWasNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: connector(4, nil)})
		time.Sleep(time.Second)
		ds, ev := f.settle(time.Now(), "acc", "c", 1, epA)
		f.setDown(true)
		o.Enqueue(ds, ev)
		time.Sleep(time.Second)
		start := time.Now()
		require.ErrorContains(t, o.Stop(context.Background()), "1 outcomes were not written")
		require.LessOrEqual(t, time.Since(start), 8*time.Second)
	})
}

func TestRestartsMidFlightLoseNothingAndKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flaky atomic.Int32
		f, c := newFakeStore(), connector(16, func(ctx context.Context, _ sdk.Delivery) sdk.Result {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return sdk.Result{}
			}
			if flaky.Add(1)%17 == 0 {
				return retry("server_error")
			}
			return sdk.Result{Status: sdk.OK}
		})
		const chats, per = 50, 40
		for round := range 8 {
			o := newOutbox(t, f, Config{Grace: 5 * time.Millisecond}, Endpoint{ID: epA, Connector: c})
			for seq := round*per/8 + 1; seq <= (round+1)*per/8; seq++ {
				for chat := range chats {
					o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), uint64(seq), epA))
				}
			}
			time.Sleep(150 * time.Millisecond)
			stop(t, o)
		}
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		time.Sleep(10 * time.Minute)
		stop(t, o)
		require.Equal(t, chats*per, f.count(epA, store.DeliveryOK))
		requireOrder(t, c.log())
	})
}

func TestFlappingEndpointGetsEverythingOnceItStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(16, func(context.Context, sdk.Delivery) sdk.Result {
			if time.Now().Unix()/7%2 == 0 {
				return retry("network")
			}
			time.Sleep(10 * time.Millisecond)
			return sdk.Result{Status: sdk.OK}
		})
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		for seq := uint64(1); seq <= 100; seq++ {
			for chat := range 10 {
				o.Enqueue(f.settle(time.Now(), "acc", fmt.Sprint(chat), seq, epA))
			}
		}
		time.Sleep(5 * time.Minute)
		require.Equal(t, 1000, f.count(epA, store.DeliveryOK))
		require.Zero(t, f.count(epA, store.DeliveryDead))
	})
}

func TestMetricsCoverAnEndpoint(t *testing.T) {
	f := newFakeStore()
	reg := prometheus.NewRegistry()
	o, err := New(Config{}, Deps{Store: f, Events: f, Registerer: reg})
	require.NoError(t, err)
	c := connector(1, func(_ context.Context, d sdk.Delivery) sdk.Result {
		if d.Event.Seq == 1 {
			return sdk.Result{Status: sdk.Reject, Code: 500, Reason: "odd word"}
		}
		return sdk.Result{Status: sdk.OK, Code: 200}
	})
	o.AddEndpoint(Endpoint{ID: epA, Name: "crm", Connector: c})
	require.NoError(t, o.Start(t.Context()))
	o.Enqueue(f.settle(time.Now(), "acc", "c", 1, epA))
	o.Enqueue(f.settle(time.Now(), "acc", "c", 2, epA))
	require.Eventually(t, func() bool { return f.count(epA, store.DeliveryOK) == 1 }, 5*time.Second, time.Millisecond)
	families, err := reg.Gather()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, fam := range families {
		names[fam.GetName()] = true
	}
	for _, n := range []string{
		"wildcat_delivery_attempts_total", "wildcat_attempt_duration_seconds", "wildcat_delivery_latency_seconds", "wildcat_backlog",
		"wildcat_oldest_pending_seconds", "wildcat_inflight", "wildcat_breaker_state", "wildcat_fence_lost_total", "wildcat_dead_total",
		"wildcat_store_flush_seconds",
	} {
		require.True(t, names[n], n)
	}
	stop(t, o)
}

func TestNewNeedsAStore(t *testing.T) {
	_, err := New(Config{}, Deps{})
	require.Error(t, err)
	o, err := New(Config{}, Deps{Store: newFakeStore(), Events: newFakeStore()})
	require.NoError(t, err)
	require.NoError(t, o.Stop(t.Context()), "without Start")
	require.ErrorIs(t, o.Enable(t.Context(), "nobody"), store.ErrNotFound)
	require.True(t, errors.Is(o.Disable("nobody", ""), store.ErrNotFound))
}
