package mongo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

type deliveryDoc struct {
	ID         string     `bson:"_id"`
	Event      string     `bson:"event"`
	Endpoint   string     `bson:"endpoint"`
	Account    string     `bson:"account"`
	Chat       string     `bson:"chat"`
	Lane       string     `bson:"lane"`
	Partition  int        `bson:"partition"`
	Seq        int64      `bson:"seq"`
	Prev       int64      `bson:"prev"`
	State      string     `bson:"state"`
	Generation int        `bson:"generation"`
	Attempt    int        `bson:"attempt"`
	Due        *time.Time `bson:"due"`
	Stepped    bool       `bson:"stepped"`
	Epoch      int64      `bson:"epoch"`
	Reason     string     `bson:"reason"`
	// Attempts are JSON texts: what a receiver answered need not be what BSON takes.
	Attempts  []string   `bson:"attempts,omitempty"`
	CreatedAt *time.Time `bson:"createdAt"`
	UpdatedAt *time.Time `bson:"updatedAt"`
	Pos       string     `bson:"pos"`
	// Op is the token of the call that wrote it last.
	Op string `bson:"op,omitempty"`
}

func deliveryStates() []string {
	return []string{
		string(store.DeliveryQueued), string(store.DeliveryOK), string(store.DeliveryDead),
		string(store.DeliveryParked), string(store.DeliveryCancelled),
	}
}

func (s *Store) newDeliveryDoc(x *store.Delivery) deliveryDoc {
	created := stamp(s.orNow(x.CreatedAt))
	return deliveryDoc{
		ID: x.ID, Event: x.EventID, Endpoint: x.Endpoint, Account: x.Account, Partition: x.Partition,
		State: string(store.DeliveryQueued), Generation: x.Generation, Attempt: x.Attempt, Due: stamp(x.Due),
		Stepped: x.Stepped, Reason: clean(x.Reason), CreatedAt: created, UpdatedAt: created,
	}
}

func (s *Store) deliveryOf(x *deliveryDoc) (store.Delivery, error) {
	s.pos.seen(x.Pos)
	out := store.Delivery{
		ID: x.ID, EventID: x.Event, Endpoint: x.Endpoint, Account: x.Account, Chat: x.Chat, Partition: x.Partition,
		Seq: unsigned(x.Seq), Prev: unsigned(x.Prev), State: store.DeliveryState(x.State), Generation: x.Generation,
		Attempt: x.Attempt, Due: back(x.Due), Stepped: x.Stepped, Epoch: unsigned(x.Epoch),
		Reason: x.Reason, CreatedAt: back(x.CreatedAt), UpdatedAt: back(x.UpdatedAt),
	}
	for _, text := range x.Attempts {
		var a store.Attempt
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			return out, fmt.Errorf("delivery %s: attempts: %w", x.ID, err)
		}
		out.Attempts = append(out.Attempts, a)
	}
	return out, nil
}

func (s *Store) deliveriesOf(rows []deliveryDoc, err error) ([]store.Delivery, error) {
	if err != nil {
		return nil, err
	}
	out := make([]store.Delivery, len(rows))
	for i := range rows {
		if out[i], err = s.deliveryOf(&rows[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// QueuedLanes implements store.Deliveries, in the order of account and chat.
func (s *Store) QueuedLanes(ctx context.Context, endpoint string, after store.LaneRef, limit int) ([]store.LaneRef, error) {
	from := ""
	if after != (store.LaneRef{}) {
		from = laneOf(after.Account, after.Chat)
	}
	lanes, err := aggregateAll[laneDoc](ctx, s, collDeliveries,
		doc(el("$match", doc(el("endpoint", endpoint), el("state", string(store.DeliveryQueued)), el("lane", doc(el("$gt", from)))))),
		doc(el("$group", doc(el("_id", "$lane")))),
		doc(el("$sort", doc(el("_id", 1)))),
		doc(el("$limit", limitOr(limit))))
	if err != nil {
		return nil, fmt.Errorf("list queued lanes: %w", err)
	}
	out := make([]store.LaneRef, len(lanes))
	for i, l := range lanes {
		ref := chatRef(l.Lane)
		out[i] = store.LaneRef{Endpoint: endpoint, Account: ref.Account, Chat: ref.Chat}
	}
	return out, nil
}

// QueuedLanesIn implements store.Deliveries, in the order of account and chat.
func (s *Store) QueuedLanesIn(ctx context.Context, endpoint string, partitions []int, after store.LaneRef, limit int) ([]store.LaneState, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	from := ""
	if after != (store.LaneRef{}) {
		from = laneOf(after.Account, after.Chat)
	}
	type state struct {
		Lane string `bson:"_id"`
		N    int    `bson:"n"`
		Last int64  `bson:"last"`
	}
	lanes, err := aggregateAll[state](ctx, s, collDeliveries,
		doc(el("$match", doc(el("endpoint", endpoint), el("state", string(store.DeliveryQueued)), el("partition", in(partitions)),
			el("lane", doc(el("$gt", from)))))),
		doc(el("$group", doc(el("_id", "$lane"), el("n", doc(el("$sum", 1))), el("last", doc(el("$max", "$seq")))))),
		doc(el("$sort", doc(el("_id", 1)))),
		doc(el("$limit", limitOr(limit))))
	if err != nil {
		return nil, fmt.Errorf("list queued lanes: %w", err)
	}
	out := make([]store.LaneState, len(lanes))
	for i, l := range lanes {
		ref := chatRef(l.Lane)
		out[i] = store.LaneState{
			LaneRef: store.LaneRef{Endpoint: endpoint, Account: ref.Account, Chat: ref.Chat}, Queued: l.N, Last: unsigned(l.Last),
		}
	}
	return out, nil
}

// LaneDeliveries implements store.Deliveries.
func (s *Store) LaneDeliveries(ctx context.Context, lane store.LaneRef, after uint64, limit int) ([]store.Delivery, error) {
	out, err := s.deliveriesOf(findAll[deliveryDoc](ctx, s, collDeliveries,
		doc(el("endpoint", lane.Endpoint), el("state", string(store.DeliveryQueued)),
			el("partition", store.Partition(store.ChatRef{Account: lane.Account, Chat: lane.Chat})), el("lane", laneOf(lane.Account, lane.Chat)), el("seq", doc(el("$gt", number(after))))),
		find().SetSort(doc(el("seq", 1))).SetLimit(limitOr(limit))))
	if err != nil {
		return nil, fmt.Errorf("list lane: %w", err)
	}
	return out, nil
}

// Delivery implements store.Deliveries.
func (s *Store) Delivery(ctx context.Context, id string) (store.Delivery, error) {
	x, err := findOne[deliveryDoc](ctx, s, collDeliveries, byID(id), options.FindOne())
	var out store.Delivery
	if err == nil {
		out, err = s.deliveryOf(&x)
	}
	if err != nil {
		return store.Delivery{}, fmt.Errorf("delivery %s: %w", id, err)
	}
	return out, nil
}

// ListDeliveries implements store.Deliveries.
func (s *Store) ListDeliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	filter := doc()
	if q.EventID != "" {
		filter = append(filter, el("event", q.EventID))
	}
	if q.Endpoint != "" {
		filter = append(filter, el("endpoint", q.Endpoint))
	}
	switch {
	case q.State != "":
		filter = append(filter, el("state", string(q.State)))
	case q.EventID == "": // named one by one, so that an index gives the order
		filter = append(filter, el("state", in(deliveryStates())))
	}
	if len(q.Accounts) > 0 {
		filter = append(filter, el("account", in(q.Accounts)))
	}
	if q.Before != "" {
		before, err := s.cursor(ctx, collDeliveries, q.Before)
		if err != nil {
			return nil, fmt.Errorf("list deliveries: %w", err)
		}
		filter = append(filter, el("pos", doc(el("$lt", before))))
	}
	out, err := s.deliveriesOf(findAll[deliveryDoc](ctx, s, collDeliveries, filter,
		find().SetSort(doc(el("pos", -1))).SetLimit(limitOr(q.Limit))))
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return out, nil
}

// CountDeliveries implements store.Deliveries.
func (s *Store) CountDeliveries(ctx context.Context, endpoint string) (map[store.DeliveryState]int, time.Time, error) {
	type count struct {
		State store.DeliveryState `bson:"_id"`
		N     int                 `bson:"n"`
	}
	rows, err := aggregateAll[count](ctx, s, collDeliveries, doc(el("$match", doc(el("endpoint", endpoint)))),
		doc(el("$group", doc(el("_id", "$state"), el("n", doc(el("$sum", 1)))))))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("count deliveries of %s: %w", endpoint, err)
	}
	counts := map[store.DeliveryState]int{}
	for _, r := range rows {
		counts[r.State] = r.N
	}
	if counts[store.DeliveryQueued] == 0 {
		return counts, time.Time{}, nil
	}
	oldest, err := findAll[deliveryDoc](ctx, s, collDeliveries, doc(el("endpoint", endpoint), el("state", string(store.DeliveryQueued))),
		find().SetSort(doc(el("pos", 1))).SetLimit(1).SetProjection(doc(el("createdAt", 1))))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("count deliveries of %s: %w", endpoint, err)
	}
	if len(oldest) == 0 {
		return counts, time.Time{}, nil
	}
	return counts, back(oldest[0].CreatedAt), nil
}

// WaitingEndpoints implements store.Deliveries. It steps through the index from endpoint to
// endpoint, so that it costs as much as there are endpoints, however much waits; the order is that
// index's, and so no other one is taken.
func (s *Store) WaitingEndpoints(ctx context.Context) ([]string, error) {
	waits := el("state", in([]store.DeliveryState{store.DeliveryQueued, store.DeliveryParked}))
	var out []string
	for after := ""; ; after = out[len(out)-1] {
		next, err := findAll[deliveryDoc](ctx, s, collDeliveries, doc(el("endpoint", doc(el("$gt", after))), waits),
			find().SetSort(doc(el("endpoint", 1), el("state", 1), el("pos", 1))).SetLimit(1).SetProjection(doc(el("endpoint", 1))))
		if err != nil {
			return nil, fmt.Errorf("list waiting endpoints: %w", err)
		}
		if len(next) == 0 {
			return out, nil
		}
		out = append(out, next[0].Endpoint)
	}
}
