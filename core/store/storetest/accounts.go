package storetest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

var accountTests = []test{
	{"are created once, read, listed by id", func(t *testing.T, s store.Store) {
		a := store.Account{
			ID: "sales", Name: "Sales", Collection: "sales_auth", JID: "1:2@s.whatsapp.net", LID: "3@lid", State: "connected",
			Reason: "ok", Connect: true, Greeted: true, CreatedAt: at(0), UpdatedAt: at(1),
		}
		require.NoError(t, s.CreateAccount(t.Context(), a))
		require.ErrorIs(t, s.CreateAccount(t.Context(), store.Account{ID: "sales"}), store.ErrExists)
		require.NoError(t, s.CreateAccount(t.Context(), store.Account{ID: "desk", CreatedAt: at(2), UpdatedAt: at(2)}))
		got, err := s.Account(t.Context(), "sales")
		require.NoError(t, err)
		same(t, a, got)
		all, err := s.ListAccounts(t.Context())
		require.NoError(t, err)
		same(t, []store.Account{{ID: "desk", CreatedAt: at(2), UpdatedAt: at(2)}, a}, all)
		_, err = s.Account(t.Context(), "none")
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"lose no update", func(t *testing.T, s store.Store) {
		require.NoError(t, s.CreateAccount(t.Context(), store.Account{ID: "a"}))
		side(t, 16, func(int) error {
			_, err := s.UpdateAccount(t.Context(), "a", func(a *store.Account) { a.Name += "x"; a.ID = "b"; a.Connect = true })
			return err
		})
		a, err := s.Account(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("x", 16), a.Name)
		require.True(t, a.Connect)
		require.False(t, a.UpdatedAt.IsZero())
		_, err = s.UpdateAccount(t.Context(), "none", func(*store.Account) {})
		require.ErrorIs(t, err, store.ErrNotFound)
	}},
	{"are deleted with all that is theirs and nothing else", func(t *testing.T, s store.Store) {
		for _, id := range []string{"a", "b"} {
			require.NoError(t, s.CreateAccount(t.Context(), store.Account{ID: id}))
		}
		keep := queue(t, s, 1, "b", "chat", "hook")
		for i := 2; i < 6; i++ {
			queue(t, s, i, "a", "chat", "hook")
		}
		require.NoError(t, s.InsertSend(t.Context(), reply(message(2, "a", "chat"), 0)))
		require.NoError(t, s.InsertSend(t.Context(), reply(message(1, "b", "chat"), 0)))
		_, err := s.ResolveAlias(t.Context(), "a", "x", "y")
		require.NoError(t, err)
		for _, id := range []string{"a", "b"} {
			_, err := s.PutBlob(t.Context(), store.BlobInfo{ID: "file-" + id, Account: id}, strings.NewReader("data"))
			require.NoError(t, err)
		}

		require.NoError(t, s.DeleteAccount(t.Context(), "a"))
		require.ErrorIs(t, s.DeleteAccount(t.Context(), "a"), store.ErrNotFound)
		_, err = s.Account(t.Context(), "a")
		require.ErrorIs(t, err, store.ErrNotFound)
		evs, err := s.ListEvents(t.Context(), "", "", 100)
		require.NoError(t, err)
		require.Len(t, evs, 1)
		require.Equal(t, keep.EventID, evs[0].Event.ID)
		_, total, err := s.ListMessages(t.Context(), store.MessageQuery{})
		require.NoError(t, err)
		require.Equal(t, 1, total)
		ds, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{})
		require.NoError(t, err)
		require.Len(t, ds, 1)
		sends, err := s.ListSends(t.Context(), store.SendQuery{})
		require.NoError(t, err)
		require.Len(t, sends, 1)
		files, err := s.ListBlobs(t.Context(), store.BlobQuery{})
		require.NoError(t, err)
		require.Len(t, files, 1)
		require.Equal(t, "file-b", files[0].ID)

		// The name is free again, and its chats count from the start.
		require.NoError(t, s.CreateAccount(t.Context(), store.Account{ID: "a"}))
		require.EqualValues(t, 1, add(t, s, message(2, "a", "chat")).Seq)
		alias, err := s.ResolveAlias(t.Context(), "a", "y")
		require.NoError(t, err)
		require.Equal(t, "y", alias.Key)
	}},
}
