package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/api"
)

// nudgeTo is a message to a hub.
type nudgeTo struct {
	hub string
	api.Nudge
}

// testNudges are nudges whose messages go to answer.
func testNudges(answer func(ctx context.Context, n nudgeTo) error) *nudges {
	return &nudges{
		self: "me", log: slog.New(slog.DiscardHandler), quit: make(chan struct{}), to: map[string]*nudging{},
		count: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nudges"}, []string{"result"}),
		post: func(ctx context.Context, hub string, n api.Nudge) error {
			return answer(ctx, nudgeTo{hub, n})
		},
	}
}

func laneOf(i int) api.NudgeLane {
	return api.NudgeLane{Endpoint: "wh", Account: "shop", Chat: fmt.Sprint(i)}
}

func TestLanesAreToldTogetherOnceAndToWhomTheyConcern(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := make(chan nudgeTo, 100)
		n := testNudges(func(_ context.Context, m nudgeTo) error { sent <- m; return nil })
		for range 3 {
			n.add("a", laneOf(1))
			n.add("a", laneOf(2))
		}
		n.add("b", laneOf(3))
		n.add("me", laneOf(4))
		n.add("", laneOf(5)) // nobody has the partition
		time.Sleep(time.Second)
		require.Len(t, sent, 2)
		for range 2 {
			m := <-sent
			require.False(t, m.More)
			if m.hub == "a" {
				require.ElementsMatch(t, []api.NudgeLane{laneOf(1), laneOf(2)}, m.Lanes)
			} else {
				require.Equal(t, nudgeTo{"b", api.Nudge{Lanes: []api.NudgeLane{laneOf(3)}}}, m)
			}
		}
		for i := range nudgeLanes + 10 { // more than are named
			n.add("a", laneOf(i))
		}
		time.Sleep(time.Second)
		m := <-sent
		require.Len(t, m.Lanes, nudgeLanes)
		require.True(t, m.More)
		time.Sleep(2 * nudgeIdle)
		n.mu.Lock()
		require.Empty(t, n.to, "what is needed for a hub that has gone does not stay")
		n.mu.Unlock()
		n.stop()
		n.stop()
		n.add("a", laneOf(1))
		require.Empty(t, sent)
	})
}

// A hub that does not answer holds up neither the pipeline nor what others are told.
func TestAHubThatDoesNotAnswerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told, asked atomic.Int32
		n := testNudges(func(ctx context.Context, m nudgeTo) error {
			if m.hub == "dead" {
				asked.Add(1)
				<-ctx.Done()
				return errors.New("no answer")
			}
			told.Add(1)
			return nil
		})
		for i := range 100 {
			n.add("dead", laneOf(i))
			n.add("alive", laneOf(i))
			time.Sleep(100 * time.Millisecond)
		}
		require.EqualValues(t, 100, told.Load())
		require.LessOrEqual(t, int(asked.Load()), 6, "each time for two seconds")
		n.add("dead", laneOf(1))
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		n.stop()
		require.Zero(t, time.Since(start), "nor the end")
	})
}
