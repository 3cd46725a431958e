package migrate

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/legacy/legacytest"
	"github.com/wildcathub/wildcat/core/store"
)

// A history of several pages, whose times are in no order, is cut short between any two
// writes of events, messages and chats: what comes out has no number twice and no gap.
func TestALongHistoryIsNumberedWithoutGapsWhereverItWasCut(t *testing.T) {
	if testing.Short() {
		t.Skip("one import after the other: the short form, for the race detector, leaves it out")
	}
	const chats, total = 3, 2*page + 50
	source := server(t)
	client, err := driver.Connect(options.Client().ApplyURI(source.URI))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Disconnect(t.Context())) }()
	db := client.Database(source.Database)
	_, err = db.Collection("accounts").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "shop"}, {Key: "status", Value: "connected"}})
	require.NoError(t, err)
	var docs []any
	for n := range total {
		docs = append(docs, bson.D{
			{Key: "_id", Value: legacytest.ID(n)},
			{Key: "accountId", Value: "shop"},
			{Key: "messageId", Value: fmt.Sprintf("M%04d", n)},
			{Key: "chatId", Value: fmt.Sprintf("49151000%d@s.whatsapp.net", n%chats)},
			{Key: "timestamp", Value: legacytest.At(n * 7 % total).Unix()},
			{Key: "type", Value: "text"},
			{Key: "text", Value: "x"},
		})
	}
	_, err = db.Collection("messages").InsertMany(t.Context(), docs)
	require.NoError(t, err)
	from := openOld(t, source)
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		to := open(t, place(t))
		within := *to
		cuts := 0
		for ; ; cuts++ {
			within.Store = &cut{Store: to.Store, left: 1 + cuts, after: cuts%2 == 1}
			if _, err = Import(t.Context(), from, &within, ImportOptions{}); err == nil {
				break
			}
			require.ErrorIs(t, err, errCut)
		}
		require.Greater(t, cuts, 7, "three pages, each in two writes, and the chats")
		seqs := map[string][]uint64{}
		require.NoError(t, each(t.Context(), to.Store, store.KindEvents, func(records []any) error {
			return store.Each(records, func(e store.StoredEvent) error {
				seqs[e.Event.Chat] = append(seqs[e.Event.Chat], e.Event.Seq)
				return nil
			})
		}))
		require.Len(t, seqs, chats)
		for chat, got := range seqs {
			slices.Sort(got)
			for i, n := range got {
				require.EqualValues(t, i+1, n, chat)
			}
		}
		list, n, err := to.Store.ListMessages(t.Context(), store.MessageQuery{Account: "shop", Limit: total})
		require.NoError(t, err)
		require.Equal(t, total, n)
		require.True(t, slices.IsSortedFunc(list, func(a, b store.Message) int { return b.Message.Time.Compare(a.Message.Time) }))
		sums, err := to.Store.ListChats(t.Context(), "shop")
		require.NoError(t, err)
		require.Equal(t, total, sums[0].Messages+sums[1].Messages+sums[2].Messages)
	})
}
