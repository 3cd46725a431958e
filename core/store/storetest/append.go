package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

var appendTests = []test{
	{"numbers each chat from 1, and the account's own sequence", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		same(t, store.Appended{ID: ev.ID, Chat: "c", Seq: 1}, add(t, s, ev))
		require.EqualValues(t, 0, ev.Seq, "the event itself is not changed")
		require.EqualValues(t, 2, add(t, s, message(2, "a", "c")).Seq)
		require.EqualValues(t, 1, add(t, s, message(3, "a", "d")).Seq)
		require.EqualValues(t, 1, add(t, s, message(4, "b", "c")).Seq)
		require.EqualValues(t, 1, add(t, s, plain(5, "a", "")).Seq)
		require.EqualValues(t, 2, add(t, s, plain(6, "a", "")).Seq)
	}},
	{"returns the whole event", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		ev.Tags = []string{"x"}
		ev.Message.Media = &sdk.Media{ID: "m", Size: 7, Status: "pending"}
		ev.Message.Quote = &sdk.Quote{ID: "q", Text: "quoted"}
		add(t, s, ev)
		got, err := s.Event(t.Context(), ev.ID)
		require.NoError(t, err)
		require.False(t, got.StoredAt.IsZero())
		require.Nil(t, got.Verdict)
		want := *ev
		want.Seq = 1
		same(t, store.StoredEvent{Event: &want, Stage: store.StageStored, Epoch: 1, StoredAt: got.StoredAt}, got)
		_, err = s.Event(t.Context(), id(99))
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"keeps an event of any size", func(t *testing.T, s store.Store) {
		for i, size := range []int{60 << 10, 70 << 10, 1 << 20} {
			ev := message(i, "a", "c")
			ev.Raw, _ = json.Marshal(strings.Repeat("r", size))
			ev.Message.Text = strings.Repeat("t", 1000)
			require.False(t, add(t, s, ev).Duplicate)
			require.True(t, add(t, s, ev).Duplicate)
			got, err := s.Event(t.Context(), ev.ID)
			require.NoError(t, err)
			// As bytes: comparing a megabyte by reflection takes seconds.
			require.True(t, bytes.Equal(ev.Raw, got.Event.Raw))
			want := *ev
			want.Seq, want.Raw, got.Event.Raw = uint64(i+1), nil, nil
			same(t, &want, got.Event)
			m, err := s.Message(t.Context(), "a", ev.Message.ID)
			require.NoError(t, err)
			require.Equal(t, len(ev.Raw), len(m.Raw))
		}
		files, err := s.ListBlobs(t.Context(), store.BlobQuery{})
		require.NoError(t, err)
		require.Empty(t, files, "where a body is kept is the engine's own business")
	}},
	{"answers a duplicate with the stored one and uses no number", func(t *testing.T, s store.Store) {
		add(t, s, message(1, "a", "c"))
		add(t, s, message(2, "a", "c"))
		same(t, store.Appended{ID: id(1), Chat: "c", Seq: 1, Duplicate: true}, add(t, s, message(1, "a", "c")))

		other := message(3, "a", "d")
		a, err := s.AppendEvent(t.Context(), store.Append{Event: other, OtherIDs: []string{id(50), id(2)}, Epoch: 1})
		require.NoError(t, err)
		same(t, store.Appended{ID: id(2), Chat: "c", Seq: 2, Duplicate: true}, a)

		a, err = s.AppendEvent(t.Context(), store.Append{Event: other, OtherIDs: []string{id(50), id(51)}, Epoch: 1})
		require.NoError(t, err)
		same(t, store.Appended{ID: id(3), Chat: "d", Seq: 1}, a)
		require.EqualValues(t, 3, add(t, s, message(4, "a", "c")).Seq)
	}},
	{"fences a lower epoch, but not its repetitions", func(t *testing.T, s store.Store) {
		_, err := s.AppendEvent(t.Context(), store.Append{Event: message(1, "a", "c"), Epoch: 1})
		require.NoError(t, err)
		_, err = s.AppendEvent(t.Context(), store.Append{Event: message(2, "a", "c"), Epoch: 3})
		require.NoError(t, err)
		_, err = s.AppendEvent(t.Context(), store.Append{Event: message(3, "a", "c"), Epoch: 2})
		require.ErrorIs(t, err, store.ErrStale)
		a, err := s.AppendEvent(t.Context(), store.Append{Event: message(1, "a", "c"), Epoch: 1})
		require.NoError(t, err)
		require.True(t, a.Duplicate)
		a, err = s.AppendEvent(t.Context(), store.Append{Event: message(4, "a", "c"), Epoch: 3})
		require.NoError(t, err)
		require.EqualValues(t, 3, a.Seq, "the refused one used no number")
	}},
	{"marks a send as sent, also with a duplicate, and leaves other states alone", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		for i := range 3 {
			require.NoError(t, s.InsertSend(t.Context(), reply(ev, i)))
		}
		sending := func(i int) {
			_, err := s.MoveSend(t.Context(), store.SendMove{ID: reply(ev, i).ID, From: store.SendQueued, To: store.SendSending, Epoch: 1, At: at(3)})
			require.NoError(t, err)
		}
		state := func(i int) store.Send {
			snd, err := s.Send(t.Context(), reply(ev, i).ID)
			require.NoError(t, err)
			return snd
		}
		sending(0)
		sending(1)
		own := message(2, "a", "c")
		for i := range 3 {
			_, err := s.AppendEvent(t.Context(), store.Append{
				Event: own, Epoch: 1, Sent: &store.SentMark{SendID: reply(ev, i).ID, At: at(9)},
			})
			require.NoError(t, err)
		}
		require.Equal(t, store.SendSent, state(0).State)
		require.Equal(t, at(9), state(0).SentAt)
		require.Equal(t, store.SendSent, state(1).State)
		require.Equal(t, store.SendQueued, state(2).State)
	}},
	{"leaves no gap under 16 callers, duplicates and cancelled calls", func(t *testing.T, s store.Store) {
		base := 0
		rapid.Check(t, func(r *rapid.T) {
			chats := rapid.IntRange(1, 3).Draw(r, "chats")
			// Each caller appends these events; an event may come from several callers.
			events := rapid.SliceOfN(rapid.IntRange(0, 12), 2, 10).Draw(r, "events")
			cancelled := rapid.SliceOfN(rapid.Bool(), len(events), len(events)).Draw(r, "cancelled")
			base += 1000
			account := "acc" + id(base)
			chatOf := func(i int) string { return "chat" + id(i%chats) }
			var mu sync.Mutex
			known := map[int]uint64{}
			var wg sync.WaitGroup
			for w := range 16 {
				wg.Go(func() {
					for k, i := range events {
						if (i+w)%3 == 0 {
							continue
						}
						ctx, cancel := context.WithCancel(context.Background())
						if cancelled[k] && w%4 == 1 {
							cancel()
						}
						ev := message(base+i, account, chatOf(i))
						a, err := s.AppendEvent(ctx, store.Append{Event: ev, Epoch: 1})
						cancel()
						if errors.Is(err, context.Canceled) {
							continue
						}
						mu.Lock()
						if err != nil {
							r.Errorf("append: %v", err)
						} else if seq, ok := known[i]; ok && seq != a.Seq {
							r.Errorf("event %d has numbers %d and %d", i, seq, a.Seq)
						}
						known[i] = a.Seq
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			perChat := map[string][]uint64{}
			all, err := s.ListEvents(context.Background(), account, "", 1000)
			require.NoError(r, err)
			for _, e := range all {
				perChat[e.Event.Chat] = append(perChat[e.Event.Chat], e.Event.Seq)
			}
			for _, numbers := range perChat {
				gapless(r, numbers, len(numbers))
			}
			require.GreaterOrEqual(r, len(all), len(known))
		})
	}},
}
