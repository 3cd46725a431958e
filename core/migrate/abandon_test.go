package migrate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/legacy/legacytest"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// works has a hub take a message of a chat that the import knows, and be done with it.
func works(t *testing.T, s *Side, n int) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, Check(ctx, s.Store))
	_, err := s.Store.ResolveAlias(ctx, "shop", legacytest.Anna)
	require.NoError(t, err)
	id := fmt.Sprintf("%032x", n)
	a, err := s.Store.AppendEvent(ctx, store.Append{Epoch: 1, Event: &sdk.Event{
		ID: id, Type: sdk.TypeMessage, Account: "shop", Chat: legacytest.Anna, WAID: id, Time: legacytest.At(60),
		Message: &sdk.Message{ID: id, Chat: legacytest.Anna, Kind: sdk.KindText, Text: "live", Time: legacytest.At(60)},
	}})
	require.NoError(t, err)
	require.NoError(t, s.Store.Settle(ctx, &store.Settlement{EventID: id, Account: "shop", Chat: a.Chat, Seq: a.Seq, Epoch: 1, Verdict: []byte(`{}`)}))
}

// sound: numbers are given once, and what is a message is listed.
func sound(t *testing.T, s *Side) (messages int) {
	t.Helper()
	numbered := map[string]bool{}
	require.NoError(t, each(t.Context(), s.Store, store.KindEvents, func(records []any) error {
		return store.Each(records, func(e store.StoredEvent) error {
			at := fmt.Sprint(e.Event.Account, " ", e.Event.Chat, " ", e.Event.Seq)
			require.False(t, numbered[at], at)
			numbered[at] = true
			if e.Event.Type == sdk.TypeMessage {
				messages++
			}
			return nil
		})
	}))
	list, total, err := s.Store.ListMessages(t.Context(), store.MessageQuery{Limit: 500})
	require.NoError(t, err)
	require.Equal(t, messages, total)
	require.Len(t, list, messages)
	return messages
}

// Wherever an import was cut, a hub works on what it has left, and the import goes on after that.
func TestAHubWorksOnWhatAnAbandonedImportHasLeft(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		mine := store.Account{ID: "shop", Name: "Mine", Connect: true}
		require.NoError(t, to.Store.CreateAccount(t.Context(), mine))
		works(t, to, 0) // a hub has used it
		within := *to
		cuts, given := 0, 0
		for ; ; cuts++ {
			within.Store = &cut{Store: to.Store, left: 1 + cuts/2, after: cuts%2 == 1}
			report, err := Import(t.Context(), from, &within, ImportOptions{})
			if err == nil {
				require.True(t, report.Equal())
				break
			}
			require.ErrorIs(t, err, errCut)
			unfinished, err := Importing(t.Context(), to.Store)
			require.NoError(t, err)
			if !unfinished {
				continue // before the first write, or after the last
			}
			given++
			before, err := madeNames(t.Context(), to.Store)
			require.NoError(t, err)
			kept, err := Abandon(t.Context(), to, nil)
			require.NoError(t, err)
			names, err := madeNames(t.Context(), to.Store)
			require.NoError(t, err)
			require.Equal(t, before, names)
			works(t, to, cuts+1)
			require.Equal(t, Kept{"messages", sound(t, to) - 1}, kept[3])
		}
		require.Greater(t, given, 10)
		works(t, to, cuts+1)
		require.Equal(t, 13+given+2, sound(t, to))
		a, err := to.Store.Account(t.Context(), "shop")
		require.NoError(t, err)
		require.Equal(t, "Mine", a.Name)
	})
}

func TestOnlyAnUnfinishedImportIsAbandoned(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		ctx := t.Context()
		_, err := Abandon(ctx, to, nil)
		require.ErrorIs(t, err, ErrNothingToAbandon)
		_, err = Import(ctx, from, to, ImportOptions{})
		require.NoError(t, err)
		_, err = Abandon(ctx, to, nil)
		require.ErrorIs(t, err, ErrNothingToAbandon)

		// One that was cut short again, and never finished: hubs say what is to be done.
		cancelled, cancel := context.WithCancel(ctx)
		_, err = Import(cancelled, from, to, ImportOptions{Progress: func(string, int) { cancel() }})
		require.ErrorIs(t, err, context.Canceled)
		err = Check(ctx, to.Store)
		require.ErrorIs(t, err, ErrUnfinished)
		require.ErrorContains(t, err, "wildcat import-legacy --abandon")
		more := server(t)
		addOld(t, more, "other")
		_, err = Import(ctx, openOld(t, more), to, ImportOptions{})
		require.ErrorIs(t, err, ErrForeign)
		require.ErrorContains(t, err, "wildcat import-legacy --abandon")
		_, err = Run(ctx, to, open(t, server(t)), Options{})
		require.ErrorContains(t, err, "wildcat import-legacy --abandon")
		kept, err := Abandon(ctx, to, nil)
		require.NoError(t, err)
		require.Equal(t, []Kept{{"accounts", 3}, {"webhooks", 2}, {"media", 2}, {"messages", 13}}, kept)
		require.NoError(t, Check(ctx, to.Store))
		_, err = Import(ctx, openOld(t, more), to, ImportOptions{})
		require.NoError(t, err, "it takes another")
	})
}

func TestNothingIsAbandonedWhereAHubRuns(t *testing.T) {
	from, _ := old(t)
	to := open(t, server(t))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Import(ctx, from, to, ImportOptions{Progress: func(string, int) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	l, err := to.Store.AcquireLease(t.Context(), "account/shop", "a hub that stood still", time.Minute)
	require.NoError(t, err)
	_, err = Abandon(t.Context(), to, nil)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorIs(t, Check(t.Context(), to.Store), ErrUnfinished)
	require.NoError(t, to.Store.ReleaseLease(t.Context(), l))
	_, err = Abandon(t.Context(), to, nil)
	require.NoError(t, err)
	require.NoError(t, Check(t.Context(), to.Store), "its own lease is gone, too")
}

// A hub that stood still has stored something, and an import waits for it: no hub starts, though.
func TestAnImportThatWaitsForAHubSaysHowOneIsStarted(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Import(ctx, from, to, ImportOptions{Progress: func(string, int) { cancel() }})
		require.ErrorIs(t, err, context.Canceled)
		_, err = to.Store.AppendEvent(t.Context(), store.Append{Epoch: 4, Event: &sdk.Event{
			ID: strings.Repeat("a", 32), Type: sdk.TypeReceipt, Account: "shop", Chat: "1@s.whatsapp.net", Time: legacytest.At(51), Receipt: &sdk.Receipt{},
		}})
		require.NoError(t, err)
		_, err = Import(t.Context(), from, to, ImportOptions{})
		require.ErrorIs(t, err, ErrInUse)
		require.ErrorContains(t, err, "wildcat import-legacy --abandon")
		_, err = Abandon(t.Context(), to, nil)
		require.NoError(t, err)
		require.NoError(t, Check(t.Context(), to.Store))
		open, err := to.Store.UnfinishedChats(t.Context(), store.ChatRef{}, 10)
		require.NoError(t, err)
		require.Equal(t, []store.ChatRef{{Account: "shop", Chat: "1@s.whatsapp.net"}}, open, "the hub has still to do it")
	})
}

func TestAnUnfinishedMoveIsNotAbandoned(t *testing.T) {
	a, b := open(t, file(t)), open(t, server(t))
	fill(t, a)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, a, b, Options{Progress: func(string, int) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, Check(t.Context(), b.Store), ErrUnfinished)
	_, err = Abandon(t.Context(), b, nil)
	require.ErrorIs(t, err, ErrUnfinished)
	require.ErrorContains(t, err, "delete the target instead")
	require.ErrorIs(t, Check(t.Context(), b.Store), ErrUnfinished)
	_, err = Run(t.Context(), a, b, Options{})
	require.NoError(t, err, "it goes on")
}
