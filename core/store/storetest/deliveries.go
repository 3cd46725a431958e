package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

func finishOK(d store.Delivery) store.DeliveryFinish {
	return store.DeliveryFinish{
		ID: d.ID, Generation: d.Generation, Attempt: d.Attempt, Epoch: 1, State: store.DeliveryOK, Counted: true, At: at(9),
		Record: &store.Attempt{N: d.Attempt + 1, At: at(8), Took: 1500 * time.Microsecond, Status: "ok", Code: 200},
	}
}

func finish(t *testing.T, s store.Store, f ...store.DeliveryFinish) []string {
	t.Helper()
	missed, err := s.FinishDeliveries(t.Context(), f)
	require.NoError(t, err)
	return missed
}

func delivery(t *testing.T, s store.Store, id string) store.Delivery {
	t.Helper()
	d, err := s.Delivery(t.Context(), id)
	require.NoError(t, err)
	return d
}

var deliveryTests = []test{
	{"wait in lanes, in the order of seq", func(t *testing.T, s store.Store) {
		want := map[store.LaneRef][]uint64{}
		for i := range 24 {
			account, chat := []string{"a", "b"}[i%2], []string{"x", "y", ""}[i%3]
			st := queue(t, s, i, account, chat, "hook", "plugin")
			ref := store.LaneRef{Endpoint: "hook", Account: account, Chat: chat}
			want[ref] = append(want[ref], st.Seq)
		}
		got := map[store.LaneRef][]uint64{}
		after := store.LaneRef{}
		for {
			page, err := s.QueuedLanes(t.Context(), "hook", after, 2)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			for _, ref := range page {
				require.NotContains(t, got, ref)
				after = ref
				var seq uint64
				for {
					ds, err := s.LaneDeliveries(t.Context(), ref, seq, 3)
					require.NoError(t, err)
					if len(ds) == 0 {
						break
					}
					for _, d := range ds {
						seq = d.Seq
						require.Equal(t, ref, store.LaneRef{Endpoint: d.Endpoint, Account: d.Account, Chat: d.Chat})
						got[ref] = append(got[ref], d.Seq)
					}
				}
			}
		}
		same(t, want, got)
		lanes, err := s.QueuedLanes(t.Context(), "none", store.LaneRef{}, 2)
		require.NoError(t, err)
		require.Empty(t, lanes)
	}},
	{"are found by their partitions, with what waits in each lane", func(t *testing.T, s store.Store) {
		want := map[store.LaneRef]store.LaneState{}
		in := map[int][]store.LaneRef{}
		for i := range 60 {
			chat := fmt.Sprint(i % 20)
			st := queue(t, s, i, "a", chat, "hook", "plugin")
			if i < 5 { // what is finished does not count
				require.Empty(t, finish(t, s, finishOK(st.Deliveries[0])))
				continue
			}
			ref := store.LaneRef{Endpoint: "hook", Account: "a", Chat: chat}
			if want[ref].Queued == 0 {
				p := st.Deliveries[0].Partition
				in[p] = append(in[p], ref)
			}
			want[ref] = store.LaneState{LaneRef: ref, Queued: want[ref].Queued + 1, Last: st.Seq}
		}
		require.Greater(t, len(in), 5)
		list := func(partitions ...int) map[store.LaneRef]store.LaneState {
			got := map[store.LaneRef]store.LaneState{}
			after := store.LaneRef{}
			for {
				page, err := s.QueuedLanesIn(t.Context(), "hook", partitions, after, 3)
				require.NoError(t, err)
				for _, l := range page {
					require.NotContains(t, got, l.LaneRef)
					got[l.LaneRef], after = l, l.LaneRef
				}
				if len(page) < 3 {
					return got
				}
			}
		}
		var all []int
		seen := map[store.LaneRef]store.LaneState{}
		for p := range store.Partitions {
			all = append(all, p)
			got := list(p)
			require.Len(t, got, len(in[p]))
			for _, ref := range in[p] {
				seen[ref] = got[ref]
			}
		}
		same(t, want, seen)
		same(t, want, list(all...))
		require.Empty(t, list())
	}},
	{"leave their lane when they are finished", func(t *testing.T, s store.Store) {
		first := queue(t, s, 1, "a", "c", "hook").Deliveries[0]
		second := queue(t, s, 2, "a", "c", "hook").Deliveries[0]
		require.Empty(t, finish(t, s, finishOK(first)))
		got := delivery(t, s, first.ID)
		want := first
		want.State, want.Attempt, want.Epoch, want.Due, want.UpdatedAt = store.DeliveryOK, 1, 1, time.Time{}, at(9)
		want.Attempts = []store.Attempt{*finishOK(first).Record}
		same(t, want, got)
		lane := store.LaneRef{Endpoint: "hook", Account: "a", Chat: "c"}
		ds, err := s.LaneDeliveries(t.Context(), lane, 0, 10)
		require.NoError(t, err)
		require.Len(t, ds, 1)
		require.Equal(t, second.ID, ds[0].ID)
		require.Empty(t, finish(t, s, finishOK(second)))
		lanes, err := s.QueuedLanes(t.Context(), "hook", store.LaneRef{}, 10)
		require.NoError(t, err)
		require.Empty(t, lanes)
	}},
	{"are fenced by state, generation, attempt and epoch", func(t *testing.T, s store.Store) {
		d := queue(t, s, 1, "a", "c", "hook").Deliveries[0]
		for name, change := range map[string]func(*store.DeliveryFinish){
			"id":         func(f *store.DeliveryFinish) { f.ID = "none" },
			"generation": func(f *store.DeliveryFinish) { f.Generation = 1 },
			"attempt":    func(f *store.DeliveryFinish) { f.Attempt = 1 },
		} {
			f := finishOK(d)
			change(&f)
			require.Equal(t, []string{f.ID}, finish(t, s, f), name)
		}
		retry := finishOK(d)
		retry.State, retry.Due, retry.Epoch, retry.Reason = store.DeliveryQueued, at(60), 5, "timeout"
		require.Empty(t, finish(t, s, retry))
		old := finishOK(d)
		old.Attempt, old.Epoch = 1, 4
		require.Equal(t, []string{d.ID}, finish(t, s, old), "a lower epoch")
		require.Equal(t, []string{d.ID}, finish(t, s, retry), "the same again")
		got := delivery(t, s, d.ID)
		require.Equal(t, store.DeliveryQueued, got.State)
		require.Equal(t, at(60), got.Due)
		require.Equal(t, "timeout", got.Reason)
		require.Equal(t, 1, got.Attempt)
		require.Len(t, got.Attempts, 1)
		old.Epoch = 5
		require.Empty(t, finish(t, s, old))
		require.Equal(t, []string{d.ID}, finish(t, s, old), "no longer queued")
	}},
	{"are fenced by those who deliver, not by who settled the event", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		st := settlement(ev, add(t, s, ev), "hook")
		st.Epoch, st.Deliveries[0].Epoch = 9, 9
		require.NoError(t, s.Settle(t.Context(), st))
		require.Zero(t, st.Deliveries[0].Epoch)
		require.Empty(t, finish(t, s, finishOK(st.Deliveries[0])))
	}},
	{"finish in bulk, and only the missed are named", func(t *testing.T, s store.Store) {
		var all []store.DeliveryFinish
		var stale []string
		for i := range 300 {
			d := queue(t, s, i, "a", "c", "hook").Deliveries[0]
			f := finishOK(d)
			if i%7 == 0 {
				f.Attempt = 3
				stale = append(stale, d.ID)
			}
			all = append(all, f)
		}
		require.Equal(t, stale, finish(t, s, all...))
		require.Len(t, finish(t, s, all...), 300)
		require.Empty(t, finish(t, s))
	}},
	{"remember the last 25 attempts, and count those that count", func(t *testing.T, s store.Store) {
		d := queue(t, s, 1, "a", "c", "hook").Deliveries[0]
		for i := range 40 {
			f := finishOK(delivery(t, s, d.ID))
			f.State, f.Due, f.Counted = store.DeliveryQueued, at(i), i%2 == 0
			f.Stepped = i == 10
			f.Record = &store.Attempt{N: i, At: at(i), Status: "retry", Code: 500, Reason: "line\nbreak", Body: "\n{}\n"}
			if i%10 == 9 {
				f.Record = nil
			}
			require.Empty(t, finish(t, s, f))
		}
		got := delivery(t, s, d.ID)
		require.Equal(t, 20, got.Attempt)
		require.True(t, got.Stepped, "stepping aside is for good")
		require.Len(t, got.Attempts, 25)
		require.Equal(t, 38, got.Attempts[24].N)
		require.Equal(t, "\n{}\n", got.Attempts[24].Body)
		for i := 1; i < 25; i++ {
			require.Greater(t, got.Attempts[i].N, got.Attempts[i-1].N)
		}
	}},
	{"are listed newest first, page by page", func(t *testing.T, s store.Store) {
		var hook []string
		for i := range 9 {
			st := queue(t, s, i, "a", fmt.Sprint("c", i%2), "hook", "plugin")
			hook = append([]string{st.Deliveries[0].ID}, hook...)
			if i%3 == 0 {
				f := finishOK(st.Deliveries[0])
				f.State, f.Reason = store.DeliveryDead, "redirect"
				require.Empty(t, finish(t, s, f))
			}
		}
		list := func(q store.DeliveryQuery) (out []string) {
			for {
				page, err := s.ListDeliveries(t.Context(), q)
				require.NoError(t, err)
				if len(page) == 0 {
					return out
				}
				for _, d := range page {
					out = append(out, d.ID)
					q.Before = d.ID
				}
			}
		}
		require.Equal(t, hook, list(store.DeliveryQuery{Endpoint: "hook", Limit: 2}))
		require.Equal(t, []string{hook[2], hook[5], hook[8]}, list(store.DeliveryQuery{Endpoint: "hook", State: store.DeliveryDead, Limit: 1}))
		require.Len(t, list(store.DeliveryQuery{State: store.DeliveryQueued, Limit: 4}), 15)
		require.Len(t, list(store.DeliveryQuery{Limit: 5}), 18)
		require.Len(t, list(store.DeliveryQuery{EventID: id(4)}), 2)
		require.Empty(t, list(store.DeliveryQuery{EventID: id(400)}))
		_, err := s.Delivery(t.Context(), "none")
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"are listed for some accounts", func(t *testing.T, s store.Store) {
		var want []string
		for i := range 9 {
			account := []string{"a", "b", "c"}[i%3]
			d := queue(t, s, i, account, "chat", "hook").Deliveries[0]
			if account != "b" {
				want = append([]string{d.ID}, want...)
			}
		}
		list := func(q store.DeliveryQuery) (out []string) {
			page, err := s.ListDeliveries(t.Context(), q)
			require.NoError(t, err)
			for _, d := range page {
				out = append(out, d.ID)
			}
			return out
		}
		some := []string{"a", "c", "none"}
		require.Equal(t, want[:4], list(store.DeliveryQuery{Accounts: some, Limit: 4}))
		require.Equal(t, want[4:], list(store.DeliveryQuery{Accounts: some, Limit: 4, Before: want[3]}))
		require.Equal(t, want, list(store.DeliveryQuery{Accounts: some, Endpoint: "hook", State: store.DeliveryQueued}))
		require.Len(t, list(store.DeliveryQuery{Accounts: some, EventID: id(0)}), 1)
		require.Empty(t, list(store.DeliveryQuery{Accounts: some, EventID: id(1)}))
		require.Empty(t, list(store.DeliveryQuery{Accounts: []string{"none"}}))
	}},
}

var outboxTests = []test{
	{"a replay starts the next generation", func(t *testing.T, s store.Store) {
		d := queue(t, s, 1, "a", "c", "hook").Deliveries[0]
		_, err := s.RequeueDelivery(t.Context(), d.ID, at(5))
		require.ErrorIs(t, err, store.ErrStale, "it is queued")
		_, err = s.RequeueDelivery(t.Context(), "none", at(5))
		require.ErrorIs(t, err, store.ErrNotFound)
		f := finishOK(d)
		f.State, f.Stepped, f.Reason = store.DeliveryDead, true, "exhausted"
		require.Empty(t, finish(t, s, f))
		got, err := s.RequeueDelivery(t.Context(), d.ID, at(50))
		require.NoError(t, err)
		same(t, got, delivery(t, s, d.ID))
		require.Equal(t, store.DeliveryQueued, got.State)
		require.Equal(t, 1, got.Generation)
		require.Equal(t, 0, got.Attempt)
		require.Equal(t, at(50), got.Due)
		require.False(t, got.Stepped)
		require.Len(t, got.Attempts, 1, "what was tried stays to be seen")
		require.Equal(t, []string{d.ID}, finish(t, s, finishOK(d)), "the first generation is over")
		require.Empty(t, finish(t, s, finishOK(got)))
	}},
	{"an endpoint's deliveries are parked, resumed and cancelled together", func(t *testing.T, s store.Store) {
		for i := range 5 {
			queue(t, s, i, "a", "c", "hook", "plugin")
		}
		move := func(from, to store.DeliveryState, want int) {
			n, err := s.MoveDeliveries(t.Context(), "hook", from, to, "why", at(70))
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		counts := func(endpoint string) map[store.DeliveryState]int {
			c, _, err := s.CountDeliveries(t.Context(), endpoint)
			require.NoError(t, err)
			return c
		}
		id0 := deliveryID(id(0), "hook")
		move(store.DeliveryQueued, store.DeliveryParked, 5)
		move(store.DeliveryQueued, store.DeliveryParked, 0)
		require.Equal(t, []string{id0}, finish(t, s, finishOK(store.Delivery{ID: id0})))
		require.Equal(t, "why", delivery(t, s, id0).Reason)
		require.Equal(t, map[store.DeliveryState]int{store.DeliveryParked: 5}, counts("hook"))
		move(store.DeliveryParked, store.DeliveryQueued, 5)
		require.Equal(t, at(70), delivery(t, s, id0).Due)
		require.Empty(t, finish(t, s, finishOK(store.Delivery{ID: id0})))
		move(store.DeliveryQueued, store.DeliveryCancelled, 4)
		require.Equal(t, map[store.DeliveryState]int{store.DeliveryOK: 1, store.DeliveryCancelled: 4}, counts("hook"))
		require.Equal(t, map[store.DeliveryState]int{store.DeliveryQueued: 5}, counts("plugin"))
		n, err := s.MoveDeliveries(t.Context(), "none", store.DeliveryQueued, store.DeliveryParked, "", at(1))
		require.NoError(t, err)
		require.Zero(t, n)
	}},
	{"tell which endpoints something waits for", func(t *testing.T, s store.Store) {
		waiting := func(want ...string) {
			t.Helper()
			got, err := s.WaitingEndpoints(t.Context())
			require.NoError(t, err)
			same(t, append([]string{}, got...), append([]string{}, want...))
		}
		waiting()
		for i := range 6 {
			queue(t, s, i, "a", fmt.Sprint("c", i%2), "plugin", "done", "hook", "buried", "gone")
		}
		waiting("buried", "done", "gone", "hook", "plugin")
		for i := range 6 {
			require.Empty(t, finish(t, s, finishOK(store.Delivery{ID: deliveryID(id(i), "done")})))
			f := finishOK(store.Delivery{ID: deliveryID(id(i), "buried")})
			f.State = store.DeliveryDead
			require.Empty(t, finish(t, s, f))
			if i > 0 { // one stays
				require.Empty(t, finish(t, s, finishOK(store.Delivery{ID: deliveryID(id(i), "plugin")})))
			}
		}
		for endpoint, to := range map[string]store.DeliveryState{"hook": store.DeliveryParked, "gone": store.DeliveryCancelled} {
			_, err := s.MoveDeliveries(t.Context(), endpoint, store.DeliveryQueued, to, "", at(1))
			require.NoError(t, err)
		}
		waiting("hook", "plugin")
	}},
	{"a large backlog is moved whole", func(t *testing.T, s store.Store) {
		const n = 1500
		side(t, 8, func(w int) error {
			for i := w; i < n; i += 8 {
				ev := plain(i, "a", fmt.Sprint(i%50))
				a, err := s.AppendEvent(t.Context(), store.Append{Event: ev, Epoch: 1})
				if err == nil {
					err = s.Settle(t.Context(), settlement(ev, a, "hook"))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		moved, err := s.MoveDeliveries(t.Context(), "hook", store.DeliveryQueued, store.DeliveryParked, "", at(1))
		require.NoError(t, err)
		require.Equal(t, n, moved)
	}},
	{"are counted, with the age of the oldest queued", func(t *testing.T, s store.Store) {
		c, oldest, err := s.CountDeliveries(t.Context(), "hook")
		require.NoError(t, err)
		require.Empty(t, c)
		require.True(t, oldest.IsZero())
		for i := range 6 {
			ev := message(i, "a", "c")
			st := settlement(ev, add(t, s, ev), "hook")
			st.Deliveries[0].CreatedAt = at(100 + i)
			require.NoError(t, s.Settle(t.Context(), st))
			f := finishOK(st.Deliveries[0])
			switch i {
			case 0, 1:
			case 2:
				f.State = store.DeliveryDead
			default:
				continue
			}
			require.Empty(t, finish(t, s, f))
		}
		c, oldest, err = s.CountDeliveries(t.Context(), "hook")
		require.NoError(t, err)
		require.Equal(t, map[store.DeliveryState]int{store.DeliveryOK: 2, store.DeliveryDead: 1, store.DeliveryQueued: 3}, c)
		require.Equal(t, at(103), oldest)
	}},
}
