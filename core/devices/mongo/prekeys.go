package mongo

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"go.mau.fi/whatsmeow/util/keys"
)

// maxPreKey is the highest id that fits the three bytes it has on the wire.
const maxPreKey = 1<<24 - 1

// nextPreKeys gives out n ids that were never given out before, and returns the first.
// The counter only grows: an id that was used up must not come again with another key.
func (s *Stores) nextPreKeys(ctx context.Context, n uint32) (uint64, error) {
	var c record
	err := do(ctx, func(ctx context.Context) error {
		return s.coll.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: path(s.jid, "counter")}},
			bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: int64(n)}}}},
			options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&c)
	})
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = ErrFenced // the device was deleted
	}
	if err != nil {
		return 0, fmt.Errorf("number prekeys of %s: %w", s.jid, err)
	}
	return uint64(c.Number) - uint64(n) + 1, nil //nolint:gosec // the counter is positive
}

// genPreKeys makes and stores n prekeys with ascending ids.
func (s *Stores) genPreKeys(ctx context.Context, n uint32, uploaded int64) ([]*keys.PreKey, error) {
	from, err := s.nextPreKeys(ctx, n)
	if err != nil {
		return nil, err
	}
	out, ops := make([]*keys.PreKey, n), make([]op, n)
	for i := range out {
		id := uint32((from+uint64(i)-1)%maxPreKey + 1) //nolint:gosec // at most maxPreKey
		out[i] = keys.NewPreKey(id)
		ops[i] = op{rec: record{ID: s.preKeyID(id), Value: out[i].Priv[:], Number: uploaded}, rank: middle}
	}
	return out, s.write(ctx, ops...)
}

// GenOnePreKey implements store.PreKeyStore. It counts as uploaded.
func (s *Stores) GenOnePreKey(ctx context.Context) (*keys.PreKey, error) {
	if err := s.preKeys.take(ctx); err != nil {
		return nil, err
	}
	defer s.preKeys.give()
	made, err := s.genPreKeys(ctx, 1, 1)
	if err != nil {
		return nil, err
	}
	return made[0], nil
}

// allPreKeys matches all of the device's prekeys.
func (s *Stores) allPreKeys() bson.E {
	return bson.E{Key: "_id", Value: within(path(s.jid, "prekey"), '/')}
}

// GetOrGenPreKeys implements store.PreKeyStore: those that were not uploaded yet, and
// new ones up to count, by ascending ids.
func (s *Stores) GetOrGenPreKeys(ctx context.Context, count uint32) ([]*keys.PreKey, error) {
	if count == 0 {
		return nil, nil
	}
	if err := s.preKeys.take(ctx); err != nil {
		return nil, err
	}
	defer s.preKeys.give()
	// gone is asked for as a value, and not by $ne, so that the number can be limited.
	found, err := find[record](ctx, s.coll, bson.D{s.allPreKeys(), {Key: "n", Value: nil}, {Key: "gone", Value: nil}},
		options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(count)))
	if err != nil {
		return nil, err
	}
	out := make([]*keys.PreKey, 0, count)
	for i := range found {
		key, err := s.preKey(&found[i])
		if err != nil {
			return nil, err
		}
		out = append(out, key)
	}
	if missing := int(count) - len(out); missing > 0 {
		made, err := s.genPreKeys(ctx, uint32(missing), 0) //nolint:gosec // at most count
		if err != nil {
			return nil, err
		}
		out = append(out, made...)
	}
	return out, nil
}

func (s *Stores) preKey(rec *record) (*keys.PreKey, error) {
	digits := rec.ID[len(path(s.jid, "prekey"))+1:]
	id, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("prekey %q: %w", digits, err)
	}
	if len(rec.Value) != 32 {
		return nil, errLength
	}
	return &keys.PreKey{KeyPair: *keys.NewKeyPairFromPrivateKey([32]byte(rec.Value)), KeyID: uint32(id)}, nil
}

// GetPreKey implements store.PreKeyStore.
func (s *Stores) GetPreKey(ctx context.Context, id uint32) (*keys.PreKey, error) {
	rec, err := s.get(ctx, s.preKeyID(id))
	if err != nil || rec == nil {
		return nil, err
	}
	return s.preKey(rec)
}

// RemovePreKey implements store.PreKeyStore. In a decryption it is the last of all
// writes: the message that used it up can be decrypted again until all else is stored.
func (s *Stores) RemovePreKey(ctx context.Context, id uint32) error {
	return s.write(ctx, op{rec: record{ID: s.preKeyID(id)}, how: gone, rank: last})
}

// MarkPreKeysAsUploaded implements store.PreKeyStore: all up to this id.
func (s *Stores) MarkPreKeysAsUploaded(ctx context.Context, upTo uint32) error {
	upper := bson.E{Key: "_id", Value: bson.D{{Key: "$gte", Value: path(s.jid, "prekey") + "/"}, {Key: "$lte", Value: s.preKeyID(upTo)}}}
	return s.commitDevice(ctx, func(stamp string) mongo.WriteModel {
		return mongo.NewUpdateManyModel().SetFilter(bson.D{upper, {Key: "s", Value: bson.D{{Key: "$lte", Value: stamp}}}}).
			SetUpdate(bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: int64(1)}, {Key: "s", Value: stamp}}}})
	})
}

// UploadedPreKeyCount implements store.PreKeyStore.
func (s *Stores) UploadedPreKeyCount(ctx context.Context) (int, error) {
	found, err := find[record](ctx, s.coll, bson.D{s.allPreKeys(), {Key: "n", Value: int64(1)}, {Key: "gone", Value: nil}},
		options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	return len(found), err
}
