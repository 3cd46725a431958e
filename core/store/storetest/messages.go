package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

var messageTests = []test{
	{"are listed newest first, filtered and counted", func(t *testing.T, s store.Store) {
		// Message time differs from the order of arrival.
		for _, i := range []int{5, 1, 3, 2, 4} {
			add(t, s, message(i, "a", []string{"even", "odd"}[i%2]))
		}
		add(t, s, message(6, "b", "even"))
		add(t, s, plain(7, "a", "odd"))
		add(t, s, message(5, "a", "odd"))
		for _, tt := range []struct {
			q     store.MessageQuery
			want  []string
			total int
		}{
			{store.MessageQuery{}, []string{"WA6", "WA5", "WA4", "WA3", "WA2", "WA1"}, 6},
			{store.MessageQuery{Account: "a"}, []string{"WA5", "WA4", "WA3", "WA2", "WA1"}, 5},
			{store.MessageQuery{Account: "a", Limit: 2}, []string{"WA5", "WA4"}, 5},
			{store.MessageQuery{Account: "a", Limit: 2, Offset: 4}, []string{"WA1"}, 5},
			{store.MessageQuery{Account: "a", Chat: "odd"}, []string{"WA5", "WA3", "WA1"}, 3},
			{store.MessageQuery{Chat: "even"}, []string{"WA6", "WA4", "WA2"}, 3},
			{store.MessageQuery{Account: "a", After: at(2), Before: at(5)}, []string{"WA4", "WA3"}, 2},
			{store.MessageQuery{Account: "a", Chat: "odd", After: at(3)}, []string{"WA5"}, 1},
			{store.MessageQuery{Accounts: []string{"a", "none"}, Limit: 2}, []string{"WA5", "WA4"}, 5},
			{store.MessageQuery{Accounts: []string{"b", "a"}, Chat: "even", Limit: 2}, []string{"WA6", "WA4"}, 3},
			{store.MessageQuery{Accounts: []string{"b"}, Chat: "even"}, []string{"WA6"}, 1},
			{store.MessageQuery{Accounts: []string{"b"}, Account: "a"}, nil, 0},
			{store.MessageQuery{Accounts: []string{"b"}, Account: "a", Chat: "even"}, nil, 0},
			{store.MessageQuery{Accounts: []string{"none"}}, nil, 0},
			{store.MessageQuery{Account: "none"}, nil, 0},
			{store.MessageQuery{Account: "a", Chat: "none"}, nil, 0},
		} {
			page, total, err := s.ListMessages(t.Context(), tt.q)
			require.NoError(t, err)
			var got []string
			for _, m := range page {
				got = append(got, m.Message.ID)
			}
			require.Equal(t, tt.want, got, "%+v", tt.q)
			require.Equal(t, tt.total, total, "%+v", tt.q)
		}
	}},
	{"are found by WhatsApp id, the newest where several have it", func(t *testing.T, s store.Store) {
		first, second := message(1, "a", "c"), message(2, "a", "d")
		second.Message.ID = first.Message.ID
		add(t, s, second)
		add(t, s, first)
		m, err := s.Message(t.Context(), "a", "WA1")
		require.NoError(t, err)
		require.Equal(t, second.ID, m.EventID)
		require.Equal(t, "a", m.Account)
		require.Equal(t, "d", m.Chat)
		same(t, second.Message, m.Message)
		require.JSONEq(t, string(second.Raw), string(m.Raw))
		require.False(t, m.CreatedAt.IsZero())
		require.False(t, m.UpdatedAt.IsZero())
		for _, account := range []string{"b", "a"} {
			_, err = s.Message(t.Context(), account, "WA2")
			require.ErrorIs(t, err, store.ErrNotFound)
		}
	}},
	{"are summed up by chat, the newest first", func(t *testing.T, s store.Store) {
		list, err := s.ListChats(t.Context(), "a")
		require.NoError(t, err)
		require.Empty(t, list)
		for _, i := range []int{5, 1, 3, 2, 4} {
			add(t, s, message(i, "a", []string{"even", "odd"}[i%2]))
		}
		add(t, s, message(6, "b", "even"))
		add(t, s, plain(7, "a", "none"))
		// Of two at the same time the one that was stored later is the newer.
		twin := message(8, "a", "even")
		twin.Message.Time = at(4)
		add(t, s, twin)
		list, err = s.ListChats(t.Context(), "a")
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, []any{"odd", 3, "WA5", "even", 3, "WA8"}, []any{
			list[0].Chat, list[0].Messages, list[0].Last.Message.ID, list[1].Chat, list[1].Messages, list[1].Last.Message.ID,
		})
		single, err := s.Message(t.Context(), "a", "WA5")
		require.NoError(t, err)
		same(t, single, list[0].Last)
	}},
	{"an event that is no message has none", func(t *testing.T, s store.Store) {
		ev := message(1, "a", "c")
		ev.Type = sdk.TypeUndecryptable
		add(t, s, ev)
		_, total, err := s.ListMessages(t.Context(), store.MessageQuery{})
		require.NoError(t, err)
		require.Zero(t, total)
	}},
}
