package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

type sendDoc struct {
	ID        string     `bson:"_id"`
	Account   string     `bson:"account"`
	Chat      string     `bson:"chat"`
	MessageID string     `bson:"messageId"`
	To        string     `bson:"to"`
	Payload   []byte     `bson:"payload"`
	Event     string     `bson:"event,omitempty"`
	Rule      string     `bson:"rule"`
	Index     int        `bson:"index"`
	Key       string     `bson:"key,omitempty"`
	KeyHash   string     `bson:"keyHash,omitempty"`
	Repeat    bool       `bson:"repeat"`
	State     string     `bson:"state"`
	Attempt   int        `bson:"attempt"`
	Epoch     int64      `bson:"epoch"`
	Reason    string     `bson:"reason"`
	SentAt    *time.Time `bson:"sentAt"`
	CreatedAt *time.Time `bson:"createdAt"`
	UpdatedAt *time.Time `bson:"updatedAt"`
	Pos       string     `bson:"pos"`
	// Op is the token of the call that moved it last.
	Op string `bson:"op,omitempty"`
}

// states of a send, in no order.
func sendStates() []string {
	return []string{
		string(store.SendQueued), string(store.SendSending), string(store.SendSent), string(store.SendFailed), string(store.SendUnknown),
	}
}

// known refuses a word that is no state.
func known[W ~string](word W, words []string) error {
	for _, w := range words {
		if w == string(word) {
			return nil
		}
	}
	return fmt.Errorf("%q is no state", string(word))
}

func (s *Store) newSendDoc(x *store.Send) (sendDoc, error) {
	state := x.State
	if state == "" {
		state = store.SendQueued
	}
	created := s.orNow(x.CreatedAt)
	updated := x.UpdatedAt
	if updated.IsZero() {
		updated = created
	}
	return sendDoc{
		ID: x.ID, Account: x.Account, Chat: clean(x.Chat), MessageID: x.WAID, To: clean(x.To), Payload: x.Payload,
		Event: x.EventID, Rule: clean(x.Rule), Index: x.Index, Key: clean(x.Key), KeyHash: x.KeyHash, Repeat: x.Repeat,
		State: string(state), Attempt: x.Attempt, Epoch: number(x.Epoch), Reason: clean(x.Reason),
		SentAt: stamp(x.SentAt), CreatedAt: stamp(created), UpdatedAt: stamp(updated),
	}, known(state, sendStates())
}

func (s *Store) sendOf(x *sendDoc) store.Send {
	s.pos.seen(x.Pos)
	return store.Send{
		ID: x.ID, Account: x.Account, Chat: x.Chat, WAID: x.MessageID, To: x.To, Payload: x.Payload,
		EventID: x.Event, Rule: x.Rule, Index: x.Index, Key: x.Key, KeyHash: x.KeyHash, Repeat: x.Repeat,
		State: store.SendState(x.State), Attempt: x.Attempt, Epoch: unsigned(x.Epoch), Reason: x.Reason,
		SentAt: back(x.SentAt), CreatedAt: back(x.CreatedAt), UpdatedAt: back(x.UpdatedAt),
	}
}

// InsertSend implements store.Sends.
func (s *Store) InsertSend(ctx context.Context, snd store.Send) error {
	x, err := s.newSendDoc(&snd)
	if err == nil {
		x.Pos = s.pos.next()
		err = s.insertOnce(ctx, collSends, x.ID, "pos", x.Pos, &x)
	}
	if err != nil {
		return fmt.Errorf("insert send %s: %w", snd.ID, err)
	}
	return nil
}

// insertOnce inserts a document whose field holds a value that only this call has, or
// fails with store.ErrExists if its id or another key is there.
func (s *Store) insertOnce(ctx context.Context, coll, id, field, value string, x any) error {
	return s.do(ctx, func(ctx context.Context, again bool) error {
		_, err := s.coll(coll).InsertOne(ctx, x)
		if !mongo.IsDuplicateKeyError(err) {
			return err
		}
		if again { // it may be what the try before has stored
			err := s.coll(coll).FindOne(ctx, doc(el("_id", id), el(field, value))).Err()
			if !errors.Is(err, mongo.ErrNoDocuments) {
				return err
			}
		}
		return store.ErrExists
	})
}

func (s *Store) oneSend(ctx context.Context, filter bson.D) (store.Send, error) {
	x, err := findOne[sendDoc](ctx, s, collSends, filter, options.FindOne())
	if err != nil {
		return store.Send{}, err
	}
	return s.sendOf(&x), nil
}

// Send implements store.Sends.
func (s *Store) Send(ctx context.Context, id string) (store.Send, error) {
	out, err := s.oneSend(ctx, byID(id))
	if err != nil {
		return store.Send{}, fmt.Errorf("send %s: %w", id, err)
	}
	return out, nil
}

// SendByWAID implements store.Sends.
func (s *Store) SendByWAID(ctx context.Context, account, waID string) (store.Send, error) {
	out, err := s.oneSend(ctx, doc(el("account", account), el("messageId", waID)))
	if err != nil {
		return store.Send{}, fmt.Errorf("send with WhatsApp id %s: %w", waID, err)
	}
	return out, nil
}

// SendByKey implements store.Sends.
func (s *Store) SendByKey(ctx context.Context, account, key string) (store.Send, error) {
	err := store.ErrNotFound
	var out store.Send
	if key != "" {
		out, err = s.oneSend(ctx, doc(el("account", account), el("key", clean(key))))
	}
	if err != nil {
		return store.Send{}, fmt.Errorf("send by idempotency key: %w", err)
	}
	return out, nil
}

// MoveSend implements store.Sends: one round trip, unless the send is not as expected.
func (s *Store) MoveSend(ctx context.Context, m store.SendMove) (store.Send, error) {
	if err := known(m.To, sendStates()); err != nil {
		return store.Send{}, fmt.Errorf("move send %s: %w", m.ID, err)
	}
	out, err := s.moveSend(ctx, m)
	if err != nil {
		return store.Send{}, fmt.Errorf("move send %s to %s: %w", m.ID, m.To, err)
	}
	return out, nil
}

func (s *Store) moveSend(ctx context.Context, m store.SendMove) (store.Send, error) {
	op := s.pos.next()
	at := stamp(s.orNow(m.At))
	var out sendDoc
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		for _, way := range waysOf(m, at, op) {
			out = sendDoc{}
			err := s.coll(collSends).FindOneAndUpdate(ctx, way.filter, way.update,
				options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&out)
			if !errors.Is(err, mongo.ErrNoDocuments) {
				return err
			}
		}
		err := s.coll(collSends).FindOne(ctx, byID(m.ID)).Decode(&out)
		switch {
		case errors.Is(err, mongo.ErrNoDocuments):
			return store.ErrNotFound
		case err == nil && out.Op != op: // else a try before has done it
			return fmt.Errorf("%w: it is %s, attempt %d", store.ErrStale, out.State, out.Attempt)
		}
		return err
	})
	if err != nil {
		return store.Send{}, err
	}
	return s.sendOf(&out), nil
}

// waysOf is a move as the updates of which one applies.
func waysOf(m store.SendMove, at *time.Time, op string) []bulkUpdate {
	// The token keeps a repetition out: from sending to sending is a move, too.
	filter := doc(el("_id", m.ID), el("state", string(m.From)), el("epoch", doc(el("$lte", number(m.Epoch)))), el("op", doc(el("$ne", op))))
	fields := doc(el("state", string(m.To)), el("epoch", number(m.Epoch)), el("reason", clean(m.Reason)), el("updatedAt", at), el("op", op))
	if m.To == store.SendSent {
		fields = append(fields, el("sentAt", at))
	}
	count := doc(el("$set", fields))
	if m.Attempt != 0 {
		filter = append(filter, el("attempt", m.Attempt))
	}
	switch m.To {
	case store.SendSending:
		return []bulkUpdate{{filter, append(count, el("$inc", doc(el("attempt", 1))))}}
	case store.SendQueued: // it did not leave, and the count ends at 0
		above, zero := doc(el("attempt", doc(el("$gt", 0)))), doc(el("attempt", doc(el("$lte", 0))))
		both := func(more bson.D) bson.D { return doc(el("$and", bson.A{filter, more})) }
		return []bulkUpdate{
			{both(above), append(doc(count...), el("$inc", doc(el("attempt", -1))))},
			{both(zero), count},
		}
	}
	return []bulkUpdate{{filter, count}}
}

func (s *Store) sendsOf(rows []sendDoc) []store.Send {
	out := make([]store.Send, len(rows))
	for i := range rows {
		out[i] = s.sendOf(&rows[i])
	}
	return out
}

// ListSends implements store.Sends.
func (s *Store) ListSends(ctx context.Context, q store.SendQuery) ([]store.Send, error) {
	from, err := s.cursor(ctx, collSends, q.After)
	if err != nil {
		return nil, fmt.Errorf("list sends: %w", err)
	}
	filter := doc()
	if q.Account != "" {
		filter = append(filter, el("account", q.Account))
	}
	if q.State != "" {
		filter = append(filter, el("state", string(q.State)))
	} else { // named one by one, so that an index gives the order
		filter = append(filter, el("state", in(sendStates())))
	}
	filter = append(filter, el("pos", doc(el("$gt", from))))
	rows, err := findAll[sendDoc](ctx, s, collSends, filter, find().SetSort(doc(el("pos", 1))).SetLimit(limitOr(q.Limit)))
	if err != nil {
		return nil, fmt.Errorf("list sends: %w", err)
	}
	return s.sendsOf(rows), nil
}

// SendsOfEvent implements store.Sends.
func (s *Store) SendsOfEvent(ctx context.Context, eventID string) ([]store.Send, error) {
	if eventID == "" {
		return nil, nil
	}
	rows, err := findAll[sendDoc](ctx, s, collSends, doc(el("event", eventID)), find().SetSort(doc(el("rule", 1), el("index", 1))))
	if err != nil {
		return nil, fmt.Errorf("list sends of event %s: %w", eventID, err)
	}
	return s.sendsOf(rows), nil
}
