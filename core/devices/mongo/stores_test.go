package mongo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lossy is a dialer whose connections break on demand: the server has done what an
// update asks for, and the answer does not arrive.
type lossy struct {
	net.Dialer
	mu    sync.Mutex
	armed int
}

type lossyConn struct {
	net.Conn
	l      *lossy
	update bool
}

func (l *lossy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := l.Dialer.DialContext(ctx, network, address)
	return &lossyConn{Conn: c, l: l}, err
}

// arm breaks the connection at the next n answers to updates.
func (l *lossy) arm(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = n
}

func (l *lossy) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.armed
}

func (c *lossyConn) Write(b []byte) (int, error) {
	c.l.mu.Lock()
	c.update = bytes.Contains(b, []byte("update\x00"))
	c.l.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *lossyConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if err == nil && c.update && c.l.armed > 0 {
		c.l.armed--
		c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// database is an empty one, dropped after the test, and the means to lose answers.
func database(t *testing.T) (*driver.Database, *lossy) {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		if os.Getenv("REQUIRE_MONGO") != "" {
			t.Fatal("REQUIRE_MONGO is set and MONGODB_URI is not")
		}
		t.Skip("MONGODB_URI names no server to test with; make test-mongo says how")
	}
	l := &lossy{}
	client, err := driver.Connect(options.Client().ApplyURI(uri).SetRetryWrites(false).SetDialer(l))
	require.NoError(t, err)
	db := client.Database(fmt.Sprintf("wildcat_test_%016x", rand.Uint64()))
	t.Cleanup(func() {
		require.NoError(t, db.Drop(context.Background()))
		require.NoError(t, client.Disconnect(context.Background()))
	})
	return db, l
}

// container opens the database, with a clock that the test sets.
func container(t *testing.T, db *driver.Database, now *time.Time) *Container {
	t.Helper()
	deps := Deps{}
	if now != nil {
		deps.Now = func() time.Time { return *now }
	}
	c, err := Open(t.Context(), db, deps)
	require.NoError(t, err)
	return c
}

func jid() types.JID {
	return types.JID{User: "15550001", Device: 4, Server: types.DefaultUserServer}
}

func pair(t *testing.T, c *Container, o Owner) (*store.Device, *Stores) {
	t.Helper()
	dev, id := c.New(o), jid()
	dev.ID, dev.Account = &id, &waAdv.ADVSignedDeviceIdentity{}
	require.NoError(t, dev.Save(t.Context()))
	return dev, dev.Sessions.(*Stores)
}

func TestAnAnswerThatIsLostChangesNothing(t *testing.T) {
	db, l := database(t)
	c := container(t, db, nil)
	l.arm(1)
	dev, s := pair(t, c, Owner{Account: "a", Epoch: 2})
	require.Zero(t, l.left())
	for name, call := range map[string]func(ctx context.Context) error{
		"PutSession": func(ctx context.Context) error { return s.PutSession(ctx, "1:0", []byte("1")) },
		"DoDecryptionTxn": func(ctx context.Context) error {
			return s.DoDecryptionTxn(ctx, func(ctx context.Context) error {
				return errors.Join(s.PutSession(ctx, "1:0", []byte("2")), s.PutBufferedEvent(ctx, [32]byte{1}, []byte("hello"), time.Now()))
			})
		},
		"PutMessageSecret": func(ctx context.Context) error { return s.PutMessageSecret(ctx, jid(), jid(), "1", []byte("s")) },
		"GetOrGenPreKeys":  func(ctx context.Context) error { _, err := s.GetOrGenPreKeys(ctx, 3); return err },
		"MigratePNToLID": func(ctx context.Context) error {
			if err := s.PutSession(ctx, "5:0", []byte("5")); err != nil {
				return err
			}
			l.arm(1)
			return s.MigratePNToLID(ctx, types.NewJID("5", types.DefaultUserServer), types.NewJID("95", types.HiddenUserServer))
		},
		"PutLIDMapping": func(ctx context.Context) error {
			return c.lids.PutLIDMapping(ctx, types.NewJID("91", types.HiddenUserServer), types.NewJID("1", types.DefaultUserServer))
		},
		"PutDevice": dev.Save,
	} {
		l.arm(1)
		require.NoError(t, call(t.Context()), name)
		require.Zero(t, l.left(), name)
	}
	again, err := c.Device(t.Context(), jid(), Owner{Epoch: 2})
	require.NoError(t, err)
	got, err := again.Sessions.GetManySessions(t.Context(), []string{"5:0", "95_1:0"})
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"5:0": nil, "95_1:0": []byte("5")}, got)
	secret, _, err := again.MsgSecrets.GetMessageSecret(t.Context(), jid(), jid(), "1")
	require.NoError(t, err)
	require.Equal(t, "s", string(secret))
	l.arm(1)
	require.NoError(t, again.Delete(t.Context()))
	gone, err := c.Device(t.Context(), jid(), Owner{Epoch: 2})
	require.NoError(t, err)
	require.Nil(t, gone)
}

// A write that a broken connection delivers after its repetition, and after the next
// one, must not turn a session back.
func TestAWriteThatArrivesLateChangesNothing(t *testing.T) {
	db, _ := database(t)
	c := container(t, db, nil)
	_, s := pair(t, c, Owner{Account: "a", Epoch: 2})
	late := s.session("1:0", []byte("1"))
	stamp := c.stamp(2)
	require.NoError(t, s.PutSession(t.Context(), "1:0", []byte("2")))
	at, err := s.run(t.Context(), []driver.WriteModel{s.fence.check(), late.model(stamp, c.now())})
	require.NoError(t, err)
	require.Equal(t, 1, at, "it is refused")
	removal := op{rec: record{ID: s.sessionID("1:0")}, how: gone}
	at, err = s.run(t.Context(), []driver.WriteModel{s.fence.check(), removal.model(stamp, c.now())})
	require.NoError(t, err)
	require.Equal(t, -1, at, "it matches nothing")
	rec, err := s.load(t.Context(), s.sessionID("1:0"))
	require.NoError(t, err)
	require.Equal(t, "2", string(rec.Value))
}

func TestWhatExpires(t *testing.T) {
	db, _ := database(t)
	now := time.Now()
	c := container(t, db, &now)
	_, s := pair(t, c, Owner{Account: "a"})
	require.NoError(t, s.PutBufferedEvent(t.Context(), [32]byte{1}, []byte("hello"), now))
	there := func() bool {
		ev, err := s.GetBufferedEvent(t.Context(), [32]byte{1})
		require.NoError(t, err)
		return ev != nil
	}
	require.NoError(t, s.DeleteOldBufferedHashes(t.Context()))
	require.True(t, there())
	now = now.Add(14*24*time.Hour - time.Minute)
	require.NoError(t, s.DeleteOldBufferedHashes(t.Context()))
	require.True(t, there(), "WhatsApp may still hand the message over")
	now = now.Add(2 * time.Minute)
	require.False(t, there())
	require.NoError(t, s.DeleteOldBufferedHashes(t.Context()))
	n, err := db.Collection("auth_a").CountDocuments(t.Context(), bson.D{{Key: "_id", Value: s.eventID([32]byte{1})}})
	require.NoError(t, err)
	require.Zero(t, n)

	indexes, err := db.Collection("auth_a").Indexes().ListSpecifications(t.Context())
	require.NoError(t, err)
	var after *int32
	for _, i := range indexes {
		if i.Name == "expires" {
			after = i.ExpireAfterSeconds
		}
	}
	require.NotNil(t, after, "the server deletes them by itself")
	require.Zero(t, *after)
}

func TestTwoHubsShareTheLIDs(t *testing.T) {
	db, _ := database(t)
	now := time.Now()
	one, two := container(t, db, &now).lids, container(t, db, &now).lids
	pn := types.NewJID("1", types.DefaultUserServer)
	lid := func(s string) types.JID { return types.NewJID(s, types.HiddenUserServer) }
	got, err := two.GetLIDForPN(t.Context(), pn)
	require.NoError(t, err)
	require.True(t, got.IsEmpty())
	require.NoError(t, one.PutLIDMapping(t.Context(), lid("91"), pn))
	now = now.Add(keepUnknown + time.Second)
	got, err = two.GetLIDForPN(t.Context(), pn)
	require.NoError(t, err)
	require.Equal(t, lid("91"), got, "that there is none is not believed for long")

	// Both change the same numbers at once; each number ends with one LID.
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	for i, m := range []*lidMap{one, two} {
		wg.Go(func() {
			var all []store.LIDMapping
			for n := range 5 {
				all = append(all, store.LIDMapping{PN: types.NewJID(fmt.Sprint(n), types.DefaultUserServer), LID: lid(fmt.Sprint(900+10*i, n))})
			}
			errs <- m.PutManyLIDMappings(t.Context(), all)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(<-errs, <-errs))
	count, err := db.Collection(collLIDs).CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	require.EqualValues(t, 5, count)
}

func TestADeviceIsDeletedFromWhereItWasPaired(t *testing.T) {
	db, _ := database(t)
	c := container(t, db, nil)
	_, s := pair(t, c, Owner{Account: "a", Collection: "first", Epoch: 1})
	require.NoError(t, s.PutSession(t.Context(), "1:0", []byte("1")))
	// Its account names another collection by now: the keys stay where they are.
	dev, err := c.Device(t.Context(), jid(), Owner{Account: "a", Collection: "second", Epoch: 2})
	require.NoError(t, err)
	got, err := dev.Sessions.GetSession(t.Context(), "1:0")
	require.NoError(t, err)
	require.Equal(t, "1", string(got))
	// Paired anew, it moves, and leaves nothing but the fence.
	pair(t, c, Owner{Account: "a", Collection: "second", Epoch: 3})
	count, err := db.Collection("first").CountDocuments(t.Context(), bson.D{{Key: "_id", Value: within(jid().String(), '/')}})
	require.NoError(t, err)
	require.Zero(t, count)
	require.ErrorIs(t, s.PutSession(t.Context(), "1:0", []byte("2")), ErrFenced)
	list, err := c.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []types.JID{jid()}, list)
}

func TestTheServerBeingAwayIsNoEndOfTheCall(t *testing.T) {
	db, _ := database(t)
	c := container(t, db, nil)
	_, s := pair(t, c, Owner{Account: "a"})
	require.NoError(t, db.Client().Ping(t.Context(), nil))
	client, err := driver.Connect(options.Client().ApplyURI("mongodb://127.0.0.1:1").SetServerSelectionTimeout(50 * time.Millisecond))
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Disconnect(context.Background())) }()
	s.coll = client.Database("x").Collection("y")
	err = s.PutSession(t.Context(), "1:0", []byte("1"))
	require.Error(t, err)
	require.NotErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.PutSession(ctx, "1:0", []byte("1")), context.DeadlineExceeded, "its own")
}
