package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

func find() *options.FindOptionsBuilder { return options.Find() }

// findAll reads all documents that a filter selects.
func findAll[T any](ctx context.Context, s *Store, coll string, filter bson.D, opts *options.FindOptionsBuilder) ([]T, error) {
	var out []T
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		out = nil
		cursor, err := s.coll(coll).Find(ctx, filter, opts)
		if err != nil {
			return err
		}
		return cursor.All(ctx, &out)
	})
	return out, err
}

// findOne reads one document, or fails with store.ErrNotFound.
func findOne[T any](ctx context.Context, s *Store, coll string, filter bson.D, opts *options.FindOneOptionsBuilder) (T, error) {
	var out T
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		var fresh T
		err := s.coll(coll).FindOne(ctx, filter, opts).Decode(&fresh)
		out = fresh
		return err
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = store.ErrNotFound
	}
	return out, err
}

// aggregateAll runs a pipeline.
func aggregateAll[T any](ctx context.Context, s *Store, coll string, pipeline ...bson.D) ([]T, error) {
	var out []T
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		out = nil
		cursor, err := s.coll(coll).Aggregate(ctx, pipeline)
		if err != nil {
			return err
		}
		return cursor.All(ctx, &out)
	})
	return out, err
}

// bulkUpdate is an update of one document among many.
type bulkUpdate struct{ filter, update bson.D }

// updateAll applies updates, each on its own, and returns how many documents they found. They must bear
// to be repeated.
func (s *Store) updateAll(ctx context.Context, coll string, updates []bulkUpdate) (matched int64, err error) {
	models := make([]mongo.WriteModel, len(updates))
	for i, u := range updates {
		models[i] = mongo.NewUpdateOneModel().SetFilter(u.filter).SetUpdate(u.update)
	}
	err = s.do(ctx, func(ctx context.Context, _ bool) error {
		res, err := s.coll(coll).BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
		if err == nil {
			matched = res.MatchedCount
		}
		return err
	})
	return matched, err
}

// insertAll inserts documents, each on its own, and returns the indexes of those whose id or another
// unique key is there already; after a repetition that may be by this very call.
func (s *Store) insertAll(ctx context.Context, coll string, docs []any) (taken []int, err error) {
	err = s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(coll).InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
		taken, err = rejected(err)
		return err
	})
	return taken, err
}

// deleteAll removes what a filter selects, a piece at a time, so that no command takes long.
func (s *Store) deleteAll(ctx context.Context, coll string, filter bson.D) error {
	for {
		ids, err := findAll[idDoc](ctx, s, coll, filter, find().SetProjection(byKey()).SetLimit(deletePiece))
		if err != nil || len(ids) == 0 {
			return err
		}
		err = s.do(ctx, func(ctx context.Context, _ bool) error {
			_, err := s.coll(coll).DeleteMany(ctx, doc(el("_id", in(idsOf(ids)))))
			return err
		})
		if err != nil || len(ids) < deletePiece {
			return err
		}
	}
}

// deletePiece is how many documents are removed by one command.
const deletePiece = 1000

type idDoc struct {
	ID any `bson:"_id"`
}

func idsOf(docs []idDoc) []any {
	out := make([]any, len(docs))
	for i, x := range docs {
		out[i] = x.ID
	}
	return out
}

// byKey is the projection to the id alone.
func byKey() bson.D { return doc(el("_id", 1)) }
