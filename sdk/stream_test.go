// SPDX-License-Identifier: Apache-2.0

package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
	"github.com/wildcathub/wildcat/sdk/wire"
)

func TestAChatIsNeverDeliveredTwiceAtOnceAndInFlightIsKept(t *testing.T) {
	var mu sync.Mutex
	busy, now, most := map[string]bool{}, 0, 0
	c := &fake{info: sdk.Info{InFlight: 8}, deliver: func(_ context.Context, d sdk.Delivery) sdk.Result {
		mu.Lock()
		if busy[d.Event.Chat] {
			mu.Unlock()
			return sdk.Result{Status: sdk.Reject, Reason: "overlap"}
		}
		busy[d.Event.Chat] = true
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		busy[d.Event.Chat] = false
		now--
		mu.Unlock()
		return sdk.Result{Status: sdk.OK}
	}}
	_, st := started(t, c, wire.StreamConfig{})
	var wg sync.WaitGroup
	var bad atomic.Int64
	for i := range 400 {
		wg.Go(func() {
			d := sdk.Delivery{Event: event(fmt.Sprint("chat", i%20), uint64(i)), Ordered: true} //nolint:gosec // small
			if deliver(t.Context(), st, d).Status != sdk.OK {
				bad.Add(1)
			}
		})
	}
	wg.Wait()
	require.Zero(t, bad.Load())
	require.Equal(t, 8, most)
}

func TestUnorderedDeliveriesOfAChatRunSideBySide(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	_, st := started(t, &fake{info: sdk.Info{InFlight: 2}, deliver: func(context.Context, sdk.Delivery) sdk.Result {
		both.Done()
		both.Wait() // only if both are here at once
		return sdk.Result{Status: sdk.OK}
	}}, wire.StreamConfig{Answer: 5 * time.Second})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if r := deliver(t.Context(), st, sdk.Delivery{Event: event("c", 1)}); r.Status != sdk.OK {
				t.Errorf("got %+v", r)
			}
		})
	}
	wg.Wait()
}

func TestAPanicIsARetryAndTheNextEventIsServed(t *testing.T) {
	_, st := started(t, &fake{deliver: func(_ context.Context, d sdk.Delivery) sdk.Result {
		if d.Event.Seq == 1 {
			panic("boom")
		}
		return sdk.Result{Status: sdk.OK}
	}}, wire.StreamConfig{})
	require.Equal(t, sdk.Result{Reason: "panic"}, deliver(t.Context(), st, sdk.Delivery{Event: event("c", 1), Ordered: true}))
	require.Equal(t, sdk.OK, deliver(t.Context(), st, sdk.Delivery{Event: event("c", 2), Ordered: true}).Status)
}

func TestNoAnswerIsATimeoutAndTheLateOneGoesToNobody(t *testing.T) {
	release := make(chan struct{})
	_, st := started(t, &fake{info: sdk.Info{InFlight: 2}, deliver: func(_ context.Context, d sdk.Delivery) sdk.Result {
		if d.Attempt == 1 {
			<-release
			return sdk.Result{Status: sdk.Reject, Reason: "late"}
		}
		return sdk.Result{Status: sdk.OK}
	}}, wire.StreamConfig{Answer: 50 * time.Millisecond})
	e := event("c", 1)
	require.Equal(t, sdk.Result{Reason: "timeout"}, deliver(t.Context(), st, sdk.Delivery{Event: e, Attempt: 1, Ordered: true}))
	require.Positive(t, st.Stalled())
	close(release)
	r := sdk.Result{}
	require.Eventually(t, func() bool {
		r = deliver(t.Context(), st, sdk.Delivery{Event: e, Attempt: 2, Ordered: true})
		return r.Status == sdk.OK
	}, 5*time.Second, time.Millisecond, "%+v", r)
	require.Eventually(t, func() bool { return st.Stalled() == 0 }, 5*time.Second, time.Millisecond)
}

func TestACancelledCallSpendsNoAttempt(t *testing.T) {
	entered := make(chan struct{})
	_, st := started(t, &fake{deliver: func(ctx context.Context, _ sdk.Delivery) sdk.Result {
		close(entered)
		<-ctx.Done()
		return sdk.Result{}
	}}, wire.StreamConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	require.Equal(t, sdk.Result{Uncounted: true, Reason: "cancelled"}, deliver(ctx, st, sdk.Delivery{Event: event("c", 1)}))
}

func TestAWaitingCallIsLostWithTheStream(t *testing.T) {
	entered := make(chan struct{})
	_, st := started(t, &fake{deliver: func(ctx context.Context, _ sdk.Delivery) sdk.Result {
		close(entered)
		<-ctx.Done()
		return sdk.Result{}
	}}, wire.StreamConfig{})
	go func() { <-entered; st.Close() }()
	require.Equal(t, sdk.Result{Reason: "connector_lost"}, deliver(t.Context(), st, sdk.Delivery{Event: event("c", 1)}))
	require.Equal(t, sdk.Result{Uncounted: true, Reason: "connector_down"}, deliver(t.Context(), st, sdk.Delivery{Event: event("c", 2)}))
}

func TestFinishWaitsForWhatIsInFlight(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	stopped := make(chan struct{})
	p, st := started(t, &fake{stopped: stopped, deliver: func(context.Context, sdk.Delivery) sdk.Result {
		close(entered)
		<-release
		return sdk.Result{Status: sdk.OK}
	}}, wire.StreamConfig{})
	got := make(chan sdk.Result, 1)
	go func() { got <- deliver(context.WithoutCancel(t.Context()), st, sdk.Delivery{Event: event("c", 1)}) }()
	<-entered
	go func() { time.Sleep(10 * time.Millisecond); close(release) }()
	st.Finish(t.Context())
	require.Equal(t, sdk.OK, (<-got).Status)
	require.NoError(t, p.Drain(t.Context()))
	<-stopped
	require.NoError(t, p.Drain(t.Context()), "the second stops nothing")
}

func TestDrainAnswersTheRestUncounted(t *testing.T) {
	p, st := started(t, &fake{}, wire.StreamConfig{})
	require.Equal(t, sdk.OK, deliver(t.Context(), st, sdk.Delivery{Event: event("c", 1)}).Status)
	require.NoError(t, p.Drain(t.Context()))
	require.Equal(t, sdk.Result{Uncounted: true, Reason: "draining"}, deliver(t.Context(), st, sdk.Delivery{Event: event("c", 2)}))
	h, err := p.Health(t.Context())
	require.NoError(t, err)
	require.False(t, h.Serving)
}

func TestAnEventTooLargeIsRejectedAndTheStreamGoesOn(t *testing.T) {
	_, st := started(t, &fake{}, wire.StreamConfig{})
	e := event("c", 1)
	e.Raw = json.RawMessage(`"` + strings.Repeat("x", 5<<20) + `"`)
	require.Equal(t, sdk.Result{Status: sdk.Reject, Reason: "event_too_large"}, deliver(t.Context(), st, sdk.Delivery{Event: e}))
	e.Raw = json.RawMessage(`"` + strings.Repeat("x", 3<<20) + `"`)
	require.Equal(t, sdk.OK, deliver(t.Context(), st, sdk.Delivery{Event: e}).Status)
}

func TestMoreDeliveriesThanCreditAllAnswered(t *testing.T) {
	_, st := started(t, &fake{info: sdk.Info{InFlight: 64}}, wire.StreamConfig{})
	var wg sync.WaitGroup
	var ok atomic.Int64
	for i := range 3000 {
		wg.Go(func() {
			if deliver(t.Context(), st, sdk.Delivery{Event: event(fmt.Sprint(i), 1), Ordered: true}).Status == sdk.OK {
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 3000, ok.Load())
}

func TestProblemsOfAConfigurationKeepTheirPaths(t *testing.T) {
	p := connect(t, &fake{configure: func(json.RawMessage) error {
		return errors.Join(&sdk.ConfigError{Path: "a.b", Message: "is missing"}, &sdk.ConfigError{Path: "c", Message: "is odd"})
	}})
	err := p.Validate(t.Context(), nil)
	require.EqualError(t, err, "a.b: is missing\nc: is odd")
	var ce *sdk.ConfigError
	require.ErrorAs(t, p.Configure(t.Context(), nil), &ce)
	require.Equal(t, "a.b", ce.Path)
}

func TestAStartThatFailsSaysWhy(t *testing.T) {
	p := connect(t, &fake{start: func(context.Context, sdk.Host) error { return errors.New("open x: no such file") }})
	require.EqualError(t, p.Start(t.Context(), nil, nil), "start: open x: no such file")
}

func TestTheParentWatchEndsTheProcess(t *testing.T) {
	exit := make(chan int, 1)
	sdk.WatchParentForTest(strings.NewReader("anything"), func() int { return 1 }, func(code int) { exit <- code })
	require.Zero(t, <-exit)
}
