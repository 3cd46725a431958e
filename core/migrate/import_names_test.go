package migrate

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/legacy/legacytest"
	"github.com/wildcathub/wildcat/core/store"
)

// addOld adds an account with one message to a database of the Node service.
func addOld(t *testing.T, p Place, id string) {
	t.Helper()
	client, err := driver.Connect(options.Client().ApplyURI(p.URI))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Disconnect(t.Context())) }()
	db := client.Database(p.Database)
	_, err = db.Collection("accounts").InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}})
	require.NoError(t, err)
	_, err = db.Collection("messages").InsertOne(t.Context(), bson.D{
		{Key: "accountId", Value: id},
		{Key: "messageId", Value: "OF"},
		{Key: "chatId", Value: legacytest.Anna},
		{Key: "timestamp", Value: legacytest.At(50).Unix()},
		{Key: "type", Value: "text"},
		{Key: "text", Value: "of " + id},
	})
	require.NoError(t, err)
}

// texts are those of all messages of an account.
func texts(t *testing.T, s *Side, id string) (out []string) {
	t.Helper()
	all, _, err := s.Store.ListMessages(t.Context(), store.MessageQuery{Account: id})
	require.NoError(t, err)
	for _, m := range all {
		out = append(out, m.Message.Text)
	}
	return out
}

func TestARepeatedImportMixesNoAccounts(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		at := server(t)
		// Each comes before the one that was there, or could have kept its id.
		ids := []string{"a_b?", "a.b", "a b", "a_b"}
		want := []string{"a_b_", "a_b", "a_b_2", "a_b_3"}
		to := open(t, place(t))
		for n, id := range ids {
			addOld(t, at, id)
			_, err := Import(t.Context(), openOld(t, at), to, ImportOptions{})
			require.NoError(t, err)
			for i := range n + 1 {
				require.Equal(t, []string{"of " + ids[i]}, texts(t, to, want[i]), fmt.Sprint(ids[:n+1]))
			}
		}
		accounts, err := to.Store.ListAccounts(t.Context())
		require.NoError(t, err)
		require.Len(t, accounts, len(ids))
	})
}

func TestAMadeUpIDIsNotThatOfAnAccountOfTheHub(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		require.NoError(t, to.Store.CreateAccount(t.Context(), store.Account{ID: "my_shop", Name: "Mine"}))
		for range 2 {
			report, err := Import(t.Context(), from, to, ImportOptions{})
			require.NoError(t, err)
			require.Equal(t, map[string]string{"my.shop": "my_shop_2"}, report.Renamed)
		}
		require.Empty(t, texts(t, to, "my_shop"))
		require.NotEmpty(t, texts(t, to, "my_shop_2"))
	})
}

// The ids go along when the hub's data is moved.
func TestAnImportIsRepeatedAfterAMove(t *testing.T) {
	at := server(t)
	a, b := open(t, file(t)), open(t, server(t))
	addOld(t, at, "a.b")
	from := openOld(t, at)
	_, err := Import(t.Context(), from, a, ImportOptions{})
	require.NoError(t, err)
	_, err = Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	_, err = Import(t.Context(), from, b, ImportOptions{})
	require.NoError(t, err)
	require.Equal(t, []string{"of a.b"}, texts(t, b, "a_b"))
	accounts, err := b.Store.ListAccounts(t.Context())
	require.NoError(t, err)
	require.Len(t, accounts, 1)
}

func TestAnUnfinishedImportGoesOnUnderAnotherAddress(t *testing.T) {
	from, at := old(t)
	to := open(t, file(t))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Import(ctx, from, to, ImportOptions{Progress: func(string, int) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, Check(t.Context(), to.Store), ErrUnfinished)
	other := at
	if other.URI = strings.Replace(at.URI, "127.0.0.1", "localhost", 1); other.URI == at.URI {
		t.Skip("the server is not named by this address")
	}
	_, err = Import(t.Context(), openOld(t, other), to, ImportOptions{})
	require.NoError(t, err)

	// Another database is another source all the same.
	more := server(t)
	addOld(t, more, "other")
	require.NotEqual(t, from.ID, openOld(t, more).ID)
}
