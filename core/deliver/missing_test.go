package deliver

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

func TestWhatWaitsForAMissingEndpointIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log, reg := newFakeStore(), &journal{}, prometheus.NewPedanticRegistry()
		begun := time.Now()
		for seq := range uint64(3) {
			f.settle(begun, "acc", "c", seq+1, epA, epB)
		}
		o, err := New(Config{}, Deps{Store: f, Events: f, Registerer: reg, Logger: slog.New(slog.NewTextHandler(log, nil))})
		require.NoError(t, err)
		o.AddEndpoint(Endpoint{ID: epB, Connector: connector(1, nil)})
		require.NoError(t, o.Start(t.Context()))
		defer stop(t, o)

		time.Sleep(2 * time.Second)
		require.Empty(t, o.Missing(), "it may be about to come")
		time.Sleep(8 * time.Second)
		got := o.Missing()
		require.Len(t, got, 1)
		require.Equal(t, epA, got[0].ID)
		require.Equal(t, "missing", got[0].State)
		require.Equal(t, 3, got[0].Counts[store.DeliveryQueued])
		require.Equal(t, begun, got[0].OldestQueued)
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
		require.Contains(t, log.String(), "connector="+epA+" queued=3 parked=0")
		require.InDelta(t, 10, ages(t, reg)[epA], 0)
		time.Sleep(10 * time.Minute)
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), "once")

		c := connector(1, nil)
		o.AddEndpoint(Endpoint{ID: epA, Connector: c})
		require.Empty(t, o.Missing())
		time.Sleep(time.Second)
		require.Len(t, c.oks(), 3, "they were kept")
		time.Sleep(time.Minute)
		require.Contains(t, log.String(), "nothing waits for the missing connector any more")
		require.Equal(t, map[string]float64{epA: 0, epB: 0}, ages(t, reg), "and it is itself again")
	})
}

// journal is a log that is read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// ages are wildcat_oldest_pending_seconds by endpoint.
func ages(t *testing.T, reg prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "wildcat_oldest_pending_seconds" {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

// Another process's webhook is known here some seconds after its first delivery.
func TestAnEndpointThatIsAboutToComeIsNotMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log := newFakeStore(), &journal{}
		o, err := New(Config{}, Deps{Store: f, Events: f, Logger: slog.New(slog.NewTextHandler(log, nil))})
		require.NoError(t, err)
		require.NoError(t, o.Start(t.Context()))
		defer stop(t, o)
		for seq := range uint64(200) {
			time.Sleep(time.Second)
			id := fmt.Sprint("wh_", seq)
			f.settle(time.Now(), "acc", "c", seq+1, id)
			go func() {
				time.Sleep(3 * time.Second)
				o.AddEndpoint(Endpoint{ID: id, Connector: connector(1, nil)})
			}()
		}
		time.Sleep(time.Minute)
		require.NotContains(t, log.String(), "WARN")
		require.Empty(t, o.Missing())
	})
}

func TestWhatWaitsForAMissingEndpointCanBeDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		for seq := range uint64(3) {
			f.settle(time.Now(), "acc", "c", seq+1, epA, epB)
		}
		_, err := f.MoveDeliveries(t.Context(), epA, store.DeliveryQueued, store.DeliveryParked, "gone", time.Now())
		require.NoError(t, err)
		f.settle(time.Now(), "acc", "c", 4, epA)
		require.NoError(t, f.SaveEndpoint(t.Context(), store.EndpointState{ID: epA, Disabled: true, UpdatedAt: time.Now()}))
		o := newOutbox(t, f, Config{}, Endpoint{ID: epB, Connector: connector(1, nil)})
		defer stop(t, o)
		time.Sleep(10 * time.Second)
		require.Len(t, o.Missing(), 1)

		f.setDown(true)
		_, err = o.Discard(t.Context(), epA)
		require.ErrorIs(t, err, errDown)
		f.setDown(false)
		_, err = o.Discard(t.Context(), epB)
		require.ErrorIs(t, err, ErrServed)
		n, err := o.Discard(t.Context(), epA)
		require.NoError(t, err)
		require.Equal(t, 4, n)
		require.Equal(t, 4, f.count(epA, store.DeliveryCancelled))
		require.Empty(t, o.Missing())
		_, err = o.Discard(t.Context(), epA)
		require.ErrorIs(t, err, store.ErrNotFound)

		// It may be configured again one day, and is not disabled then.
		c := connector(1, nil)
		o.AddEndpoint(Endpoint{ID: epA, Connector: c})
		o.Enqueue(f.settle(time.Now(), "acc", "c", 5, epA))
		time.Sleep(time.Second)
		require.Len(t, c.oks(), 1)
	})
}

func TestWhatIsParkedCanBeDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, nil)
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c})
		defer stop(t, o)
		require.NoError(t, o.Disable(epA, "why"))
		for seq := range uint64(3) {
			o.Enqueue(f.settle(time.Now(), "acc", "c", seq+1, epA))
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, 3, f.count(epA, store.DeliveryParked))
		o.Enqueue(f.settle(time.Now(), "acc", "c", 4, epA)) // not parked yet
		n, err := o.Discard(t.Context(), epA)
		require.NoError(t, err)
		require.Equal(t, 4, n)
		n, err = o.Discard(t.Context(), epA)
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, o.Enable(t.Context(), epA))
		o.Enqueue(f.settle(time.Now(), "acc", "c", 5, epA))
		time.Sleep(time.Minute)
		require.Len(t, c.oks(), 1)
		require.Equal(t, 4, f.count(epA, store.DeliveryCancelled))
		d := f.row(epA + "|acc/c/1")
		require.Equal(t, "discarded", d.Reason)
		_, err = o.Replay(t.Context(), d.ID)
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Len(t, c.oks(), 2, "one can be had back")
	})
}

// It would say that it is queued, and be cancelled a moment later, or wait for ever.
func TestWhatNobodyWouldDeliverIsNotReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeStore(), connector(1, nil)
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: c}, Endpoint{ID: epB, Connector: connector(1, nil)})
		o.Enqueue(f.settle(time.Now(), "acc", "c", 1, epA, epB))
		time.Sleep(time.Second)
		require.NoError(t, o.RemoveEndpoint(t.Context(), epA))
		require.NoError(t, o.DetachEndpoint(t.Context(), epB))
		before := f.row(epA + "|acc/c/1")
		for _, id := range []string{epA, epB} {
			_, err := o.Replay(t.Context(), id+"|acc/c/1")
			require.ErrorIs(t, err, ErrMissing)
			require.Equal(t, store.DeliveryOK, f.row(id+"|acc/c/1").State)
		}
		require.Equal(t, before, f.row(epA+"|acc/c/1"))
		stop(t, o)

		// The next process has never known it.
		o = newOutbox(t, f, Config{}, Endpoint{ID: epB, Connector: connector(1, nil)})
		defer stop(t, o)
		_, err := o.Replay(t.Context(), epA+"|acc/c/1")
		require.ErrorIs(t, err, ErrMissing)
		_, err = o.Replay(t.Context(), epB+"|acc/c/1")
		require.NoError(t, err, "it is configured again")
		time.Sleep(time.Minute)
		require.Empty(t, o.Missing())
	})
}

func TestWhatIsLeftOfARemovedEndpointIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeStore()
		o := newOutbox(t, f, Config{}, Endpoint{ID: epA, Connector: connector(1, nil)})
		defer stop(t, o)
		require.NoError(t, o.RemoveEndpoint(context.Background(), epA))
		f.settle(time.Now(), "acc", "c", 1, epA) // by another process, which has not heard of it
		time.Sleep(time.Minute)
		require.Empty(t, o.Missing())
		require.Equal(t, 1, f.count(epA, store.DeliveryCancelled))
	})
}
