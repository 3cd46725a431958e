package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// op is one change of one document.
type op struct {
	rec  record // how the document is to be; of a change that is none but put or keep, only the id
	how  how
	rank rank
}

type how int

const (
	put   how = iota // the document is this from now on
	keep             // it is this, if there was none
	gone             // it is deleted
	blank            // it loses its value
)

// rank orders the changes of a unit.
type rank int

const (
	first  rank = iota // the plaintext
	middle             // sessions, identities, sender keys, and all else
	last               // the removal of a prekey
)

// maxBulk bounds the writes of one command.
const maxBulk = 1000

// errCut is how a bulk fails that a test cuts.
var errCut = errors.New("bulk was cut")

// write makes the changes durable, or adds them to the unit that ctx carries.
func (s *Stores) write(ctx context.Context, ops ...op) error {
	if u := s.unitOf(ctx); u != nil {
		u.add(ops)
		return nil
	}
	return s.commit(ctx, ops)
}

// commit makes the changes, in their order. One command is under way at a time, so that
// stamps reach the server in their order.
func (s *Stores) commit(ctx context.Context, ops []op) error {
	if len(ops) == 0 {
		return nil
	}
	if err := s.writing.take(ctx); err != nil {
		return err
	}
	defer s.writing.give()
	for len(ops) > 0 {
		n := min(len(ops), maxBulk)
		if err := s.bulk(ctx, ops[:n]); err != nil {
			for _, o := range ops {
				s.cache.drop(o.rec.ID)
			}
			return err
		}
		for _, o := range ops[:n] {
			s.remember(o)
		}
		ops = ops[n:]
	}
	return nil
}

func (s *Stores) remember(o op) {
	switch {
	case !remembered(o.rec.ID):
	case o.how == put:
		s.cache.written(o.rec.ID, &o.rec)
	case o.how == gone:
		s.cache.written(o.rec.ID, nil)
	default:
		s.cache.drop(o.rec.ID)
	}
}

// bulk makes the changes in one command, behind the fence.
func (s *Stores) bulk(ctx context.Context, ops []op) error {
	cut := s.c.cut(len(ops))
	if cut >= 0 && cut < len(ops) {
		ops = ops[:cut]
	}
	stamp, now := s.c.stamp(s.fence.Epoch), s.c.now()
	for {
		models := []mongo.WriteModel{s.fence.check()}
		for i := range ops {
			models = append(models, ops[i].model(stamp, now))
		}
		at, err := s.run(ctx, models)
		if err != nil {
			return err
		}
		if at < 0 {
			break
		}
		if at == 0 || ops[at-1].how != keep {
			return fmt.Errorf("write keys of %s: %w", s.jid, ErrFenced)
		}
		ops = ops[at:] // it is kept; the command has stopped there
	}
	if cut >= 0 {
		return errCut
	}
	return nil
}

// run makes one command, and returns the index of what ran into a duplicate key, or -1.
func (s *Stores) run(ctx context.Context, models []mongo.WriteModel) (at int, err error) {
	at = -1
	err = do(ctx, func(ctx context.Context) error {
		_, err := s.coll.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(true))
		var bulk mongo.BulkWriteException
		if errors.As(err, &bulk) && bulk.WriteConcernError == nil && len(bulk.WriteErrors) == 1 &&
			mongo.IsDuplicateKeyError(bulk.WriteErrors[0].WriteError) {
			at = bulk.WriteErrors[0].Index
			return nil
		}
		at = -1
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("write keys of %s: %w", s.jid, err)
	}
	return at, nil
}

// model is the change as the driver has it. None does anything to a document with a
// later stamp; those that insert fail then.
func (o *op) model(stamp string, now time.Time) mongo.WriteModel {
	o.rec.Stamp = stamp
	older := bson.D{{Key: "_id", Value: o.rec.ID}, {Key: "s", Value: bson.D{{Key: "$lte", Value: stamp}}}}
	change := bson.D{{Key: "s", Value: stamp}, {Key: "v", Value: nil}}
	switch o.how {
	case keep:
		// Nothing matches, so that it inserts or fails.
		none := bson.D{{Key: "_id", Value: o.rec.ID}, {Key: "s", Value: ""}}
		return mongo.NewReplaceOneModel().SetFilter(none).SetReplacement(o.rec).SetUpsert(true)
	case gone:
		change = append(change, bson.E{Key: "gone", Value: true}, bson.E{Key: "expires", Value: now})
	case blank:
	default:
		return mongo.NewReplaceOneModel().SetFilter(older).SetReplacement(o.rec).SetUpsert(true)
	}
	return mongo.NewUpdateOneModel().SetFilter(older).SetUpdate(bson.D{{Key: "$set", Value: change}})
}

// fence is who may write a device's keys; see the package's comment.
type fence struct {
	ID      string     `bson:"_id"`
	Epoch   uint64     `bson:"e"`
	Gone    bool       `bson:"gone,omitempty"`
	Expires *time.Time `bson:"expires,omitempty"`
}

// noEpoch is above every epoch: the fence of a device that was deleted.
const noEpoch = 1<<63 - 1

// goneFor is how long a deleted device's fence keeps a hub out that was stopped before.
const goneFor = 90 * 24 * time.Hour

func (f fence) replaced(filter bson.E) *mongo.ReplaceOneModel {
	return mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: f.ID}, filter}).SetReplacement(f).SetUpsert(true)
}

// check is a duplicate key if another epoch has the device.
func (f fence) check() *mongo.ReplaceOneModel { return f.replaced(bson.E{Key: "e", Value: f.Epoch}) }

// raise is a duplicate key if a later epoch has it.
func (f fence) raise() *mongo.ReplaceOneModel {
	return f.replaced(bson.E{Key: "e", Value: bson.D{{Key: "$lte", Value: f.Epoch}}})
}

// revive is a duplicate key if there is a fence, unless it is of a deleted device.
func (f fence) revive() *mongo.ReplaceOneModel { return f.replaced(bson.E{Key: "gone", Value: true}) }
