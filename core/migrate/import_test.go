package migrate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/legacy"
	"github.com/wildcathub/wildcat/core/legacy/legacytest"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// old is a database of the Node service, and its place.
func old(t *testing.T) (*legacy.Source, Place) {
	t.Helper()
	p := server(t)
	require.NoError(t, legacytest.Fill(t.Context(), p.URI, p.Database))
	return openOld(t, p), p
}

func openOld(t *testing.T, p Place) *legacy.Source {
	t.Helper()
	s, err := legacy.Open(t.Context(), p.URI, p.Database)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// targets runs a test with each engine as the target.
func targets(t *testing.T, test func(t *testing.T, place func(*testing.T) Place)) {
	t.Run("to a file", func(t *testing.T) { test(t, file) })
	t.Run("to a server", func(t *testing.T) { test(t, server) })
}

// what is one line of a report, in short.
type what struct{ Found, Source, Target int }

func lines(r Imported) map[string]what {
	out := map[string]what{}
	for _, l := range r.Lines {
		out[l.Kind] = what{l.Found, l.Source, l.Target}
	}
	return out
}

func left(r Imported, kind string) map[string]int {
	out := map[string]int{}
	for _, l := range r.Lines {
		for _, x := range l.Left {
			if l.Kind == kind {
				out[x.Reason] = x.N
			}
		}
	}
	return out
}

func TestWhatTheNodeServiceStoredIsTakenOver(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		var secrets []string
		report, err := Import(t.Context(), from, to, ImportOptions{Registered: func(w store.Webhook) { secrets = append(secrets, w.Secret) }})
		require.NoError(t, err)
		require.True(t, report.Equal())
		require.Equal(t, map[string]what{
			"accounts": {3, 3, 3}, "webhooks": {4, 2, 2}, "media": {4, 2, 2}, "messages": {23, 16, 16},
		}, lines(report))
		require.Equal(t, map[string]int{
			"it is there twice": 1, "its account is gone": 2, "it has no message id": 1, "it names no chat": 1,
			"it only served the protocol": 1, "it holds nothing: a notice, or what could not be decrypted": 1,
		}, left(report, "messages"))
		require.Equal(t, map[string]int{"the file is not whole": 1, "its account is gone": 1}, left(report, "media"))
		require.Equal(t, map[string]int{"it is there twice": 1, "its URL is not http:// or https://": 1}, left(report, "webhooks"))
		for _, l := range report.Lines {
			for _, x := range l.Left {
				require.NotContains(t, x.Examples, legacytest.Webhook, "its query may be a secret")
			}
		}
		require.Equal(t, map[string]string{"my.shop": "my_shop"}, report.Renamed)
		require.Len(t, secrets, 2)

		accounts, err := to.Store.ListAccounts(t.Context())
		require.NoError(t, err)
		require.Equal(t, []store.Account{
			{ID: "fresh", Name: "Fresh", Collection: "auth_fresh", State: account.StateCreated, CreatedAt: legacytest.At(3), UpdatedAt: legacytest.At(3)},
			{ID: "my_shop", Name: "my_shop", Collection: "auth_my.shop", State: account.StateLoggedOut, Reason: account.ReasonImported, CreatedAt: legacytest.At(2), UpdatedAt: legacytest.At(2)},
			{ID: "shop", Name: "The shop", Collection: "auth_shop", State: account.StateLoggedOut, Reason: account.ReasonImported, CreatedAt: legacytest.At(0), UpdatedAt: legacytest.At(1)},
		}, accounts)
		keys, err := to.Keys.List(t.Context())
		require.NoError(t, err)
		require.Empty(t, keys)

		webhooks, err := to.Store.ListWebhooks(t.Context())
		require.NoError(t, err)
		require.Equal(t, legacytest.Webhook, webhooks[0].URL)
		require.Equal(t, legacytest.At(0), webhooks[0].CreatedAt)
		require.Equal(t, secrets[0], webhooks[0].Secret)
		require.Empty(t, webhooks[0].Events, "messages, as before")
		require.NoError(t, Check(t.Context(), to.Store))
	})
}

func TestMessagesOfTheNodeServiceReadAsTheHubsOwn(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		_, err := Import(t.Context(), from, to, ImportOptions{})
		require.NoError(t, err)
		chat, total, err := to.Store.ListMessages(t.Context(), store.MessageQuery{Account: "shop", Chat: legacytest.Anna})
		require.NoError(t, err)
		require.Equal(t, 10, total)
		var ids []string
		for _, m := range chat {
			ids = append(ids, m.Message.ID)
		}
		require.Equal(t, []string{"PLACE", "DAMAGED", "VOICE", "GARBAGE", "BARE", "LOST", "PHOTO", "ANSWER", "HELLO", "EARLY"}, ids, "newest first")
		get := func(id string) store.Message {
			m, err := to.Store.Message(t.Context(), "shop", id)
			require.NoError(t, err)
			return m
		}
		hello := get("HELLO")
		require.Equal(t, &sdk.Message{
			ID: "HELLO", Chat: legacytest.Anna, From: legacytest.Anna, SenderPN: legacytest.Anna, Name: "Anna",
			Time: legacytest.At(1), Kind: sdk.KindText, Text: "Are you open?",
		}, hello.Message)
		require.Equal(t, legacytest.At(1).Add(2*time.Second), hello.CreatedAt)
		require.Equal(t, legacytest.At(1).Add(3*time.Second), hello.UpdatedAt)
		require.Equal(t, pipeline.EventID("shop", legacytest.Anna, legacytest.Anna, "HELLO", "message"), hello.EventID,
			"the id under which the hub would know it, should it come again")
		answer := get("ANSWER").Message
		require.True(t, answer.FromMe)
		require.Equal(t, &sdk.Quote{ID: "HELLO", Participant: legacytest.Anna, Text: "Are you open?"}, answer.Quote)
		sum := sha256.Sum256(legacytest.Photo())
		require.Equal(t, &sdk.Media{
			ID: legacytest.PhotoID(), MIME: "image/jpeg", Size: legacytest.PhotoSize, SHA256: hex.EncodeToString(sum[:]),
			Width: 640, Height: 480, Status: "stored",
		}, get("PHOTO").Message.Media)
		require.Contains(t, string(get("PHOTO").Raw), `"mediaKey":"CQk="`, "the keys of the file")
		require.Equal(t, sdk.KindVideo, get("LOST").Message.Kind, "the service called it a text")
		require.Equal(t, "failed", get("LOST").Message.Media.Status)
		require.Equal(t, legacytest.VoiceID(), get("VOICE").Message.Media.ID)
		require.True(t, get("VOICE").Message.Media.Voice)
		require.Equal(t, "failed", get("DAMAGED").Message.Media.Status)
		require.Equal(t, &sdk.Location{Latitude: 52.5, Longitude: 13.25, Name: "The office"}, get("PLACE").Message.Location)
		group := get("3EB0.GROUP.1").Message
		require.Equal(t, []string{legacytest.Group, legacytest.Bert}, []string{group.From, group.Participant}, "the service did not show the sender")
		require.Equal(t, "On holiday", get("STATUS").Message.Text)
		require.Equal(t, "status@broadcast", get("STATUS").Chat)
		require.Equal(t, []string{legacytest.Anna}, get("GARBAGE").Message.Mentions)
		require.Equal(t, legacytest.At(12).Add(2*time.Second), get("GARBAGE").Message.Time, "of storing: its own cannot be read")

		types := map[sdk.EventType]int{}
		seqs := map[store.ChatRef][]uint64{}
		require.NoError(t, each(t.Context(), to.Store, store.KindEvents, func(records []any) error {
			return store.Each(records, func(e store.StoredEvent) error {
				require.Equal(t, store.StageDone, e.Stage, "nothing is left to do, and so no rule sees it")
				types[e.Event.Type]++
				ref := store.ChatRef{Account: e.Event.Account, Chat: e.Event.Chat}
				seqs[ref] = append(seqs[ref], e.Event.Seq)
				return nil
			})
		}))
		require.Equal(t, map[sdk.EventType]int{sdk.TypeMessage: 13, sdk.TypeReaction: 1, sdk.TypeRevoke: 1, sdk.TypeEdit: 1}, types)
		for ref, got := range seqs {
			for i, n := range got {
				require.EqualValues(t, i+1, n, "numbers of %s", ref.Chat)
			}
		}
		deliveries, err := to.Store.ListDeliveries(t.Context(), store.DeliveryQuery{})
		require.NoError(t, err)
		require.Empty(t, deliveries)
	})
}

func TestFilesOfTheNodeServiceKeepTheirIDs(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		_, err := Import(t.Context(), from, to, ImportOptions{})
		require.NoError(t, err)
		for id, want := range map[string][]byte{legacytest.PhotoID(): legacytest.Photo(), legacytest.VoiceID(): legacytest.Voice()} {
			r, info, err := to.Store.OpenBlob(t.Context(), id)
			require.NoError(t, err)
			got, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.True(t, bytes.Equal(want, got))
			require.Equal(t, legacytest.At(10), info.CreatedAt)
			require.Equal(t, legacytest.Anna, info.Meta["chatId"])
			require.Equal(t, "640", info.Meta["width"])
			require.Equal(t, strconv.Itoa(len(want)), info.Meta["fileLength"], "it was a Long")
		}
	})
}

func TestAnImportThatIsRepeatedChangesNothing(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, at := old(t)
		to := open(t, place(t))
		first, err := Import(t.Context(), from, to, ImportOptions{})
		require.NoError(t, err)
		before := content(t, to)
		second, err := Import(t.Context(), from, to, ImportOptions{Registered: func(store.Webhook) { t.Error("a webhook was registered again") }})
		require.NoError(t, err)
		require.Equal(t, before, content(t, to))
		require.Equal(t, lines(first), lines(second))

		// The service goes on; the next run brings what is new.
		client, err := driver.Connect(options.Client().ApplyURI(at.URI))
		require.NoError(t, err)
		_, err = client.Database(at.Database).Collection("messages").InsertOne(t.Context(), bson.D{
			{Key: "accountId", Value: "shop"},
			{Key: "messageId", Value: "NEXT"},
			{Key: "chatId", Value: legacytest.Anna},
			{Key: "timestamp", Value: legacytest.At(50).Unix()},
			{Key: "type", Value: "text"},
			{Key: "text", Value: "one more"},
		})
		require.NoError(t, err)
		require.NoError(t, client.Disconnect(t.Context()))
		third, err := Import(t.Context(), from, to, ImportOptions{})
		require.NoError(t, err)
		require.Equal(t, what{24, 17, 17}, lines(third)["messages"])
		m, err := to.Store.Message(t.Context(), "shop", "NEXT")
		require.NoError(t, err)
		next, err := to.Store.AppendEvent(t.Context(), store.Append{Epoch: 1, Event: &sdk.Event{
			ID: "0123456789abcdef0123456789abcdef", Type: sdk.TypeReceipt, Account: "shop", Chat: m.Chat, Time: legacytest.At(51), Receipt: &sdk.Receipt{},
		}})
		require.NoError(t, err)
		stored, err := to.Store.Event(t.Context(), m.EventID)
		require.NoError(t, err)
		require.Equal(t, stored.Event.Seq+1, next.Seq, "the hub numbers on")
	})
}

// content is all that a side holds, but the marks.
func content(t *testing.T, s *Side) map[store.Kind][]any {
	t.Helper()
	out := map[store.Kind][]any{}
	for _, k := range store.Kinds() {
		if k == store.KindLeases {
			continue
		}
		require.NoError(t, each(t.Context(), s.Store, k, func(records []any) error {
			for _, r := range moved(records) {
				b, err := canonical(r)
				require.NoError(t, err)
				out[k] = append(out[k], string(b))
			}
			return nil
		}))
	}
	return out
}

// cut is a store that fails with its n-th write, before or after it was made.
type cut struct {
	store.Store
	left  int
	after bool
}

var errCut = errors.New("the power went off")

func (c *cut) write(do func() error) error {
	if c.left--; c.left > 0 {
		return do()
	}
	if c.left == 0 && c.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errCut
}

func (c *cut) Import(ctx context.Context, k store.Kind, records []any) error {
	return c.write(func() error { return c.Store.Import(ctx, k, records) })
}

func (c *cut) SetKV(ctx context.Context, namespace, key string, value []byte, ttl time.Duration) error {
	return c.write(func() error { return c.Store.SetKV(ctx, namespace, key, value, ttl) })
}

func (c *cut) CreateWebhook(ctx context.Context, w store.Webhook) (out store.Webhook, made bool, err error) {
	err = c.write(func() (err error) { out, made, err = c.Store.CreateWebhook(ctx, w); return err })
	return out, made, err
}

func (c *cut) PutBlob(ctx context.Context, info store.BlobInfo, r io.Reader) (out store.BlobInfo, err error) {
	err = c.write(func() (err error) { out, err = c.Store.PutBlob(ctx, info, r); return err })
	return out, err
}

// A run that is cut short at any write is gone on with by the next, and no hub starts in between.
func TestAnImportThatWasCutShortIsFinishedByTheNext(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		whole := open(t, place(t))
		_, err := Import(t.Context(), from, whole, ImportOptions{})
		require.NoError(t, err)
		within := *to
		cuts := 0
		for done := false; !done; cuts++ {
			within.Store = &cut{Store: to.Store, left: 1 + cuts/2, after: cuts%2 == 1}
			report, err := Import(t.Context(), from, &within, ImportOptions{})
			if done = err == nil; done {
				require.True(t, report.Equal())
				break
			}
			require.ErrorIs(t, err, errCut)
			if cuts > 0 && within.Store.(*cut).left == 0 && Check(t.Context(), to.Store) == nil {
				require.True(t, cuts%2 == 1, "only the last write makes it whole")
			}
		}
		require.Greater(t, cuts, 10)
		require.NoError(t, Check(t.Context(), to.Store))
		for _, k := range []store.Kind{store.KindAccounts, store.KindChats, store.KindEvents, store.KindMessages, store.KindBlobs} {
			require.ElementsMatch(t, content(t, whole)[k], content(t, to)[k], k)
		}
	})
}

func TestWhatTheHubHasStaysAsItIs(t *testing.T) {
	targets(t, func(t *testing.T, place func(*testing.T) Place) {
		from, _ := old(t)
		to := open(t, place(t))
		ctx := t.Context()
		mine := store.Account{ID: "shop", Name: "Mine", JID: "919000000001:3@s.whatsapp.net", State: account.StateConnected, Connect: true}
		require.NoError(t, to.Store.CreateAccount(ctx, mine))
		_, err := to.Store.ResolveAlias(ctx, "shop", legacytest.Anna)
		require.NoError(t, err)
		// The hub was there already when a message came that the old service has, too.
		id := pipeline.EventID("shop", legacytest.Anna, legacytest.Anna, "PLACE", "message")
		ev := &sdk.Event{
			ID: id, Type: sdk.TypeMessage, Account: "shop", Chat: legacytest.Anna, WAID: "PLACE", Time: legacytest.At(19),
			Message: &sdk.Message{ID: "PLACE", Chat: legacytest.Anna, Kind: sdk.KindText, Text: "as the hub saw it", Time: legacytest.At(19)},
		}
		_, err = to.Store.AppendEvent(ctx, store.Append{Event: ev, Epoch: 4})
		require.NoError(t, err)
		_, err = Import(ctx, from, to, ImportOptions{})
		require.ErrorIs(t, err, ErrInUse, "it is not done yet")
		require.NoError(t, to.Store.Settle(ctx, &store.Settlement{EventID: id, Account: "shop", Chat: legacytest.Anna, Seq: 1, Epoch: 4, Verdict: []byte(`{}`)}))

		report, err := Import(ctx, from, to, ImportOptions{})
		require.NoError(t, err)
		require.Equal(t, 1, left(report, "messages")["the hub has it already"])
		a, err := to.Store.Account(ctx, "shop")
		require.NoError(t, err)
		require.Equal(t, []any{"Mine", account.StateConnected, true}, []any{a.Name, a.State, a.Connect})
		m, err := to.Store.Message(ctx, "shop", "PLACE")
		require.NoError(t, err)
		require.Equal(t, "as the hub saw it", m.Message.Text)
		_, total, err := to.Store.ListMessages(ctx, store.MessageQuery{Account: "shop", Chat: legacytest.Anna})
		require.NoError(t, err)
		require.Equal(t, 10, total)
	})
}

func TestAPublicURLHoldsNoSecret(t *testing.T) {
	require.Equal(t, "https://crm.example/a", PublicURL("https://user:pass@crm.example/a?token=x#y"))
	require.Equal(t, "?", PublicURL("http://[::1"))
}

func TestWrongSourcesAndTargetsAreRefused(t *testing.T) {
	from, at := old(t)
	_, err := Open(t.Context(), at)
	require.ErrorContains(t, err, "wildcat import-legacy", "the old database is no target, and no hub starts on it")
	hub := server(t)
	to := open(t, hub)
	_, err = legacy.Open(t.Context(), hub.URI, hub.Database)
	require.ErrorIs(t, err, legacy.ErrNotLegacy)
	_, err = legacy.Open(t.Context(), hub.URI, "wildcat_test_nothing")
	require.ErrorIs(t, err, legacy.ErrEmpty)

	l, err := to.Store.AcquireLease(t.Context(), "instance/x", "x", time.Hour)
	require.NoError(t, err)
	_, err = Import(t.Context(), from, to, ImportOptions{})
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, to.Store.ReleaseLease(t.Context(), l))
	require.NoError(t, writeMark(t.Context(), to.Store, importKey, mark{ID: "another"}))
	_, err = Import(t.Context(), from, to, ImportOptions{})
	require.ErrorIs(t, err, ErrForeign)
}

func TestADifferenceAfterAnImportIsReported(t *testing.T) {
	from, _ := old(t)
	to := open(t, file(t))
	_, err := Import(t.Context(), from, to, ImportOptions{Progress: func(kind string, _ int) {
		if kind == lineMessages {
			require.NoError(t, to.Store.DeleteBlob(t.Context(), legacytest.VoiceID()))
		}
	}})
	require.ErrorIs(t, err, ErrDiffers)
	require.ErrorIs(t, Check(t.Context(), to.Store), ErrUnfinished)
}
