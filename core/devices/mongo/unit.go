package mongo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"go.mau.fi/whatsmeow/store"
)

// unit collects the writes of a decryption.
type unit struct {
	mu   sync.Mutex
	ops  []op
	at   map[string]int // where in ops a document's change is
	lids []store.LIDMapping
}

// unitKey finds the unit of one device's stores in a context.
type unitKey struct{ s *Stores }

func (s *Stores) unitOf(ctx context.Context) *unit {
	u, _ := ctx.Value(unitKey{s}).(*unit)
	return u
}

// anyUnitKey finds the innermost unit, for what does not belong to one device.
type anyUnitKey struct{}

// DoDecryptionTxn implements store.EventBuffer: what fn writes with its context is made
// when it has returned nil, and seen by its own reads before.
func (s *Stores) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	if s.unitOf(ctx) != nil {
		return fn(ctx)
	}
	u := &unit{at: map[string]int{}}
	inner := context.WithValue(context.WithValue(ctx, unitKey{s}, u), anyUnitKey{}, u)
	if err := fn(inner); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := s.c.lids.putMany(ctx, u.lids); err != nil {
		return err
	}
	slices.SortStableFunc(u.ops, func(a, b op) int { return int(a.rank) - int(b.rank) })
	return s.commit(ctx, u.ops)
}

// add merges changes into the unit: each document is changed once.
func (u *unit) add(ops []op) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, o := range ops {
		i, there := u.at[o.rec.ID]
		switch {
		case !there:
			u.at[o.rec.ID] = len(u.ops)
			u.ops = append(u.ops, o)
		case o.how == keep && u.ops[i].how != gone:
		case o.how == blank && u.ops[i].how == put:
			u.ops[i].rec.Value = nil
		default:
			u.ops[i] = o
		}
	}
}

// get returns how the unit leaves a document, if it changes it.
func (u *unit) get(id string) (op, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	i, ok := u.at[id]
	if !ok {
		return op{}, false
	}
	return u.ops[i], true
}

// get reads a document: nil if there is none. What it returns must not be changed.
func (s *Stores) get(ctx context.Context, id string) (*record, error) {
	if err := ctx.Err(); err != nil { // what is remembered must not hide it
		return nil, err
	}
	var cleared bool
	if u := s.unitOf(ctx); u != nil {
		if o, ok := u.get(id); ok {
			switch o.how {
			case put, keep:
				return &o.rec, nil
			case gone:
				return nil, nil
			}
			cleared = true
		}
	}
	rec, known, mark := s.cache.get(id)
	if known {
		return rec, nil
	}
	rec, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	if remembered(id) {
		s.cache.fill(id, rec, mark)
	}
	if cleared && rec != nil {
		rec.Value = nil
	}
	return rec, nil
}

func (s *Stores) load(ctx context.Context, id string) (*record, error) {
	rec := &record{}
	err := do(ctx, func(ctx context.Context) error {
		return s.coll.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(rec)
	})
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read keys of %s: %w", s.jid, err)
	case rec.Gone:
		return nil, nil
	}
	return rec, nil
}

// getMany reads documents by id, those that are not remembered in one round trip.
func (s *Stores) getMany(ctx context.Context, ids []string) (map[string]*record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make(map[string]*record, len(ids))
	var missing []string
	marks := map[string]uint64{}
	u := s.unitOf(ctx)
	for _, id := range ids {
		if u != nil {
			if o, ok := u.get(id); ok {
				if o.how == put || o.how == keep {
					out[id] = &o.rec
				}
				continue
			}
		}
		if rec, known, mark := s.cache.get(id); !known {
			missing, marks[id] = append(missing, id), mark
		} else if rec != nil {
			out[id] = rec
		}
	}
	for part := range slices.Chunk(missing, maxBulk) {
		found, err := find[record](ctx, s.coll, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: part}}}}, nil)
		if err != nil {
			return nil, err
		}
		for i := range found {
			if !found[i].Gone {
				out[found[i].ID] = &found[i]
			}
		}
		for _, id := range part {
			if remembered(id) {
				s.cache.fill(id, out[id], marks[id])
			}
		}
	}
	return out, nil
}

// scan reads the documents whose id begins with prefix and goes on with sep, in the
// order of their ids.
func (s *Stores) scan(ctx context.Context, prefix string, sep byte) ([]record, error) {
	found, err := find[record](ctx, s.coll, bson.D{{Key: "_id", Value: within(prefix, sep)}},
		options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(r record) bool { return r.Gone })
	u := s.unitOf(ctx)
	if u == nil {
		return found, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, o := range u.ops {
		if !strings.HasPrefix(o.rec.ID, prefix+string(sep)) {
			continue
		}
		i, there := slices.BinarySearchFunc(found, o.rec.ID, func(r record, id string) int { return strings.Compare(r.ID, id) })
		switch {
		case o.how == put && there:
			found[i] = o.rec
		case (o.how == put || o.how == keep) && !there:
			found = slices.Insert(found, i, o.rec)
		case o.how == gone && there:
			found = slices.Delete(found, i, i+1)
		}
	}
	return found, nil
}

// removeAll deletes those of a scan that pick chooses.
func (s *Stores) removeAll(ctx context.Context, prefix string, sep byte, pick func(id string) bool) error {
	found, err := s.scan(ctx, prefix, sep)
	if err != nil {
		return err
	}
	var ops []op
	for _, r := range found {
		if pick(r.ID) {
			ops = append(ops, op{rec: record{ID: r.ID}, how: gone, rank: middle})
		}
	}
	return s.write(ctx, ops...)
}

// value is a copy of a record's value, which the caller may change; nil for no record.
func value(rec *record) []byte {
	if rec == nil {
		return nil
	}
	return bytes.Clone(rec.Value)
}
