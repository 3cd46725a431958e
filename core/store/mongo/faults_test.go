package mongo

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

// admin is a client of the test's own, past the engine and its monitor.
func admin(t *testing.T, uri string) *mongo.Client {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Disconnect(context.Background())) })
	return client
}

// isFake tells the fake server from a real one.
func isFake(t *testing.T, client *mongo.Client) bool {
	t.Helper()
	var info struct {
		Fake bool `bson:"fakemongo"`
	}
	require.NoError(t, client.Database("admin").RunCommand(t.Context(), doc(el("buildInfo", 1))).Decode(&info))
	return info.Fake
}

// fail makes the server fail inserts into a collection ("database.collection"), as mongod's fail
// points do; only the fake lets us. Other tests use the server meanwhile.
func fail(t *testing.T, client *mongo.Client, namespace string, times int, data ...bson.E) {
	t.Helper()
	if !isFake(t, client) {
		t.Skip("fail points are for the fake server: a real one has other clients")
	}
	data = append(data, el("failCommands", bson.A{"insert"}), el("namespace", namespace))
	set := func(mode any) {
		require.NoError(t, client.Database("admin").RunCommand(context.Background(),
			doc(el("configureFailPoint", "failCommand"), el("mode", mode), el("data", bson.D(data)))).Err())
	}
	set(doc(el("times", times)))
	t.Cleanup(func() { set("off") })
}

func TestErrorCodesHaveTheSeamsNames(t *testing.T) {
	uri := server(t)
	client := admin(t, uri)
	for _, tt := range []struct {
		name  string
		times int
		data  []bson.E
		want  error // nil: the call goes through
		fails bool
	}{
		{"the disk is full", 1, []bson.E{el("errorCode", 14031), el("errorMessage", "no space")}, store.ErrFull, true},
		{"the quota is used up", 1, []bson.E{el("errorCode", 8000), el("errorMessage", "you are over your space quota")}, store.ErrFull, true},
		{"another Atlas error", 1, []bson.E{el("errorCode", 8000), el("errorMessage", "bad auth")}, nil, true},
		{"the server steps down once", 1, []bson.E{el("errorCode", 10107)}, nil, false},
		{"the server shuts down for a moment", 2, []bson.E{el("errorCode", 11600)}, nil, false},
		{"the connection breaks before the command", 1, []bson.E{el("closeConnection", true)}, nil, false},
		{"there is no primary for long", 50, []bson.E{el("errorCode", 10107)}, store.ErrAway, true},
		{"not allowed", 1, []bson.E{el("errorCode", 13), el("errorMessage", "not authorized")}, nil, true},
		{"too few members have it, for a moment", 1, []bson.E{el("writeConcernError", doc(el("code", 64), el("errmsg", "waiting for replication timed out")))}, nil, false},
		{"too few members have it, for long", 50, []bson.E{el("writeConcernError", doc(el("code", 64), el("errmsg", "waiting for replication timed out")))}, store.ErrAway, true},
	} {
		for _, coll := range []string{collMessages, collEvents} {
			if coll == collEvents && tt.name == "too few members have it, for long" {
				continue // a reader with majority does not see the event; the fake's does, and takes it for stored
			}
			t.Run(tt.name+"/"+coll, func(t *testing.T) {
				name := database(t, uri)
				s := openStore(t, Config{URI: uri, Database: name}, Deps{})
				require.NoError(t, withEvent(t.Context(), s))
				fail(t, client, name+"."+coll, tt.times, tt.data...)
				a, err := s.AppendEvent(t.Context(), appendOf(2, "c"))
				if !tt.fails {
					require.NoError(t, err)
					require.Equal(t, store.Appended{ID: testEvent(2, "c").ID, Chat: "c", Seq: 2}, a)
					return
				}
				require.Error(t, err)
				for _, sentinel := range []error{store.ErrNotFound, store.ErrExists, store.ErrStale, store.ErrFull, store.ErrLocked, store.ErrNewer, store.ErrAway} {
					require.Equal(t, errors.Is(tt.want, sentinel), errors.Is(err, sentinel), "%v: %v", sentinel, err)
				}
			})
		}
	}
}

func TestANewerOrForeignDatabaseIsRefused(t *testing.T) {
	uri := server(t)
	client := admin(t, uri)
	name := database(t, uri)
	_, err := client.Database(name).Collection(collMeta).InsertOne(t.Context(), versionDoc{ID: "schema", Version: version + 1})
	require.NoError(t, err)
	_, err = Open(t.Context(), Config{URI: uri, Database: name}, Deps{})
	require.ErrorIs(t, err, store.ErrNewer)
	require.ErrorContains(t, err, fmt.Sprintf("the database has version %d, this program knows up to %d", version+1, version))

	// What the first Wildcat left has the same collections.
	for _, coll := range []string{collAccounts, collMessages, collWebhooks, "media.files"} {
		name = database(t, uri)
		_, err = client.Database(name).Collection(coll).InsertOne(t.Context(), doc(el("_id", "sales"), el("status", "connected")))
		require.NoError(t, err)
		_, err = Open(t.Context(), Config{URI: uri, Database: name}, Deps{})
		require.ErrorContains(t, err, "set database.name (DB_NAME) to another name, and take it over with `wildcat import-legacy`")
	}
}

func TestNoErrorShowsThePassword(t *testing.T) {
	for _, uri := range []string{
		"mongodb://user:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=100",
		"mongodb://user:hunter2@127.0.0.1:99999999/?serverSelectionTimeoutMS=100",
		"mongodb://user:hunter2@127.0.0.1:1/?authMechanism=nonsense&serverSelectionTimeoutMS=100",
		"mongodb://user:hunter2@/",
	} {
		start := time.Now()
		_, err := Open(t.Context(), Config{URI: uri, Database: "wildcat"}, Deps{})
		require.Error(t, err, uri)
		require.NotContains(t, err.Error(), "hunter2")
		require.Less(t, time.Since(start), callTimeout)
	}
}

func TestOpeningTwiceMakesNoIndexTwice(t *testing.T) {
	uri := server(t)
	name := database(t, uri)
	for range 2 {
		openStore(t, Config{URI: uri, Database: name}, Deps{})
	}
}

func TestAPredecessorsLeasesAreFreeAtOnce(t *testing.T) {
	uri := server(t)
	name := database(t, uri)
	first := openStore(t, Config{URI: uri, Database: name, Instance: "one"}, Deps{})
	mine, err := first.AcquireLease(t.Context(), "mine", "one", time.Hour)
	require.NoError(t, err)
	_, err = first.AcquireLease(t.Context(), "other", "two", time.Hour)
	require.NoError(t, err)
	next := openStore(t, Config{URI: uri, Database: name, Instance: "one"}, Deps{})
	again, err := next.AcquireLease(t.Context(), "mine", "one", time.Hour)
	require.NoError(t, err)
	require.Greater(t, again.Epoch, mine.Epoch)
	_, err = next.AcquireLease(t.Context(), "other", "one", time.Hour)
	require.ErrorIs(t, err, store.ErrStale)
}

// Between reading that a lease ran out and taking it, its owner may renew it.
func TestALeaseThatIsRenewedMeanwhileIsNotTaken(t *testing.T) {
	uri := server(t)
	now := noon()
	s := openStore(t, Config{URI: uri}, Deps{Now: func() time.Time { return now }})
	l, err := s.AcquireLease(t.Context(), "l", "one", time.Second)
	require.NoError(t, err)
	now = now.Add(time.Minute)
	was, err := findOne[leaseDoc](t.Context(), s, collLeases, byID("l"), options.FindOne())
	require.NoError(t, err)
	_, err = s.RenewLease(t.Context(), l, time.Minute)
	require.NoError(t, err)
	done, err := s.swap(t.Context(), collLeases, "l", was.Op, "x", leaseDoc{Name: "l", Owner: "two", Epoch: 2, Op: "x"})
	require.NoError(t, err)
	require.False(t, done)
}
