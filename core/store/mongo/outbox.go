package mongo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// maxAttempts is how many attempts a delivery remembers.
	maxAttempts = 25
	// movePiece is how many deliveries MoveDeliveries changes in one write.
	movePiece = 1000
)

// FinishDeliveries implements store.Deliveries: one round trip, unless some are fenced off.
func (s *Store) FinishDeliveries(ctx context.Context, f []store.DeliveryFinish) ([]string, error) {
	var missed []string
	for len(f) > 0 {
		// A delivery that is named twice is finished twice, one after the other.
		n, seen := 0, map[string]bool{}
		for n < len(f) && !seen[f[n].ID] {
			seen[f[n].ID] = true
			n++
		}
		m, err := s.finish(ctx, f[:n])
		if err != nil {
			return nil, fmt.Errorf("finish deliveries: %w", err)
		}
		missed, f = append(missed, m...), f[n:]
	}
	return missed, nil
}

func (s *Store) finish(ctx context.Context, f []store.DeliveryFinish) ([]string, error) {
	op := s.pos.next()
	ids := make([]string, len(f))
	updates := make([]bulkUpdate, len(f))
	for i := range f {
		var err error
		ids[i] = f[i].ID
		if updates[i], err = s.finishOf(&f[i], op); err != nil {
			return nil, fmt.Errorf("delivery %s: %w", f[i].ID, err)
		}
	}
	matched, err := s.updateAll(ctx, collDeliveries, updates)
	if err != nil || int(matched) == len(f) {
		return nil, err
	}
	// Which ones? Those that do not bear this call's token, which those have, too, that
	// a try before found.
	rows, err := findAll[deliveryDoc](ctx, s, collDeliveries, doc(el("_id", in(ids))), find().SetProjection(doc(el("op", 1))))
	if err != nil {
		return nil, err
	}
	mine := map[string]bool{}
	for _, r := range rows {
		mine[r.ID] = r.Op == op
	}
	var missed []string
	for _, id := range ids {
		if !mine[id] {
			missed = append(missed, id)
		}
	}
	return missed, nil
}

// finishOf is an outcome as an update.
func (s *Store) finishOf(f *store.DeliveryFinish, op string) (bulkUpdate, error) {
	if err := known(f.State, deliveryStates()); err != nil {
		return bulkUpdate{}, err
	}
	fields := doc(el("state", string(f.State)), el("due", stamp(f.Due)), el("epoch", number(f.Epoch)), el("reason", clean(f.Reason)),
		el("updatedAt", stamp(s.orNow(f.At))), el("op", op))
	if f.Stepped { // for good
		fields = append(fields, el("stepped", true))
	}
	update := doc(el("$set", fields))
	if f.Counted {
		update = append(update, el("$inc", bson.D{el("attempt", 1)}))
	}
	if f.Record != nil {
		text, err := json.Marshal(f.Record)
		if err != nil {
			return bulkUpdate{}, fmt.Errorf("encode attempt: %w", err)
		}
		update = append(update, el("$push", bson.D{
			el("attempts", doc(el("$each", bson.A{string(text)}), el("$slice", -maxAttempts))),
		}))
	}
	return bulkUpdate{
		filter: doc(el("_id", f.ID), el("state", string(store.DeliveryQueued)), el("generation", f.Generation),
			el("attempt", f.Attempt), el("epoch", doc(el("$lte", number(f.Epoch)))), el("op", doc(el("$ne", op)))),
		update: update,
	}, nil
}

// RequeueDelivery implements store.Deliveries.
func (s *Store) RequeueDelivery(ctx context.Context, id string, due time.Time) (store.Delivery, error) {
	op := s.pos.next()
	update := doc(set(el("state", string(store.DeliveryQueued)), el("attempt", 0), el("due", stamp(due)), el("stepped", false),
		el("reason", ""), el("updatedAt", stamp(s.now())), el("op", op)), el("$inc", bson.D{el("generation", 1)}))
	var x deliveryDoc
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		x = deliveryDoc{}
		err := s.coll(collDeliveries).FindOneAndUpdate(ctx, doc(el("_id", id), el("state", doc(el("$ne", string(store.DeliveryQueued))))),
			update, options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&x)
		if !errors.Is(err, mongo.ErrNoDocuments) {
			return err
		}
		err = s.coll(collDeliveries).FindOne(ctx, byID(id)).Decode(&x)
		switch {
		case errors.Is(err, mongo.ErrNoDocuments):
			return store.ErrNotFound
		case err == nil && x.Op != op: // else a try before has done it
			return store.ErrStale
		}
		return err
	})
	var out store.Delivery
	if err == nil {
		out, err = s.deliveryOf(&x)
	}
	if err != nil {
		return store.Delivery{}, fmt.Errorf("requeue delivery %s: %w", id, err)
	}
	return out, nil
}

// MoveDeliveries implements store.Deliveries.
func (s *Store) MoveDeliveries(ctx context.Context, endpoint string, from, to store.DeliveryState, reason string, at time.Time) (int, error) {
	if from == to {
		return 0, fmt.Errorf("move deliveries from %s to %s: nothing to do", from, to)
	}
	for _, err := range []error{known(from, deliveryStates()), known(to, deliveryStates())} {
		if err != nil {
			return 0, fmt.Errorf("move deliveries: %w", err)
		}
	}
	when := stamp(s.orNow(at))
	fields := doc(el("state", string(to)), el("reason", clean(reason)), el("updatedAt", when))
	if to == store.DeliveryQueued {
		fields = append(fields, el("due", when))
	}
	moved := 0
	for {
		n, err := s.movePiece(ctx, endpoint, from, fields)
		moved += n
		if err != nil {
			return moved, fmt.Errorf("move deliveries of %s: %w", endpoint, err)
		}
		if n < movePiece {
			return moved, nil
		}
	}
}

// movePiece moves some. Its token counts also those that a try moved whose answer was lost.
func (s *Store) movePiece(ctx context.Context, endpoint string, from store.DeliveryState, fields bson.D) (int, error) {
	ids, err := findAll[idDoc](ctx, s, collDeliveries, doc(el("endpoint", endpoint), el("state", string(from))),
		find().SetProjection(byKey()).SetSort(doc(el("pos", 1))).SetLimit(movePiece))
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	op := s.pos.next()
	n := 0
	err = s.do(ctx, func(ctx context.Context, again bool) error {
		all := in(idsOf(ids))
		res, err := s.coll(collDeliveries).UpdateMany(ctx, doc(el("_id", all), el("state", string(from))),
			doc(el("$set", append(doc(fields...), el("op", op)))))
		if err != nil {
			return err
		}
		n = int(res.MatchedCount)
		if again {
			count, err := s.coll(collDeliveries).CountDocuments(ctx, doc(el("_id", all), el("op", op)))
			n = int(count)
			return err
		}
		return nil
	})
	if err == nil && n < len(ids) && len(ids) == movePiece {
		n = movePiece // others were faster with some: there may be more behind
	}
	return n, err
}
