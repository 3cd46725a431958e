package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

var settleTests = []test{
	{"stores verdict, sends, deliveries and stage, once", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		st := settlement(ev, add(t, s, ev), "hook", "plugin")
		st.Epoch = 2
		st.Sends = []store.Send{reply(ev, 0), reply(ev, 1)}
		for range 2 {
			require.NoError(t, s.Settle(t.Context(), st))
			got, err := s.Event(t.Context(), ev.ID)
			require.NoError(t, err)
			require.Equal(t, store.StageDone, got.Stage)
			require.Equal(t, st.Verdict, got.Verdict)
			require.EqualValues(t, 2, got.Epoch)
			require.False(t, got.DoneAt.IsZero())
			sends, err := s.SendsOfEvent(t.Context(), ev.ID)
			require.NoError(t, err)
			same(t, st.Sends, sends)
			ds, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{EventID: ev.ID})
			require.NoError(t, err)
			require.Len(t, ds, 2)
			for i, d := range ds { // newest first
				want := st.Deliveries[1-i]
				want.UpdatedAt = d.UpdatedAt
				same(t, want, d)
			}
		}
	}},
	{"refuses another verdict and changes nothing", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		st := settlement(ev, add(t, s, ev), "hook")
		require.NoError(t, s.Settle(t.Context(), st))
		other := settlement(ev, store.Appended{ID: ev.ID, Chat: "c", Seq: 1}, "hook", "second")
		other.Verdict = []byte("other")
		require.ErrorIs(t, s.Settle(t.Context(), other), store.ErrExists)
		ds, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{EventID: ev.ID})
		require.NoError(t, err)
		require.Len(t, ds, 1)
	}},
	{"knows what is gone and who is fenced", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		a, err := s.AppendEvent(t.Context(), store.Append{Event: ev, Epoch: 5})
		require.NoError(t, err)
		st := settlement(ev, a, "hook")
		st.Epoch = 4
		require.ErrorIs(t, s.Settle(t.Context(), st), store.ErrStale)
		st.Epoch = 5
		require.NoError(t, s.Settle(t.Context(), st))
		gone := message(2, "a", "c")
		require.ErrorIs(t, s.Settle(t.Context(), settlement(gone, store.Appended{ID: gone.ID, Chat: "c", Seq: 2})), store.ErrNotFound)
	}},
	{"leaves children that are there as they are", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		st := settlement(ev, add(t, s, ev), "hook")
		snd := reply(ev, 0)
		require.NoError(t, s.InsertSend(t.Context(), snd))
		_, err := s.MoveSend(t.Context(), store.SendMove{ID: snd.ID, From: store.SendQueued, To: store.SendSending, Epoch: 9, At: at(5)})
		require.NoError(t, err)
		changed := snd
		changed.Payload = []byte("never")
		st.Sends = []store.Send{changed, reply(ev, 1)}
		require.NoError(t, s.Settle(t.Context(), st))
		got, err := s.Send(t.Context(), snd.ID)
		require.NoError(t, err)
		require.Equal(t, snd.Payload, got.Payload)
		require.Equal(t, store.SendSending, got.State)
		_, err = s.Send(t.Context(), reply(ev, 1).ID)
		require.NoError(t, err)
	}},
	{"names the seq last queued to the same endpoint from the same chat", func(t *testing.T, s store.Store) {
		prev := func(st *store.Settlement) []uint64 {
			var out []uint64
			for _, d := range st.Deliveries {
				got, err := s.Delivery(t.Context(), d.ID)
				require.NoError(t, err)
				require.Equal(t, d.Prev, got.Prev)
				out = append(out, d.Prev)
			}
			return out
		}
		require.Equal(t, []uint64{0, 0}, prev(queue(t, s, 1, "a", "c", "hook", "plugin")))
		require.Equal(t, []uint64{1}, prev(queue(t, s, 2, "a", "c", "hook")))
		require.Empty(t, prev(queue(t, s, 3, "a", "c")))
		require.Equal(t, []uint64{2, 1}, prev(queue(t, s, 4, "a", "c", "hook", "plugin")))
		require.Equal(t, []uint64{0}, prev(queue(t, s, 5, "a", "d", "hook")), "another chat")
		require.Equal(t, []uint64{0}, prev(queue(t, s, 6, "b", "c", "hook")), "another account")
	}},
	{"finds prev also out of turn", func(t *testing.T, s store.Store) {
		var all []*store.Settlement
		for i := 1; i <= 4; i++ {
			ev := message(i, "a", "c")
			all = append(all, settlement(ev, add(t, s, ev), "hook"))
		}
		for _, i := range []int{2, 0, 3, 1} {
			require.NoError(t, s.Settle(t.Context(), all[i]))
		}
		var got []uint64
		for _, st := range all {
			got = append(got, st.Deliveries[0].Prev)
		}
		require.Equal(t, []uint64{0, 1, 0, 3}, got)
		left, err := s.UnfinishedChats(t.Context(), store.ChatRef{}, 10)
		require.NoError(t, err)
		require.Empty(t, left)
	}},
}
