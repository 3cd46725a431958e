package deliver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// The start of a virtual clock.
var epoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func TestDecideKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		retry := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "delay"))
		}), 0, 20).Draw(t, "retry")
		p := policy{retry: retry, ordering: rapid.SampledFrom([]config.Ordering{
			config.OrderingBounded, config.OrderingStrict, config.OrderingNone,
		}).Draw(t, "ordering")}
		it := &item{
			attempt: rapid.IntRange(0, len(retry)).Draw(t, "attempt"), stepped: rapid.Bool().Draw(t, "stepped"),
			due: epoch.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, "due")) * time.Minute),
		}
		a := attempt{
			at: epoch, took: time.Second, probe: rapid.Bool().Draw(t, "probe"),
			result: sdk.Result{
				Status:    rapid.SampledFrom([]sdk.Status{sdk.OK, sdk.Retry, sdk.Reject, sdk.Disable, 99}).Draw(t, "status"),
				After:     time.Duration(rapid.Int64().Draw(t, "after")),
				Uncounted: rapid.Bool().Draw(t, "uncounted"), Limit: rapid.IntRange(-1, 5).Draw(t, "limit"),
				Code: rapid.IntRange(0, 599).Draw(t, "code"), Body: rapid.StringN(0, 10000, 20000).Draw(t, "body"),
			},
		}
		o := p.decide(it, a, rapid.Float64Range(0, 0.999).Draw(t, "rnd"))
		f := o.finish
		now := a.at.Add(a.took)
		require.LessOrEqual(t, len(f.Record.Body), maxBody)
		require.Equal(t, it.attempt, f.Attempt, "the fence is what it was when it began")
		require.LessOrEqual(t, o.pause, maxAfter)
		require.False(t, o.alive && o.failed)
		switch a.result.Status {
		case sdk.OK:
			require.Equal(t, store.DeliveryOK, f.State)
			return
		case sdk.Reject:
			require.Equal(t, store.DeliveryDead, f.State)
			return
		case sdk.Disable:
			require.Equal(t, store.DeliveryParked, f.State)
			require.False(t, f.Counted, "an endpoint that leaves costs its deliveries nothing")
			return
		}
		early := a.probe && it.due.After(a.at)
		require.Equal(t, !a.result.Uncounted && !early, f.Counted)
		if f.State == store.DeliveryDead {
			limited := a.result.Limit > 0 && o.same >= a.result.Limit
			exhausted := f.Counted && it.attempt == len(retry)
			require.True(t, limited || exhausted, "nothing dies before its time")
			return
		}
		require.Equal(t, store.DeliveryQueued, f.State)
		require.False(t, f.Counted && it.attempt == len(retry), "nor lives after it")
		if it.stepped {
			require.True(t, f.Stepped, "who stepped aside stays there")
		}
		after := min(max(a.result.After, 0), maxAfter)
		if f.Counted {
			require.False(t, f.Due.Before(now.Add(retry[it.attempt]/2)), "at least half the schedule")
			require.False(t, f.Due.Before(now.Add(after)))
			require.False(t, f.Due.After(now.Add(max(retry[it.attempt]*3/2, after))))
		}
		if early {
			require.False(t, f.Due.Before(it.due), "a probe brings nothing forward")
			require.False(t, f.Due.Before(now.Add(after)))
		}
	})
}

// A model of one lane: whatever fails, whenever it is asked, deliveries start in
// order unless one that failed has stepped aside.
func TestLaneKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ordering := rapid.SampledFrom([]config.Ordering{config.OrderingBounded, config.OrderingStrict}).Draw(t, "ordering")
		p := policy{retry: DefaultRetry(), ordering: ordering}
		l := &lane{}
		n := rapid.IntRange(1, 12).Draw(t, "n")
		for seq := 1; seq <= n; seq++ {
			require.True(t, l.insert(&item{seq: uint64(seq)}))
		}
		require.False(t, l.insert(&item{seq: 1}))
		now := epoch
		var done []uint64
		for steps := 0; len(l.items) > 0; steps++ {
			require.Less(t, steps, 1000)
			it, at := l.next(now, ordering)
			if it == nil {
				require.False(t, at.IsZero(), "a lane that has something knows when to look again")
				require.True(t, at.After(now))
				now = at
				continue
			}
			require.False(t, it.due.After(now))
			for _, before := range l.items {
				if before == it {
					break
				}
				require.True(t, before.stepped && ordering == config.OrderingBounded, "only who stepped aside is passed")
			}
			ordered := l.ordered(it)
			require.Equal(t, l.items[0] == it && !it.stepped, ordered)
			l.flying++
			again, _ := l.next(now, ordering)
			require.Nil(t, again, "one at a time")
			l.flying--
			status := rapid.SampledFrom([]sdk.Status{sdk.OK, sdk.Retry, sdk.Retry}).Draw(t, "status")
			o := p.decide(it, attempt{at: now, result: sdk.Result{Status: status}}, rapid.Float64Range(0, 0.999).Draw(t, "rnd"))
			if o.finish.State != store.DeliveryQueued {
				if o.finish.State == store.DeliveryOK && ordered {
					done = append(done, it.seq)
				}
				l.remove(it)
				continue
			}
			it.due, it.stepped = o.finish.Due, o.finish.Stepped
			it.attempt++
		}
		for i := 1; i < len(done); i++ {
			require.Less(t, done[i-1], done[i], "what is marked ordered is")
		}
	})
}

func TestBreaker(t *testing.T) {
	fresh := func() *breaker { return &breaker{probes: []time.Duration{time.Second, 2 * time.Second}} }
	b := fresh()
	for i := range breakerRow {
		require.Equal(t, i == breakerRow-1, b.failure(epoch, false))
	}
	require.Equal(t, epoch.Add(time.Second), b.at)
	require.False(t, b.failure(epoch.Add(time.Second), false), "not a probe")
	require.Equal(t, epoch.Add(time.Second), b.at)
	b.failure(epoch.Add(time.Second), true)
	require.Equal(t, epoch.Add(3*time.Second), b.at)
	b.failure(epoch.Add(3*time.Second), true)
	require.Equal(t, epoch.Add(5*time.Second), b.at, "the last delay repeats")
	require.True(t, b.success(epoch))
	require.False(t, b.open)

	b = fresh()
	opened := false
	for i := range 30 { // alternating: never five in a row
		if i%2 == 0 {
			b.success(epoch)
		} else {
			opened = opened || b.failure(epoch.Add(time.Duration(i)*time.Second), false)
		}
	}
	require.True(t, opened, "half of twenty in a minute")

	b = fresh()
	for i := range 100 {
		if i%2 == 0 {
			b.success(epoch.Add(time.Duration(i) * 10 * time.Second))
		} else {
			require.False(t, b.failure(epoch.Add(time.Duration(i)*10*time.Second), false), "few a minute prove nothing")
		}
	}
}
