package storetest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

var eventTests = []test{
	{"unfinished chats and events are found page by page", func(t *testing.T, s store.Store) {
		want := map[store.ChatRef][]uint64{}
		n := 0
		for _, account := range []string{"b", "a"} {
			for _, chat := range []string{"", "z", "y", "x"} {
				for range 5 {
					n++
					ev := plain(n, account, chat)
					a := add(t, s, ev)
					if n%4 == 0 || chat == "x" { // some are done, also in the middle
						require.NoError(t, s.Settle(t.Context(), settlement(ev, a)))
						continue
					}
					ref := store.ChatRef{Account: account, Chat: chat}
					want[ref] = append(want[ref], a.Seq)
				}
			}
		}
		got := map[store.ChatRef][]uint64{}
		var chats []store.ChatRef
		after := store.ChatRef{}
		for {
			page, err := s.UnfinishedChats(t.Context(), after, 2)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			require.LessOrEqual(t, len(page), 2)
			chats = append(chats, page...)
			after = page[len(page)-1]
		}
		whole, err := s.UnfinishedChats(t.Context(), store.ChatRef{}, 100)
		require.NoError(t, err)
		same(t, whole, chats)
		for _, ref := range chats {
			require.NotContains(t, got, ref)
			got[ref] = nil
			var seq uint64
			for {
				page, err := s.UnfinishedEvents(t.Context(), ref, seq, 2)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				for _, e := range page {
					require.Equal(t, ref, store.ChatRef{Account: e.Event.Account, Chat: e.Event.Chat})
					seq = e.Event.Seq
					got[ref] = append(got[ref], seq)
				}
			}
		}
		same(t, want, got)
	}},
	{"a chat that is settled to its end is finished, and unfinished with the next event", func(t *testing.T, s store.Store) {
		queue(t, s, 1, "a", "c", "hook")
		chats, err := s.UnfinishedChats(t.Context(), store.ChatRef{}, 10)
		require.NoError(t, err)
		require.Empty(t, chats)
		add(t, s, message(2, "a", "c"))
		chats, err = s.UnfinishedChats(t.Context(), store.ChatRef{}, 10)
		require.NoError(t, err)
		same(t, []store.ChatRef{{Account: "a", Chat: "c"}}, chats)
		evs, err := s.UnfinishedEvents(t.Context(), chats[0], 0, 10)
		require.NoError(t, err)
		require.Len(t, evs, 1)
		require.Equal(t, id(2), evs[0].Event.ID)
	}},
	{"are listed in the order in which they were stored", func(t *testing.T, s store.Store) {
		var all, ofA []string
		for i := range 20 {
			account := []string{"a", "b"}[i%2]
			// Ids that sort against the order of insertion.
			ev := plain(100-i, account, "c")
			add(t, s, ev)
			all = append(all, ev.ID)
			if account == "a" {
				ofA = append(ofA, ev.ID)
			}
		}
		for account, want := range map[string][]string{"": all, "a": ofA, "none": nil} {
			var got []string
			after := ""
			for {
				page, err := s.ListEvents(t.Context(), account, after, 3)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				for _, e := range page {
					after = e.Event.ID
					got = append(got, after)
				}
			}
			same(t, want, got)
		}
		_, err := s.ListEvents(t.Context(), "", id(5000), 3)
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
}

var aliasTests = []test{
	{"the form stored first is the key", func(t *testing.T, s store.Store) {
		for _, tt := range []struct {
			forms []string
			key   string
			other []string
		}{
			{[]string{"", "pn", "pn"}, "pn", nil},
			{[]string{"lid", "pn"}, "pn", []string{"lid"}},
			{[]string{"lid"}, "pn", []string{"lid"}},
			{[]string{"pn"}, "pn", []string{"lid"}},
			{[]string{"other"}, "other", nil},
		} {
			a, err := s.ResolveAlias(t.Context(), "a", tt.forms...)
			require.NoError(t, err)
			same(t, store.Alias{Key: tt.key, Others: tt.other}, a)
		}
		a, err := s.ResolveAlias(t.Context(), "b", "lid", "pn")
		require.NoError(t, err)
		require.Equal(t, "lid", a.Key, "accounts know nothing of each other")
		_, err = s.ResolveAlias(t.Context(), "a", "", "")
		require.Error(t, err)
	}},
	{"two keys that turn out to be one are merged into the older", func(t *testing.T, s store.Store) {
		resolve := func(forms ...string) store.Alias {
			a, err := s.ResolveAlias(t.Context(), "a", forms...)
			require.NoError(t, err)
			slices.Sort(a.Others)
			return a
		}
		resolve("pn")
		resolve("lid", "lid2")
		add(t, s, message(1, "a", "lid"))
		add(t, s, message(2, "a", "lid"))
		add(t, s, message(3, "a", "pn"))
		same(t, store.Alias{Key: "pn", Others: []string{"lid", "lid2"}}, resolve("lid", "pn"))
		for _, form := range []string{"pn", "lid", "lid2"} {
			same(t, store.Alias{Key: "pn", Others: []string{"lid", "lid2"}}, resolve(form))
		}
		// What is stored keeps key and number; what comes for the younger goes to the older.
		e, err := s.Event(t.Context(), id(2))
		require.NoError(t, err)
		require.Equal(t, "lid", e.Event.Chat)
		require.EqualValues(t, 2, e.Event.Seq)
		same(t, store.Appended{ID: id(4), Chat: "pn", Seq: 2}, add(t, s, message(4, "a", "lid")))
		same(t, store.Appended{ID: id(5), Chat: "pn", Seq: 3}, add(t, s, message(5, "a", "pn")))
		same(t, store.Appended{ID: id(2), Chat: "lid", Seq: 2, Duplicate: true}, add(t, s, message(2, "a", "lid")))
		e, err = s.Event(t.Context(), id(4))
		require.NoError(t, err)
		require.Equal(t, "pn", e.Event.Chat)
		// And a merged key can be merged again.
		first, err := s.ResolveAlias(t.Context(), "a", "pn", "third")
		require.NoError(t, err)
		require.Equal(t, "pn", first.Key)
	}},
	{"a chain of merges ends at the oldest", func(t *testing.T, s store.Store) {
		for _, form := range []string{"one", "two", "three"} {
			_, err := s.ResolveAlias(t.Context(), "a", form)
			require.NoError(t, err)
		}
		_, err := s.ResolveAlias(t.Context(), "a", "three", "two")
		require.NoError(t, err)
		require.Equal(t, "two", add(t, s, message(1, "a", "three")).Chat)
		_, err = s.ResolveAlias(t.Context(), "a", "two", "one")
		require.NoError(t, err)
		require.Equal(t, "one", add(t, s, message(2, "a", "three")).Chat)
		require.Equal(t, "one", add(t, s, message(3, "a", "two")).Chat)
		require.Equal(t, []uint64{1, 2}, seqs(t, s, "a", "one"))
	}},
	{"concurrent callers agree on the key", func(t *testing.T, s store.Store) {
		keys := make([]string, 16)
		side(t, 16, func(i int) error {
			forms := []string{"pn", "lid"}
			if i%2 == 1 {
				slices.Reverse(forms)
			}
			a, err := s.ResolveAlias(t.Context(), "a", forms...)
			keys[i] = a.Key
			return err
		})
		for _, k := range keys {
			require.Equal(t, keys[0], k)
		}
	}},
}
