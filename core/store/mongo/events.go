package mongo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

func (s *Store) decodeEvent(ctx context.Context, r *eventDoc) (store.StoredEvent, error) {
	ev, err := s.decodeBody(ctx, r)
	if err != nil {
		return store.StoredEvent{}, err
	}
	s.pos.seen(r.Pos)
	// The fields say under which key it is numbered, which is not always the one in its body.
	ev.Account, ev.Chat, ev.Seq = r.Account, r.Chat, unsigned(r.Seq)
	return store.StoredEvent{
		Event: ev, Stage: store.Stage(r.Stage), Epoch: unsigned(r.Epoch), Verdict: r.Verdict,
		StoredAt: back(r.StoredAt), DoneAt: back(r.DoneAt),
	}, nil
}

func (s *Store) decodeBody(ctx context.Context, r *eventDoc) (*sdk.Event, error) {
	body := []byte(r.Body)
	if r.BodyBlob != "" {
		f, _, err := s.bodies.open(ctx, r.BodyBlob)
		if err != nil {
			return nil, fmt.Errorf("open event body: %w", err)
		}
		defer func() { _ = f.Close() }()
		if body, err = io.ReadAll(f); err != nil {
			return nil, fmt.Errorf("read event body: %w", err)
		}
	}
	ev := new(sdk.Event)
	if err := json.Unmarshal(body, ev); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	return ev, nil
}

func (s *Store) decodeEvents(ctx context.Context, rows []eventDoc) ([]store.StoredEvent, error) {
	out := make([]store.StoredEvent, 0, len(rows))
	for i := range rows {
		ev, err := s.decodeEvent(ctx, &rows[i])
		if err != nil {
			return nil, err
		}
		out = append(out, ev)
	}
	return out, nil
}

// Event implements store.Events.
func (s *Store) Event(ctx context.Context, id string) (store.StoredEvent, error) {
	row, err := findOne[eventDoc](ctx, s, collEvents, byID(id), options.FindOne())
	var out store.StoredEvent
	if err == nil {
		out, err = s.decodeEvent(ctx, &row)
	}
	if err != nil {
		return store.StoredEvent{}, fmt.Errorf("event %s: %w", id, err)
	}
	return out, nil
}

type laneDoc struct {
	Lane string `bson:"_id"`
}

// UnfinishedChats implements store.Events, in the order of account and chat.
func (s *Store) UnfinishedChats(ctx context.Context, after store.ChatRef, limit int) ([]store.ChatRef, error) {
	// The open ones are few: what is not done is being worked at.
	from := ""
	if after != (store.ChatRef{}) {
		from = laneOf(after.Account, after.Chat)
	}
	lanes, err := aggregateAll[laneDoc](ctx, s, collEvents,
		doc(el("$match", doc(el("open", doc(el("$gt", from)))))),
		doc(el("$group", doc(el("_id", "$open")))),
		doc(el("$sort", doc(el("_id", 1)))),
		doc(el("$limit", limitOr(limit))))
	if err != nil {
		return nil, fmt.Errorf("list unfinished chats: %w", err)
	}
	out := make([]store.ChatRef, len(lanes))
	for i, l := range lanes {
		out[i] = chatRef(l.Lane)
	}
	return out, nil
}

// UnfinishedEvents implements store.Events.
func (s *Store) UnfinishedEvents(ctx context.Context, chat store.ChatRef, after uint64, limit int) ([]store.StoredEvent, error) {
	rows, err := findAll[eventDoc](ctx, s, collEvents,
		doc(el("open", laneOf(chat.Account, chat.Chat)), el("seq", doc(el("$gt", number(after))))),
		find().SetSort(doc(el("seq", 1))).SetLimit(limitOr(limit)))
	var out []store.StoredEvent
	if err == nil {
		out, err = s.decodeEvents(ctx, rows)
	}
	if err != nil {
		return nil, fmt.Errorf("list unfinished events: %w", err)
	}
	return out, nil
}

// ListEvents implements store.Events. Within an account the order is that of storing;
// between accounts that several hubs hold, it is that of the hubs' clocks.
func (s *Store) ListEvents(ctx context.Context, account, after string, limit int) ([]store.StoredEvent, error) {
	filter := doc()
	if account != "" {
		filter = append(filter, el("account", account))
	}
	from, err := s.cursor(ctx, collEvents, after)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	filter = append(filter, el("pos", doc(el("$gt", from))))
	rows, err := findAll[eventDoc](ctx, s, collEvents, filter, find().SetSort(doc(el("pos", 1))).SetLimit(limitOr(limit)))
	var out []store.StoredEvent
	if err == nil {
		out, err = s.decodeEvents(ctx, rows)
	}
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return out, nil
}

type posDoc struct {
	Pos string `bson:"pos"`
}

// cursor turns the id of the last record of a page into its position; "" is "", which
// is before all.
func (s *Store) cursor(ctx context.Context, coll, id string) (string, error) {
	if id == "" {
		return "", nil
	}
	row, err := findOne[posDoc](ctx, s, coll, byID(id), options.FindOne().SetProjection(doc(el("pos", 1))))
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("page after %s: %w", id, err)
	}
	return row.Pos, err
}
