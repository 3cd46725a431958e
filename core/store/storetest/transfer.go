package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// RunTransfer tests store.Transfer. open returns an empty store each time, which the
// suite closes.
func RunTransfer(t *testing.T, open func(t *testing.T) store.Store) {
	opened := func(t *testing.T) store.Store {
		s := open(t)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
	t.Run("what was imported is what was exported", func(t *testing.T) {
		from, to := opened(t), opened(t)
		Fill(t, from)
		move(t, from, to)
		compare(t, from, to)
	})
	t.Run("importing again changes nothing, and follows what has changed", func(t *testing.T) {
		from, to := opened(t), opened(t)
		Fill(t, from)
		move(t, from, to)
		move(t, from, to)
		compare(t, from, to)
		queue(t, from, 50, "one", "old@s.whatsapp.net", "b")
		_, err := from.UpdateAccount(t.Context(), "one", func(a *store.Account) { a.Name = "other" })
		require.NoError(t, err)
		move(t, from, to)
		compare(t, from, to)
	})
	t.Run("an import goes on where the former ended", func(t *testing.T) {
		from, to := opened(t), opened(t)
		Fill(t, from)
		for _, k := range store.Kinds()[:len(store.Kinds())-1] {
			records, _, err := from.Export(t.Context(), k, "", 2)
			require.NoError(t, err)
			require.NoError(t, to.Import(t.Context(), k, records[:min(len(records), 2)]))
		}
		move(t, from, to)
		compare(t, from, to)
	})
	t.Run("numbers go on after an import", func(t *testing.T) {
		from, to := opened(t), opened(t)
		Fill(t, from)
		move(t, from, to)
		for i, chat := range []string{"old@s.whatsapp.net", "new@lid", "c@g.us", "never@lid"} {
			ev := message(60+i, map[bool]string{true: "two", false: "one"}[chat == "c@g.us"], chat)
			var got []store.Appended
			for _, s := range []store.Store{from, to} {
				a, err := s.AppendEvent(t.Context(), store.Append{Event: ev, Epoch: 9})
				require.NoError(t, err)
				got = append(got, a)
			}
			require.Equal(t, got[0], got[1])
		}
		_, err := to.AppendEvent(t.Context(), store.Append{Event: plain(70, "two", "c@g.us"), Epoch: 8})
		require.ErrorIs(t, err, store.ErrStale, "the epoch that was imported fences")
		for _, s := range []store.Store{from, to} {
			l, err := s.AcquireLease(t.Context(), "account/one", "next", 1)
			require.NoError(t, err)
			require.EqualValues(t, 2, l.Epoch)
		}
	})
	t.Run("what waits is found after an import", func(t *testing.T) {
		from, to := opened(t), opened(t)
		Fill(t, from)
		move(t, from, to)
		chats := func(s store.Store) map[store.ChatRef][]uint64 {
			out := map[store.ChatRef][]uint64{}
			refs, err := s.UnfinishedChats(t.Context(), store.ChatRef{}, 0)
			require.NoError(t, err)
			for _, r := range refs {
				evs, err := s.UnfinishedEvents(t.Context(), r, 0, 0)
				require.NoError(t, err)
				for _, e := range evs {
					out[r] = append(out[r], e.Event.Seq)
				}
			}
			return out
		}
		require.NotEmpty(t, chats(from))
		same(t, chats(from), chats(to))
		for _, lane := range []store.LaneRef{{Endpoint: "a", Account: "two", Chat: "c@g.us"}, {Endpoint: "b", Account: "one", Chat: "old@s.whatsapp.net"}} {
			want, err := from.LaneDeliveries(t.Context(), lane, 0, 0)
			require.NoError(t, err)
			require.NotEmpty(t, want)
			got, err := to.LaneDeliveries(t.Context(), lane, 0, 0)
			require.NoError(t, err)
			same(t, want, got)
		}
		a, err := to.ResolveAlias(t.Context(), "one", "more@lid")
		require.NoError(t, err)
		same(t, store.Alias{Key: "old@s.whatsapp.net", Others: []string{"new@lid", "more@lid"}}, a)
		ms, total, err := to.ListMessages(t.Context(), store.MessageQuery{Account: "two"})
		require.NoError(t, err)
		require.Equal(t, 8, total)
		want, _, err := from.ListMessages(t.Context(), store.MessageQuery{Account: "two"})
		require.NoError(t, err)
		same(t, want, ms)
	})
	t.Run("files are listed page by page, also those of one time", func(t *testing.T) {
		s := opened(t)
		Fill(t, s)
		var want []any
		for i := range 9 {
			info, err := s.PutBlob(t.Context(), store.BlobInfo{ID: fmt.Sprint("of one time ", i), CreatedAt: at(7)}, strings.NewReader("x"))
			require.NoError(t, err)
			want = append(want, info)
		}
		got := all(t, s, store.KindBlobs)
		require.Len(t, got, 12)
		for i := range 3 {
			require.Equal(t, fmt.Sprint("blob-", i), got[i].(store.BlobInfo).ID)
		}
		require.Empty(t, cmp.Diff(want, got[3:], cmpopts.EquateEmpty()))
	})
	t.Run("records of another type are refused", func(t *testing.T) {
		s := opened(t)
		require.Error(t, s.Import(t.Context(), store.KindAccounts, []any{&sdk.Event{}}))
		require.Error(t, s.Import(t.Context(), store.KindBlobs, []any{store.BlobInfo{}}))
		_, _, err := s.Export(t.Context(), "others", "", 0)
		require.Error(t, err)
	})
}

// move copies all but the files, in small pages.
func move(t *testing.T, from, to store.Store) {
	t.Helper()
	for _, k := range store.Kinds() {
		if k != store.KindBlobs {
			require.NoError(t, to.Import(t.Context(), k, all(t, from, k)), "%s", k)
		}
	}
}

func all(t *testing.T, s store.Store, k store.Kind) []any {
	t.Helper()
	var out []any
	for after := ""; ; {
		page, next, err := s.Export(t.Context(), k, after, 3)
		require.NoError(t, err)
		out = append(out, page...)
		if next == "" {
			return out
		}
		require.NotEqual(t, after, next, "%s", k)
		after = next
	}
}

func compare(t *testing.T, from, to store.Store) {
	t.Helper()
	for _, k := range store.Kinds() {
		if k == store.KindBlobs {
			continue
		}
		want := all(t, from, k)
		require.NotEmpty(t, want, "%s", k)
		same(t, want, all(t, to, k))
	}
}
