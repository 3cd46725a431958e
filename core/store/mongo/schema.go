package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

// version is the layout's number. A program that changes the layout raises it and
// brings older databases up to it here.
//
//	2: deliveries are fenced by the lease of their partition; before, by their account's
const version = 2

// errForeign is what a database gets that the first Wildcat wrote: its collections
// have the same names and other contents.
var errForeign = errors.New("it is no database of this program: if the first Wildcat, the Node service, wrote it, " +
	"set database.name (DB_NAME) to another name, and take it over with `wildcat import-legacy`")

type versionDoc struct {
	ID      string `bson:"_id"`
	Version int    `bson:"version"`
}

// checkVersion refuses a database that this program must not write, and marks a new one,
// unless it must be there already.
func (s *Store) checkVersion(ctx context.Context, cfg Config) error {
	return s.do(ctx, func(ctx context.Context, _ bool) error {
		var have versionDoc
		err := s.coll(collMeta).FindOne(ctx, byID("schema")).Decode(&have)
		switch {
		case errors.Is(err, mongo.ErrNoDocuments):
			return s.newVersion(ctx, cfg.Existing)
		case err != nil:
			return err
		case have.Version > version:
			return fmt.Errorf("%w: the database has version %d, this program knows up to %d; "+
				"run the newer program, or restore the backup made before the upgrade", store.ErrNewer, have.Version, version)
		case have.Version < version:
			return s.upgrade(ctx, have.Version, cfg.Instance)
		}
		return nil
	})
}

// upgrade brings an older database up to this version, while no hub runs on it.
func (s *Store) upgrade(ctx context.Context, from int, instance string) error {
	var held leaseDoc
	err := s.coll(collLeases).FindOne(ctx, doc(el("owner", doc(el("$gt", ""), el("$ne", instance))), el("until", doc(el("$gt", s.now()))))).Decode(&held)
	if err == nil {
		return fmt.Errorf("%w: hub %s, of an older version, runs on it or died a moment ago: stop all hubs, then start this one", store.ErrLocked, held.Owner)
	}
	if !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	// Epochs of accounts' leases would fence off those of the partitions' for ever.
	_, err = s.coll(collDeliveries).UpdateMany(ctx, doc(el("state", in(deliveryStates())), el("epoch", doc(el("$gt", 0)))), doc(set(el("epoch", int64(0)))))
	if err != nil {
		return fmt.Errorf("upgrade deliveries: %w", err)
	}
	_, err = s.coll(collMeta).UpdateOne(ctx, doc(el("_id", "schema"), el("version", from)), doc(set(el("version", version))))
	if err != nil {
		return fmt.Errorf("upgrade version: %w", err)
	}
	s.log.Info("database is upgraded", "from", from, "to", version)
	return nil
}

// newVersion is for a database without a version.
func (s *Store) newVersion(ctx context.Context, existing bool) error {
	for _, coll := range []string{collAccounts, collMessages, collWebhooks, s.media.files()} {
		err := s.coll(coll).FindOne(ctx, doc(), options.FindOne().SetSort(doc(el("_id", 1)))).Err()
		switch {
		case err == nil:
			return s.foreign(ctx)
		case !errors.Is(err, mongo.ErrNoDocuments):
			return err
		}
	}
	if existing {
		return ErrAbsent
	}
	_, err := s.coll(collMeta).InsertOne(ctx, versionDoc{ID: "schema", Version: version})
	if mongo.IsDuplicateKeyError(err) {
		return nil // another hub was first
	}
	return err
}

// foreign is errForeign, unless another hub has marked the database just now.
func (s *Store) foreign(ctx context.Context) error {
	err := s.coll(collMeta).FindOne(ctx, byID("schema")).Err()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return errForeign
	}
	return err
}

// index is one index of a collection.
type index struct {
	coll string
	name string
	keys []string // ascending
	// unique, partial (a filter that a document must match to be in the index) and ttl
	// (documents go once the key's time has passed) are as MongoDB has them.
	unique  bool
	partial bson.D
	ttl     bool
}

func exists(field string) bson.D { return doc(el(field, doc(el("$exists", true)))) }

// indexes are all that there are besides those on _id. No two of a collection have the
// same keys: servers before 5.0 take them for one. docs/operations.md says what each
// serves, and queries_test.go that each query has one.
func indexes() []index {
	return []index{
		{coll: collChats, name: "chat", keys: []string{"chat"}},
		{coll: collAliases, name: "root", keys: []string{"account", "root", "pos"}},

		{coll: collEvents, name: "seq", keys: []string{"account", "chat", "seq"}, unique: true},
		{coll: collEvents, name: "open", keys: []string{"open", "seq"}, partial: exists("open")},
		{coll: collEvents, name: "account", keys: []string{"account", "pos"}},
		{coll: collEvents, name: "pos", keys: []string{"pos"}},

		{coll: collMessages, name: "id", keys: []string{"account", "messageId", "time", "pos"}},
		{coll: collMessages, name: "chat", keys: []string{"account", "chat", "time", "pos"}},
		{coll: collMessages, name: "account", keys: []string{"account", "time", "pos"}},
		{coll: collMessages, name: "time", keys: []string{"time", "pos"}},

		{coll: collSends, name: "id", keys: []string{"account", "messageId"}, unique: true},
		{coll: collSends, name: "key", keys: []string{"account", "key"}, unique: true, partial: exists("key")},
		{coll: collSends, name: "event", keys: []string{"event", "rule", "index"}, partial: exists("event")},
		{coll: collSends, name: "account", keys: []string{"account", "state", "pos"}},
		{coll: collSends, name: "state", keys: []string{"state", "pos"}},

		{coll: collDeliveries, name: "lane", keys: []string{"endpoint", "lane", "seq"}},
		{
			coll: collDeliveries, name: "partition", keys: []string{"endpoint", "state", "partition", "lane", "seq"},
			partial: doc(el("state", string(store.DeliveryQueued))),
		},
		{coll: collDeliveries, name: "endpoint", keys: []string{"endpoint", "state", "pos"}},
		{coll: collDeliveries, name: "state", keys: []string{"state", "pos"}},
		{coll: collDeliveries, name: "event", keys: []string{"event", "pos"}},
		{coll: collDeliveries, name: "account", keys: []string{"account"}},

		{coll: collWebhooks, name: "url", keys: []string{"url", "accountId"}, unique: true},
		{coll: collKV, name: "expires", keys: []string{"expires"}, ttl: true},
		{coll: collLeases, name: "owner", keys: []string{"owner"}},
		{coll: collUploads, name: "touched", keys: []string{"touchedAt"}},

		{coll: "media.files", name: "id", keys: []string{"metadata.id"}, unique: true, partial: exists("metadata.id")},
		{coll: "media.files", name: "filename", keys: []string{"filename", "uploadDate"}},
		{coll: "media.files", name: "account", keys: []string{"metadata.account", "uploadDate", "_id"}},
		{coll: "media.files", name: "date", keys: []string{"uploadDate", "_id"}},
		{coll: "media.files", name: "meta", keys: []string{"metadata.meta", "uploadDate", "_id"}},
		{coll: "media.chunks", name: "files_id_1_n_1", keys: []string{"files_id", "n"}, unique: true},
		{coll: "bodies.files", name: "id", keys: []string{"metadata.id"}, unique: true, partial: exists("metadata.id")},
		{coll: "bodies.files", name: "account", keys: []string{"metadata.account"}},
		{coll: "bodies.chunks", name: "files_id_1_n_1", keys: []string{"files_id", "n"}, unique: true},
	}
}

// model is the index as the driver has it.
func (i index) model() mongo.IndexModel {
	keys := doc()
	for _, k := range i.keys {
		keys = append(keys, el(k, 1))
	}
	opts := options.Index().SetName(i.name)
	if i.unique {
		opts.SetUnique(true)
	}
	if i.partial != nil {
		opts.SetPartialFilterExpression(i.partial)
	}
	if i.ttl {
		opts.SetExpireAfterSeconds(0)
	}
	return mongo.IndexModel{Keys: keys, Options: opts}
}

// ensureIndexes makes what is missing; on a large database that takes its time, so the
// only limit is the caller's.
func (s *Store) ensureIndexes(ctx context.Context) error {
	models := map[string][]mongo.IndexModel{}
	var order []string
	for _, i := range indexes() {
		if models[i.coll] == nil {
			order = append(order, i.coll)
		}
		models[i.coll] = append(models[i.coll], i.model())
	}
	for _, coll := range order {
		if _, err := s.coll(coll).Indexes().CreateMany(ctx, models[coll]); err != nil {
			return fmt.Errorf("make indexes of %s: %w", coll, mapError(err))
		}
	}
	return nil
}
