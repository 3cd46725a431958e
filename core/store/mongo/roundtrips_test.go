package mongo

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/wildcathub/wildcat/core/store"
)

// trips remembers the commands that were sent.
type trips struct {
	mu   sync.Mutex
	sent []string
}

func (r *trips) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		coll, _ := e.Command.Lookup(e.CommandName).StringValueOK()
		if coll == collChats && e.CommandName == "update" {
			return // the counters: once a second at most, and nobody waits for them
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sent = append(r.sent, e.CommandName+" "+coll)
	}}
}

func (r *trips) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := strings.Join(r.sent, ", ")
	r.sent = nil
	return out
}

// What a lone message costs in round trips, once its chat is known; messages that come
// at the same time share them.
func TestRoundTripsOfAMessage(t *testing.T) {
	r := &trips{}
	s := openStore(t, Config{}, Deps{Monitor: r.monitor(), Now: noon})
	require.NoError(t, withQueued(t.Context(), s))
	r.take()

	_, err := s.ResolveAlias(t.Context(), "a", "c", "lid")
	require.NoError(t, err)
	r.take()
	_, err = s.ResolveAlias(t.Context(), "a", "c", "lid")
	require.NoError(t, err)
	require.NotContains(t, r.take(), "update", "what is known is read once")
	_, err = s.ResolveAlias(t.Context(), "a", "lid", "c")
	require.NoError(t, err)
	require.Empty(t, r.take())

	a := appendOf(4, "c")
	a.OtherIDs = []string{"another"}
	_, err = s.AppendEvent(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, "find events, insert messages, insert events", r.take())

	st := testSettlement(4, "c", 4, "hook")
	st.Sends = []store.Send{testSend(0)}
	require.NoError(t, s.Settle(t.Context(), st))
	require.Equal(t, "update events, insert sends, insert deliveries, update events", r.take())

	_, err = s.AppendEvent(t.Context(), appendOf(5, "c"))
	require.NoError(t, err)
	r.take()
	require.NoError(t, s.Settle(t.Context(), testSettlement(5, "c", 5)))
	require.Equal(t, "update events", r.take(), "nothing follows from it")

	_, err = s.MoveSend(t.Context(), store.SendMove{ID: "send-0", From: store.SendQueued, To: store.SendSending, Epoch: 1})
	require.NoError(t, err)
	require.Equal(t, "findAndModify sends", r.take())

	_, err = s.FinishDeliveries(t.Context(), []store.DeliveryFinish{finishOf(1, 0), finishOf(2, 0), finishOf(3, 0)})
	require.NoError(t, err)
	require.Equal(t, "update deliveries", r.take())
}
