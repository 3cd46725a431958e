package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waAdv"
	wastore "go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/mongo"
	"github.com/wildcathub/wildcat/core/store/storetest"
	"github.com/wildcathub/wildcat/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// file is a place in a folder of its own.
func file(t *testing.T) Place { return Place{URI: "sqlite:wildcat.db", Data: t.TempDir()} }

// server is a database of the test's own.
func server(t *testing.T) Place {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		if os.Getenv("REQUIRE_MONGO") != "" {
			t.Fatal("REQUIRE_MONGO is set and MONGODB_URI is not")
		}
		t.Skip("MONGODB_URI names no server to test with; make test-mongo says how")
	}
	name := fmt.Sprintf("wildcat_test_%016x", rand.Uint64())
	t.Cleanup(func() { require.NoError(t, mongo.Drop(context.Background(), uri, name)) })
	return Place{URI: uri, Database: name}
}

func open(t *testing.T, p Place) *Side {
	t.Helper()
	s, err := Open(t.Context(), p)
	require.NoError(t, err)
	closed := false
	t.Cleanup(func() {
		if !closed {
			require.NoError(t, s.Close())
		}
	})
	s.closeForTest(&closed)
	return s
}

// closeForTest lets a test close a side early, once.
func (s *Side) closeForTest(closed *bool) {
	was := s.release
	s.release = func() error {
		*closed = true
		if was != nil {
			return was()
		}
		return nil
	}
}

const device = "49151one:3@s.whatsapp.net"

// fill stores some of everything, keys of a device included.
func fill(t *testing.T, s *Side) {
	storetest.Fill(t, s.Store)
	ctx := t.Context()
	d, err := s.Keys.New(ctx, devices.Owner{Account: "one", Epoch: 1})
	require.NoError(t, err)
	id, err := types.ParseJID(device)
	require.NoError(t, err)
	w := d.Store
	w.ID, w.LID = &id, types.JID{User: "77", Device: 3, Server: types.HiddenUserServer}
	w.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte("details"), AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64),
	}
	w.Platform, w.PushName = "android", "Anna"
	require.NoError(t, w.Save(ctx))
	b32 := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	for i := range byte(3) {
		require.NoError(t, w.Sessions.PutSession(ctx, fmt.Sprintf("4917_1:%d", i), []byte{i, 1}))
		require.NoError(t, w.Identities.PutIdentity(ctx, fmt.Sprintf("4917:%d", i), [32]byte(b32(i))))
		require.NoError(t, w.SenderKeys.PutSenderKey(ctx, "1@g.us", fmt.Sprintf("a/b:%d", i), []byte{i, 2}))
		require.NoError(t, w.AppStateKeys.PutAppStateSyncKey(ctx, []byte{0, i}, wastore.AppStateSyncKey{Data: []byte{i, 1}, Fingerprint: []byte{i}, Timestamp: 7}))
	}
	_, err = w.PreKeys.GetOrGenPreKeys(ctx, 450)
	require.NoError(t, err)
	require.NoError(t, w.PreKeys.MarkPreKeysAsUploaded(ctx, 440))
	require.NoError(t, w.PreKeys.RemovePreKey(ctx, 5))
	for v := range uint64(2) {
		require.NoError(t, w.AppState.PutAppStateVersion(ctx, "regular", v+1, [128]byte{byte(v)}))
		require.NoError(t, w.AppState.DeleteAppStateMutationMACs(ctx, "regular", [][]byte{b32(byte(v))}))
		require.NoError(t, w.AppState.PutAppStateMutationMACs(ctx, "regular", v+1, []wastore.AppStateMutationMAC{
			{IndexMAC: b32(1), ValueMAC: b32(10 + byte(v))}, {IndexMAC: b32(2 + byte(v)), ValueMAC: b32(20)},
		}))
	}
	_, _, err = w.Contacts.PutPushName(ctx, types.NewJID("4918", types.DefaultUserServer), "Bert")
	require.NoError(t, err)
	require.NoError(t, w.ChatSettings.PutMutedUntil(ctx, types.NewJID("4918", types.DefaultUserServer), wastore.MutedForever))
	require.NoError(t, w.MsgSecrets.PutMessageSecret(ctx, types.NewJID("1", types.GroupServer), types.NewJID("4918", types.DefaultUserServer), "AB/C", b32(9)))
	require.NoError(t, w.PrivacyTokens.PutPrivacyTokens(ctx, wastore.PrivacyToken{
		User: types.NewJID("4918", types.DefaultUserServer), Token: []byte{1}, Timestamp: time.Unix(1_700_000_000, 0),
	}))
	require.NoError(t, w.EventBuffer.PutBufferedEvent(ctx, [32]byte{1}, []byte("plain"), time.Unix(1_700_000_000, 0)))
	require.NoError(t, w.EventBuffer.PutBufferedEvent(ctx, [32]byte{2}, []byte("plain"), time.Unix(1_700_000_000, 0)))
	require.NoError(t, w.EventBuffer.ClearBufferedEventPlaintext(ctx, [32]byte{2}))
	require.NoError(t, w.LIDs.PutLIDMapping(ctx, types.NewJID("88", types.HiddenUserServer), types.NewJID("4918", types.DefaultUserServer)))
	require.NoError(t, d.Retire(ctx))
}

// hashes are the source's, by kind; all kinds must be there.
func hashes(t *testing.T, r Report) map[string]string {
	t.Helper()
	require.True(t, r.Equal())
	out := map[string]string{}
	for _, l := range r.Lines {
		require.NotZero(t, l.Source, l.Kind)
		out[l.Kind] = fmt.Sprint(l.Source, " ", l.SourceHash)
	}
	return out
}

func TestThereAndBackIsTheSame(t *testing.T) {
	a, b, c := open(t, file(t)), open(t, server(t)), open(t, file(t))
	fill(t, a)
	there, err := Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	back, err := Run(t.Context(), b, c, Options{})
	require.NoError(t, err)
	require.Equal(t, hashes(t, there), hashes(t, back))
	again, err := Run(t.Context(), b, c, Options{Progress: func(kind string, _ int) { t.Errorf("%s was copied again", kind) }})
	require.NoError(t, err)
	require.True(t, again.Before)
	require.ErrorIs(t, Check(t.Context(), a.Store), ErrMoved)
	require.ErrorIs(t, Check(t.Context(), b.Store), ErrMoved)
	require.NoError(t, Check(t.Context(), c.Store))
}

// What waits has the epoch of the file's lease; the partitions' leases of the database are above.
func TestDeliveriesThatWaitAreDeliveredAfterTheMove(t *testing.T) {
	a, b := open(t, file(t)), open(t, server(t))
	ctx := t.Context()
	require.NoError(t, a.Store.CreateAccount(ctx, store.Account{ID: "one"}))
	ev := &sdk.Event{ID: "00000000000000000000000000000abc", Type: sdk.TypeUnparsed, Account: "one", Chat: "c", Time: time.Now()}
	got, err := a.Store.AppendEvent(ctx, store.Append{Event: ev, Epoch: 41})
	require.NoError(t, err)
	partition := store.Partition(store.ChatRef{Account: "one", Chat: "c"})
	require.NoError(t, a.Store.Settle(ctx, &store.Settlement{
		EventID: got.ID, Account: "one", Chat: "c", Seq: got.Seq, Epoch: 41, Verdict: []byte(`{}`),
		Deliveries: []store.Delivery{{
			ID: "00000000000000000000000000000def", EventID: got.ID, Endpoint: "hook", Account: "one", Chat: "c", Seq: got.Seq, Partition: partition,
		}},
	}))
	finish := store.DeliveryFinish{ID: "00000000000000000000000000000def", Epoch: 41, State: store.DeliveryQueued, Counted: true, At: time.Now(), Due: time.Now()}
	missed, err := a.Store.FinishDeliveries(ctx, []store.DeliveryFinish{finish})
	require.NoError(t, err)
	require.Empty(t, missed)

	_, err = Run(ctx, a, b, Options{})
	require.NoError(t, err)
	l, err := b.Store.AcquireLease(ctx, store.PartitionLease(partition), "hub", time.Minute)
	require.NoError(t, err)
	require.Greater(t, l.Epoch, uint64(41))
	finish.Attempt, finish.Epoch, finish.State = 1, l.Epoch, store.DeliveryOK
	missed, err = b.Store.FinishDeliveries(ctx, []store.DeliveryFinish{finish})
	require.NoError(t, err)
	require.Empty(t, missed)
}

func TestAPIKeysAreMoved(t *testing.T) {
	a, b := open(t, file(t)), open(t, server(t))
	fill(t, a)
	ring, err := keys.New(t.Context(), keys.Config{Loopback: true}, keys.Deps{Store: a.Store})
	require.NoError(t, err)
	k, token, err := ring.Create(t.Context(), keys.Request{Name: "boss", Scope: keys.Admin})
	require.NoError(t, err)
	_, err = Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	ring, err = keys.New(t.Context(), keys.Config{Shared: true}, keys.Deps{Store: b.Store})
	require.NoError(t, err)
	got, err := ring.Check(token)
	require.NoError(t, err)
	require.Equal(t, k, got)
}

func TestAHubGoesOnWithMovedKeysUnderItsFirstLease(t *testing.T) {
	a, b := open(t, file(t)), open(t, server(t))
	fill(t, a)
	_, err := Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	l, err := b.Store.AcquireLease(t.Context(), "account/one", "hub", time.Minute)
	require.NoError(t, err)
	require.Greater(t, l.Epoch, uint64(7), "above all that has written")
	d, err := b.Keys.Device(t.Context(), device, devices.Owner{Account: "one", Epoch: l.Epoch})
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Retire(t.Context())) }()
	old, err := a.Keys.Device(t.Context(), device, devices.Owner{})
	require.NoError(t, err)
	defer func() { require.NoError(t, old.Retire(t.Context())) }()
	require.Equal(t, *old.Store.IdentityKey.Priv, *d.Store.IdentityKey.Priv)
	session, err := d.Store.Sessions.GetSession(t.Context(), "4917_1:2")
	require.NoError(t, err)
	require.Equal(t, []byte{2, 1}, session)
	require.NoError(t, d.Store.Sessions.PutSession(t.Context(), "4917_1:2", []byte{3}))
	mac, err := d.Store.AppState.GetAppStateMutationMAC(t.Context(), "regular", bytes.Repeat([]byte{1}, 32))
	require.NoError(t, err)
	require.Equal(t, bytes.Repeat([]byte{11}, 32), mac)
	keys, err := d.Store.PreKeys.GetOrGenPreKeys(t.Context(), 12)
	require.NoError(t, err)
	require.EqualValues(t, 441, keys[0].KeyID)
	require.EqualValues(t, 452, keys[11].KeyID, "new ones are numbered after the last")
}

// A run that is cut short after any kind is gone on with by the next one, and the target
// is refused until then.
func TestAMoveThatWasCutShortIsFinishedByTheNext(t *testing.T) {
	for _, direction := range []string{"to the server", "to the file"} {
		t.Run(direction, func(t *testing.T) {
			pa, pb := file(t), server(t)
			if direction == "to the file" {
				pa, pb = pb, pa
			}
			a := open(t, pa)
			fill(t, a)
			// The test's own leases are as those of hubs that were stopped.
			require.NoError(t, freeLeases(t.Context(), a.Store))
			cuts := 0
			for done := false; !done; cuts++ {
				b := open(t, pb)
				ctx, cancel := context.WithCancel(t.Context())
				left := cuts
				report, err := Run(ctx, a, b, Options{Progress: func(string, int) {
					if left--; left < 0 {
						cancel()
					}
				}})
				cancel()
				if done = err == nil; done {
					require.Equal(t, len(report.Lines), len(hashes(t, report)))
					require.NoError(t, Check(t.Context(), b.Store))
				} else {
					require.ErrorIs(t, err, context.Canceled)
					require.ErrorIs(t, Check(t.Context(), b.Store), ErrUnfinished)
				}
				require.NoError(t, b.Close())
			}
			require.Greater(t, cuts, len(store.Kinds()))
		})
	}
}

func freeLeases(ctx context.Context, s store.Store) error {
	held, err := s.ListLeases(ctx, "")
	for _, l := range held {
		err = errors.Join(err, s.ReleaseLease(ctx, l))
	}
	return err
}

func TestATargetThatHoldsSomethingElseIsRefused(t *testing.T) {
	a, b, c := open(t, file(t)), open(t, server(t)), open(t, file(t))
	fill(t, a)
	require.NoError(t, b.Store.SetKV(t.Context(), "rule/x", "k", []byte("v"), 0))
	_, err := Run(t.Context(), a, b, Options{})
	require.ErrorIs(t, err, ErrForeign)
	require.NoError(t, b.Store.SetKV(t.Context(), "rule/x", "k", nil, 0))
	_, err = Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	require.NoError(t, c.Store.CreateAccount(t.Context(), store.Account{ID: "other"}))
	_, err = Run(t.Context(), c, b, Options{})
	require.ErrorIs(t, err, ErrForeign, "a target of another source")
}

func TestADatabaseThatAHubUsesIsRefused(t *testing.T) {
	pa := file(t)
	a, b := open(t, pa), open(t, server(t))
	fill(t, a)
	l, err := b.Store.AcquireLease(t.Context(), "instance/x", "x", time.Hour)
	require.NoError(t, err)
	_, err = Run(t.Context(), a, b, Options{})
	require.ErrorIs(t, err, ErrInUse)
	require.NoError(t, b.Store.ReleaseLease(t.Context(), l))
	_, err = Open(t.Context(), pa)
	require.ErrorIs(t, err, store.ErrLocked)
	_, err = b.Store.AcquireLease(t.Context(), leaseName, "another move", time.Hour)
	require.NoError(t, err)
	_, err = Run(t.Context(), a, b, Options{})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorIs(t, Check(t.Context(), b.Store), ErrInUse)
}

func TestADifferenceIsReported(t *testing.T) {
	a, b := open(t, file(t)), open(t, server(t))
	fill(t, a)
	_, err := Run(t.Context(), a, b, Options{})
	require.NoError(t, err)
	require.NoError(t, b.Store.DeleteBlob(t.Context(), "blob-1"))
	_, err = b.Store.UpdateAccount(t.Context(), "one", func(x *store.Account) { x.Name = "other" })
	require.NoError(t, err)
	report, err := Run(t.Context(), a, b, Options{})
	require.ErrorIs(t, err, ErrDiffers)
	var kinds []string
	for _, l := range report.Lines {
		if !l.Equal() {
			kinds = append(kinds, l.Kind)
		}
	}
	require.Equal(t, []string{"accounts", "blobs"}, kinds)
}

func TestASourceThatIsNotThereIsRefused(t *testing.T) {
	p := file(t)
	_, err := OpenSource(t.Context(), p)
	require.ErrorIs(t, err, os.ErrNotExist)
	a, b := open(t, p), open(t, file(t))
	_, err = Run(t.Context(), a, b, Options{})
	require.ErrorIs(t, err, ErrEmpty)
	_, err = OpenSource(t.Context(), p)
	require.ErrorIs(t, err, store.ErrLocked)
}

func TestASourceThatIsMisspeltIsNotMade(t *testing.T) {
	p := server(t)
	_, err := OpenSource(t.Context(), p)
	require.ErrorIs(t, err, ErrEmpty)
	require.ErrorContains(t, err, p.Database)
	client, err := driver.Connect(options.Client().ApplyURI(p.URI))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Disconnect(t.Context())) }()
	made, err := client.Database(p.Database).ListCollectionNames(t.Context(), bson.D{})
	require.NoError(t, err)
	for _, name := range made { // the fake server makes a collection when it is read
		n, err := client.Database(p.Database).Collection(name).CountDocuments(t.Context(), bson.D{})
		require.NoError(t, err)
		require.Zero(t, n, name)
	}
	require.NotContains(t, made, "events")
	require.NotContains(t, made, "leases")

	open(t, p)
	s, err := OpenSource(t.Context(), p)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
