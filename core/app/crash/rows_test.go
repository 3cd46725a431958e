package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/mongo"
)

// database is the story's own on a MongoDB server; the zero value is a file of the hub's.
type database struct{ uri, name string }

// newDatabase names a database of the story's own where the environment names a server.
func newDatabase(t *testing.T, uri string) database {
	if uri == "" {
		return database{}
	}
	d := database{uri: uri, name: fmt.Sprintf("wildcat_test_%016x", rand.Uint64())}
	t.Cleanup(func() {
		if err := mongo.Drop(context.Background(), d.uri, d.name); err != nil {
			t.Error(err)
		}
	})
	return d
}

// mongoURI is the server to tell stories on that need one; without it they are skipped, or fail
// if one has been promised.
func mongoURI(t *testing.T) string {
	for _, name := range []string{"WILDCAT_CRASH_DATABASE", "MONGODB_URI"} {
		if uri := os.Getenv(name); uri != "" {
			return uri
		}
	}
	if os.Getenv("REQUIRE_MONGO") != "" {
		t.Fatal("REQUIRE_MONGO is set and MONGODB_URI is not")
	}
	t.Skip("MONGODB_URI names no server that several hubs could share")
	return ""
}

// yaml is the part of the configuration that says where the hub stores.
func (d database) yaml() string {
	if d.uri == "" {
		return ""
	}
	return fmt.Sprintf("database: {uri: %q, name: %q}\n", d.uri, d.name)
}

// row is a document that bears an epoch, as far as that matters.
type row struct {
	written
	coll, id string
	lane     string // of events: which chat
	seq      int64
	// mark changes with each write.
	mark string
}

// rows reads all that was written under an epoch.
func (d database) rows(ctx context.Context) (all []row, err error) {
	client, err := driver.Connect(options.Client().ApplyURI(d.uri))
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	defer func() { err = errors.Join(err, client.Disconnect(context.WithoutCancel(ctx))) }()
	db := client.Database(d.name)
	for _, coll := range []string{"events", "sends", "deliveries"} {
		var docs []struct {
			ID        string    `bson:"_id"`
			Account   string    `bson:"account"`
			Chat      string    `bson:"chat"`
			Partition int       `bson:"partition"`
			Seq       int64     `bson:"seq"`
			Epoch     int64     `bson:"epoch"`
			Stage     int       `bson:"stage"`
			Pos       string    `bson:"pos"`
			Op        string    `bson:"op"`
			DoneAt    time.Time `bson:"doneAt"`
			UpdatedAt time.Time `bson:"updatedAt"`
		}
		if err := find(ctx, db, coll, bson.D{}, &docs); err != nil {
			return nil, err
		}
		for _, x := range docs {
			if coll == "deliveries" {
				x.Account = store.PartitionLease(x.Partition) // its lease stands behind the outcomes
			}
			at := latest(position(x.Pos, posDigits), position(x.Op, posDigits), x.DoneAt, x.UpdatedAt)
			all = append(all, row{
				coll: coll, id: x.ID, lane: x.Account + " " + x.Chat, seq: x.Seq,
				mark:    fmt.Sprintf("%d %d %s %d", x.Epoch, x.Stage, x.Op, at.UnixMilli()),
				written: written{account: x.Account, epoch: uint64(x.Epoch), at: at, what: coll + " " + x.ID}, //nolint:gosec // never negative
			})
		}
	}
	keys, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("list collections: %w", err)
	}
	for _, coll := range keys {
		account, ok := strings.CutPrefix(coll, "auth_")
		if !ok {
			continue
		}
		var docs []struct {
			ID    string `bson:"_id"`
			Stamp string `bson:"s"`
		}
		if err := find(ctx, db, coll, bson.D{}, &docs); err != nil {
			return nil, err
		}
		for _, x := range docs {
			if len(x.Stamp) != 32 {
				continue
			}
			epoch, err := strconv.ParseUint(x.Stamp[:16], 16, 64)
			if err != nil {
				return nil, fmt.Errorf("%s %s: stamp: %w", coll, x.ID, err)
			}
			// The stamp is of the moment of writing, but only grows: it may be ahead a little.
			all = append(all, row{
				coll: coll, id: x.ID, mark: x.Stamp,
				written: written{account: account, epoch: epoch, at: position(x.Stamp[16:], 16), what: coll + " " + x.ID},
			})
		}
	}
	return all, nil
}

func find(ctx context.Context, db *driver.Database, coll string, filter bson.D, out any) error {
	cur, err := db.Collection(coll).Find(ctx, filter)
	if err == nil {
		err = cur.All(ctx, out)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", coll, err)
	}
	return nil
}

// accountState is what the record says of an account, whichever hub wrote it.
func (d database) accountState(ctx context.Context, id string) (state string, err error) {
	client, err := driver.Connect(options.Client().ApplyURI(d.uri))
	if err != nil {
		return "", fmt.Errorf("connect to database: %w", err)
	}
	defer func() { err = errors.Join(err, client.Disconnect(context.WithoutCancel(ctx))) }()
	var x struct {
		State string `bson:"state"`
	}
	err = client.Database(d.name).Collection("accounts").FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&x)
	if err != nil {
		return "", fmt.Errorf("read account: %w", err)
	}
	return x.State, nil
}

// posDigits is how many digits of a position are its time.
const posDigits = 14

// position is the time in the leading digits of a position: microseconds, in hex.
func position(pos string, digits int) time.Time {
	if len(pos) < digits {
		return time.Time{}
	}
	us, err := strconv.ParseInt(pos[:digits], 16, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}

// checkLeases checks what all processes believed against what is in the database.
func (w *world) checkLeases(ctx context.Context) error {
	rows, err := w.database.rows(ctx)
	read := time.Now()
	if err != nil {
		return err
	}
	all, err := checkTenures(w.lives(), w.lease)
	if err != nil {
		return err
	}
	var under []written
	for _, r := range rows {
		if r.epoch > 0 { // 0: not written under one, such as a delivery that was not tried yet
			under = append(under, r.written)
		}
	}
	if len(all) == 0 || len(under) == 0 {
		return fmt.Errorf("%d tenures and %d writes prove nothing", len(all), len(under))
	}
	if err := checkWrites(all, under, read); err != nil {
		return err
	}
	return checkChats(rows)
}

// checkChats: in each chat, no event was settled under an older epoch than the one before it.
func checkChats(rows []row) error {
	chats := map[string][]row{}
	for _, r := range rows {
		if r.coll == "events" {
			chats[r.lane] = append(chats[r.lane], r)
		}
	}
	for lane, list := range chats {
		slices.SortFunc(list, func(a, b row) int { return int(a.seq - b.seq) })
		for i := range list[1:] {
			if list[i+1].epoch < list[i].epoch {
				return fmt.Errorf("chat %s: event %d was written under epoch %d, event %d under %d",
					lane, list[i].seq, list[i].epoch, list[i+1].seq, list[i+1].epoch)
			}
		}
	}
	return nil
}
