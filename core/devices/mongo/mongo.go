package mongo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// ErrFenced says that the device has another owner by now, under a later lease, or was deleted.
// Nothing was written.
var ErrFenced = errors.New("the device's keys have another owner")

// Owner says on whose behalf a device is opened.
type Owner struct {
	// Account is the account's id, Collection the name it has chosen for its keys, if any.
	// Both matter when a device is paired; afterwards its keys stay where they are.
	Account, Collection string
	// Epoch is that of the account's lease. 0, for tools, takes the one that is stored.
	Epoch uint64
}

// Deps is what the program passes in. All of it may be nil.
type Deps struct {
	// Now is the clock.
	Now func() time.Time
	// Cut, in tests, is told the number of writes of each bulk and returns how many of
	// them are made before it fails; a negative number means all, without failure.
	Cut func(writes int) int
}

// Container is the keys of all devices in a database. Safe for concurrent use.
type Container struct {
	db   *mongo.Database
	now  func() time.Time
	cut  func(int) int
	lids *lidMap

	mu      sync.Mutex
	last    int64           // the newest stamp's time
	indexed map[string]bool // the collections that have their index
}

// The collections that all accounts share.
const (
	collDevices = "devices"
	collLIDs    = "lids"
)

// Open makes the indexes. The database's client stays the caller's, to be disconnected
// when all devices are retired.
func Open(ctx context.Context, db *mongo.Database, deps Deps) (*Container, error) {
	c := &Container{db: db, now: deps.Now, cut: deps.Cut, indexed: map[string]bool{}}
	if c.now == nil {
		c.now = time.Now
	}
	if c.cut == nil {
		c.cut = func(int) int { return -1 }
	}
	c.lids = newLIDMap(c)
	_, err := c.coll(collLIDs).Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "pn", Value: 1}}, Options: options.Index().SetName("pn").SetUnique(true),
	})
	if err != nil {
		return nil, fmt.Errorf("make index of %s: %w", collLIDs, err)
	}
	return c, nil
}

// coll is a collection whose writes survive the loss of a minority of servers.
func (c *Container) coll(name string) *mongo.Collection {
	journal := true
	return c.db.Collection(name, options.Collection().
		SetWriteConcern(&writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &journal}).
		SetReadConcern(readconcern.Majority()).
		SetReadPreference(readpref.Primary()))
}

// collectionOf names an account's collection. What the hub itself uses gets the prefix,
// too: a name may be anything that an operator once gave to the account.
func collectionOf(o Owner) string {
	name := o.Collection
	if name == "" {
		name = o.Account
	} else if !reserved(name) {
		return name
	}
	return "auth_" + name
}

func reserved(name string) bool {
	switch name {
	case "meta", "accounts", "chats", "aliases", "events", "messages", "sends", "deliveries", "endpoints",
		"webhooks", "kv", "leases", "uploads", collDevices, collLIDs:
		return true
	}
	for _, p := range []string{"media.", "bodies.", "system."} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// ensureIndex makes a collection's index for what expires, once in a process.
func (c *Container) ensureIndex(ctx context.Context, coll string) error {
	c.mu.Lock()
	done := c.indexed[coll]
	c.mu.Unlock()
	if done {
		return nil
	}
	_, err := c.coll(coll).Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys: bson.D{{Key: "expires", Value: 1}}, Options: options.Index().SetName("expires").SetExpireAfterSeconds(0),
	})
	if err != nil {
		return fmt.Errorf("make index of %s: %w", coll, err)
	}
	c.mu.Lock()
	c.indexed[coll] = true
	c.mu.Unlock()
	return nil
}

// stamp orders writes by epoch, and within one by time, strictly.
func (c *Container) stamp(epoch uint64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, c.now().UnixMicro())
	return fmt.Sprintf("%016x%016x", epoch, c.last)
}

// Front returns inner: it remembers all that it needs to by itself.
func (c *Container) Front(inner store.AllSessionSpecificStores, _ types.JID) store.AllSessionSpecificStores {
	return inner
}

// LIDMap is the map of phone numbers and LIDs, which all devices share.
func (c *Container) LIDMap() store.LIDStore { return c.lids }

// RenewLIDMap forgets what the map remembers, after a failure.
func (c *Container) RenewLIDMap() { c.lids.forget() }

// Close does nothing: the client is the caller's.
func (c *Container) Close() error { return nil }

// List returns the addresses of all devices.
func (c *Container) List(ctx context.Context) ([]types.JID, error) {
	placed, err := find[place](ctx, c.coll(collDevices), bson.D{}, nil)
	if err != nil {
		return nil, err
	}
	ids := map[string][]string{} // by collection
	for _, p := range placed {
		ids[p.Collection] = append(ids[p.Collection], deviceID(p.ID))
	}
	there := map[string]bool{}
	for coll, want := range ids {
		found, err := find[record](ctx, c.coll(coll), bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: want}}}},
			options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			there[r.ID] = true
		}
	}
	var out []types.JID
	for _, p := range placed {
		if !there[deviceID(p.ID)] {
			continue // a pairing or a removal that a crash cut off
		}
		jid, err := types.ParseJID(p.ID)
		if err != nil {
			return nil, fmt.Errorf("device %q: %w", p.ID, err)
		}
		out = append(out, jid)
	}
	return out, nil
}

// place says where a device's keys are.
type place struct {
	ID         string `bson:"_id"`
	Collection string `bson:"collection"`
	Account    string `bson:"account"`
}

// New makes a device that is not paired yet. Nothing is stored before it is saved.
func (c *Container) New(o Owner) *store.Device {
	return newDevice(&keeper{c: c, o: o}, waLog.Noop)
}
