package mongo

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

// maxMessages is the longest page.
const maxMessages = 500

// messageDoc is what messages are found and ordered by. The content is the event's, as
// long as Body is not set.
type messageDoc struct {
	ID        string     `bson:"_id"` // the event's
	Account   string     `bson:"account"`
	Chat      string     `bson:"chat"`
	MessageID string     `bson:"messageId"`
	Time      int64      `bson:"time"` // milliseconds since 1970
	Pos       string     `bson:"pos"`
	CreatedAt *time.Time `bson:"createdAt"`
	UpdatedAt *time.Time `bson:"updatedAt"`
	Body      string     `bson:"body,omitempty"`
}

// insertMessages writes the rows of message events, before the events: an event that is
// stored has its row. It returns those that were there, from a try that did not get as
// far as the event.
func (s *Store) insertMessages(ctx context.Context, ops []*appending) (map[*appending]bool, error) {
	var docs []any
	var of []*appending
	for _, op := range ops {
		if op.message != nil {
			docs, of = append(docs, op.message), append(of, op)
		}
	}
	if len(docs) == 0 {
		return nil, nil
	}
	taken, err := s.insertAll(ctx, collMessages, docs)
	if err != nil {
		return nil, err
	}
	there := map[*appending]bool{}
	for _, i := range taken {
		there[of[i]] = true
	}
	return there, nil
}

// correctMessages writes the rows again that an earlier try has left: their chat may
// have been merged since.
func (s *Store) correctMessages(ctx context.Context, stored []*appending, there map[*appending]bool) error {
	for _, op := range stored {
		if !there[op] {
			continue
		}
		err := s.do(ctx, func(ctx context.Context, _ bool) error {
			_, err := s.coll(collMessages).ReplaceOne(ctx, byID(op.message.ID), op.message, options.Replace().SetUpsert(true))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// withContent reads the content of messages.
func (s *Store) withContent(ctx context.Context, rows []messageDoc) ([]store.Message, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	found, err := findAll[eventDoc](ctx, s, collEvents, doc(el("_id", in(ids))),
		find().SetProjection(doc(el("body", 1), el("bodyBlob", 1))))
	if err != nil {
		return nil, err
	}
	events := make(map[string]*eventDoc, len(found))
	for i := range found {
		events[found[i].ID] = &found[i]
	}
	out := make([]store.Message, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		original := events[r.ID]
		if original == nil {
			continue // an append that did not get as far as the event
		}
		ev, err := s.decodeBody(ctx, original)
		if err != nil {
			return nil, err
		}
		if r.Body != "" {
			if err := json.Unmarshal([]byte(r.Body), &ev.Message); err != nil {
				return nil, fmt.Errorf("decode message: %w", err)
			}
		}
		out = append(out, store.Message{
			EventID: r.ID, Account: r.Account, Chat: r.Chat, Message: ev.Message, Raw: ev.Raw,
			CreatedAt: back(r.CreatedAt), UpdatedAt: back(r.UpdatedAt),
		})
	}
	return out, nil
}

// newestFirst orders messages.
func newestFirst() bson.D { return doc(el("time", -1), el("pos", -1)) }

// Message implements store.Messages.
func (s *Store) Message(ctx context.Context, account, waID string) (store.Message, error) {
	rows, err := findAll[messageDoc](ctx, s, collMessages, doc(el("account", account), el("messageId", clean(waID))),
		find().SetSort(newestFirst()).SetLimit(2))
	var out []store.Message
	if err == nil {
		out, err = s.withContent(ctx, rows)
	}
	if err == nil && len(out) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Message{}, fmt.Errorf("message %s: %w", waID, err)
	}
	return out[0], nil
}

// ListMessages implements store.Messages.
func (s *Store) ListMessages(ctx context.Context, q store.MessageQuery) ([]store.Message, int, error) {
	filter := doc()
	allowed := func(account string) bool { return len(q.Accounts) == 0 || slices.Contains(q.Accounts, account) }
	switch {
	case q.Account != "" && !allowed(q.Account):
		return nil, 0, nil
	case q.Account != "":
		filter = append(filter, el("account", q.Account))
	case q.Chat != "":
		// The same chat in several accounts: they are few, and looked up.
		chats, err := findAll[chatDoc](ctx, s, collChats, doc(el("chat", q.Chat)), find())
		if err != nil {
			return nil, 0, fmt.Errorf("list messages: %w", err)
		}
		accounts := []string{}
		for _, c := range chats {
			if allowed(c.Account) {
				accounts = append(accounts, c.Account)
			}
		}
		filter = append(filter, el("account", in(accounts)))
	case len(q.Accounts) > 0:
		filter = append(filter, el("account", in(q.Accounts)))
	}
	if q.Chat != "" {
		filter = append(filter, el("chat", q.Chat))
	}
	span := doc()
	if len(filter) == 0 { // so that an index counts them
		span = append(span, el("$gte", int64(math.MinInt64)))
	}
	if !q.After.IsZero() {
		span = append(span, el("$gt", q.After.UnixMilli()))
	}
	if !q.Before.IsZero() {
		span = append(span, el("$lt", q.Before.UnixMilli()))
	}
	if len(span) > 0 {
		filter = append(filter, el("time", span))
	}
	total, err := s.count(ctx, collMessages, filter)
	if err != nil {
		return nil, 0, fmt.Errorf("count messages: %w", err)
	}
	rows, err := findAll[messageDoc](ctx, s, collMessages, filter, find().SetSort(newestFirst()).
		SetSkip(int64(max(q.Offset, 0))).SetLimit(min(limitOr(q.Limit), maxMessages)))
	var page []store.Message
	if err == nil {
		page, err = s.withContent(ctx, rows)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list messages: %w", err)
	}
	return page, total, nil
}

// count counts what a filter selects.
func (s *Store) count(ctx context.Context, coll string, filter bson.D) (int, error) {
	type total struct {
		N int `bson:"n"`
	}
	out, err := aggregateAll[total](ctx, s, coll, doc(el("$match", filter)),
		doc(el("$group", doc(el("_id", nil), el("n", doc(el("$sum", 1)))))))
	if err != nil || len(out) == 0 {
		return 0, err
	}
	return out[0].N, nil
}
