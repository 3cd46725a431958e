package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

func rest(i int) store.Send {
	return store.Send{
		ID: fmt.Sprintf("rest-%d", i), Account: "a", Chat: "c", WAID: fmt.Sprintf("3EB0REST%d", i), To: "c@s.whatsapp.net",
		Payload: []byte{byte(i)}, Key: fmt.Sprintf("key-%d", i), KeyHash: "hash", State: store.SendQueued,
		CreatedAt: at(1), UpdatedAt: at(1),
	}
}

var sendTests = []test{
	{"come back as they were stored", func(t *testing.T, s store.Store) {
		for _, want := range []store.Send{rest(1), reply(message(1, "a", "c"), 3)} {
			require.NoError(t, s.InsertSend(t.Context(), want))
			got, err := s.Send(t.Context(), want.ID)
			require.NoError(t, err)
			same(t, want, got)
			got, err = s.SendByWAID(t.Context(), "a", want.WAID)
			require.NoError(t, err)
			same(t, want, got)
		}
		got, err := s.SendByKey(t.Context(), "a", "key-1")
		require.NoError(t, err)
		same(t, rest(1), got)
		_, err = s.Send(t.Context(), "none")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.SendByWAID(t.Context(), "b", rest(1).WAID)
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.SendByKey(t.Context(), "a", "")
		require.ErrorIs(t, err, store.ErrNotFound, "no key is no key")
	}},
	{"are unique by id, by WhatsApp id and by key within the account", func(t *testing.T, s store.Store) {
		require.NoError(t, s.InsertSend(t.Context(), rest(1)))
		for name, change := range map[string]func(*store.Send){
			"id":    func(x *store.Send) { x.ID = rest(1).ID },
			"wa_id": func(x *store.Send) { x.WAID = rest(1).WAID },
			"key":   func(x *store.Send) { x.Key = rest(1).Key },
		} {
			x := rest(2)
			change(&x)
			require.ErrorIs(t, s.InsertSend(t.Context(), x), store.ErrExists, name)
		}
		other := rest(1)
		other.ID, other.Account = "elsewhere", "b"
		require.NoError(t, s.InsertSend(t.Context(), other))
		for i := range 2 { // without a key, any number
			x := rest(10 + i)
			x.Key = ""
			require.NoError(t, s.InsertSend(t.Context(), x))
		}
	}},
	{"move by compare-and-set on state, attempt and epoch", func(t *testing.T, s store.Store) {
		require.NoError(t, s.InsertSend(t.Context(), rest(1)))
		move := func(from, to store.SendState, attempt int, epoch uint64) (store.Send, error) {
			return s.MoveSend(t.Context(), store.SendMove{
				ID: rest(1).ID, From: from, To: to, Attempt: attempt, Epoch: epoch, Reason: "why", At: at(7),
			})
		}
		got, err := move(store.SendQueued, store.SendSending, 0, 4)
		require.NoError(t, err)
		want := rest(1)
		want.State, want.Attempt, want.Epoch, want.Reason, want.UpdatedAt = store.SendSending, 1, 4, "why", at(7)
		same(t, want, got)
		got, err = s.Send(t.Context(), want.ID)
		require.NoError(t, err)
		same(t, want, got)

		_, err = move(store.SendQueued, store.SendSending, 0, 4)
		require.ErrorIs(t, err, store.ErrStale, "another state")
		_, err = move(store.SendSending, store.SendFailed, 2, 4)
		require.ErrorIs(t, err, store.ErrStale, "another attempt")
		_, err = move(store.SendSending, store.SendFailed, 1, 3)
		require.ErrorIs(t, err, store.ErrStale, "a lower epoch")
		got, err = move(store.SendSending, store.SendSending, 1, 5)
		require.NoError(t, err)
		require.Equal(t, 2, got.Attempt, "a repetition is an attempt")
		got, err = move(store.SendSending, store.SendQueued, 2, 5)
		require.NoError(t, err)
		require.Equal(t, 1, got.Attempt, "what goes back to the queue did not leave")
		got, err = move(store.SendQueued, store.SendSending, 1, 5)
		require.NoError(t, err)
		require.Equal(t, 2, got.Attempt)
		got, err = move(store.SendSending, store.SendSent, 2, 5)
		require.NoError(t, err)
		require.Equal(t, at(7), got.SentAt)
		_, err = s.MoveSend(t.Context(), store.SendMove{ID: "none", From: store.SendQueued, To: store.SendSending})
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"one of many who claim a send gets it", func(t *testing.T, s store.Store) {
		for round := range 10 {
			require.NoError(t, s.InsertSend(t.Context(), rest(round)))
			var won atomic.Int32
			side(t, 8, func(int) error {
				_, err := s.MoveSend(t.Context(), store.SendMove{
					ID: rest(round).ID, From: store.SendQueued, To: store.SendSending, Epoch: 1, At: at(1),
				})
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, store.ErrStale) {
					return err
				}
				return nil
			})
			require.EqualValues(t, 1, won.Load())
			got, err := s.Send(t.Context(), rest(round).ID)
			require.NoError(t, err)
			require.Equal(t, 1, got.Attempt)
		}
	}},
	{"are listed in the order of insertion, page by page", func(t *testing.T, s store.Store) {
		want := map[store.SendState][]string{}
		for i := range 12 {
			x := rest(100 - i)
			require.NoError(t, s.InsertSend(t.Context(), x))
			state := []store.SendState{store.SendQueued, store.SendSending, store.SendFailed}[i%3]
			if state != store.SendQueued {
				_, err := s.MoveSend(t.Context(), store.SendMove{ID: x.ID, From: store.SendQueued, To: state, At: at(2)})
				require.NoError(t, err)
			}
			want[state] = append(want[state], x.ID)
			want[""] = append(want[""], x.ID)
		}
		other := rest(200)
		other.Account = "b"
		require.NoError(t, s.InsertSend(t.Context(), other))
		for state, ids := range want {
			var got []string
			after := ""
			for {
				page, err := s.ListSends(t.Context(), store.SendQuery{Account: "a", State: state, After: after, Limit: 3})
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				for _, x := range page {
					after = x.ID
					got = append(got, x.ID)
				}
			}
			same(t, ids, got)
		}
		all, err := s.ListSends(t.Context(), store.SendQuery{})
		require.NoError(t, err)
		require.Len(t, all, 13)
	}},
	{"of an event come by rule and index", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		for _, i := range []int{2, 0, 1} {
			require.NoError(t, s.InsertSend(t.Context(), reply(ev, i)))
		}
		before := reply(ev, 9)
		before.Rule = "another"
		require.NoError(t, s.InsertSend(t.Context(), before))
		got, err := s.SendsOfEvent(t.Context(), ev.ID)
		require.NoError(t, err)
		same(t, []store.Send{before, reply(ev, 0), reply(ev, 1), reply(ev, 2)}, got)
	}},
}
