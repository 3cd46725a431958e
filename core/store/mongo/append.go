package mongo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

const (
	// maxInlineBody is the size in bytes from which an event's JSON goes to a file.
	maxInlineBody = 64 << 10
	// maxRounds bounds how often a batch begins anew since its numbers were taken; then
	// another process appends to the same chats, which the lease forbids.
	maxRounds = 20
	// roundWait is for the majority to see what was collided with.
	roundWait = 5 * time.Millisecond
)

// eventDoc is an event in the database. Open is the lane, as long as the event is not done.
type eventDoc struct {
	ID       string     `bson:"_id"`
	Account  string     `bson:"account"`
	Chat     string     `bson:"chat"`
	Seq      int64      `bson:"seq"`
	Pos      string     `bson:"pos"`
	Stage    int        `bson:"stage"`
	Epoch    int64      `bson:"epoch"`
	Open     string     `bson:"open,omitempty"`
	StoredAt *time.Time `bson:"storedAt"`
	DoneAt   *time.Time `bson:"doneAt,omitempty"`
	Verdict  []byte     `bson:"verdict,omitempty"`
	Body     string     `bson:"body,omitempty"`
	BodyBlob string     `bson:"bodyBlob,omitempty"`
}

// appending is one append on its way.
type appending struct {
	ids     []string // the event's own first
	event   eventDoc
	message *messageDoc
	epoch   uint64
	sent    *store.SentMark

	chat *chat // while a round is under way
	out  store.Appended
	err  error
	done bool
}

// AppendEvent implements store.Events.
func (s *Store) AppendEvent(ctx context.Context, a store.Append) (store.Appended, error) {
	op, err := s.newAppending(ctx, a)
	if err == nil {
		err = s.appends.submit(ctx, op)
	}
	if err == nil {
		err = op.err
	}
	if err != nil {
		return store.Appended{}, fmt.Errorf("append event %s: %w", a.Event.ID, err)
	}
	return op.out, nil
}

func (s *Store) newAppending(ctx context.Context, a store.Append) (*appending, error) {
	ev := a.Event
	if ev.ID == "" {
		return nil, errors.New("event without id")
	}
	if err := checkAccount(ev.Account); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bare := *ev
	bare.Seq = 0 // the fields are the truth for what the engine assigns
	body, err := json.Marshal(&bare)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	now := s.now()
	op := &appending{ids: []string{ev.ID}, epoch: a.Epoch, sent: a.Sent, event: eventDoc{
		ID: ev.ID, Account: ev.Account, Chat: clean(ev.Chat), Stage: int(store.StageStored),
		Epoch: number(a.Epoch), StoredAt: stamp(now), Body: string(body),
	}}
	for _, id := range a.OtherIDs {
		if id != "" {
			op.ids = append(op.ids, id)
		}
	}
	if len(body) > maxInlineBody {
		if op.event.BodyBlob, err = s.putBody(ctx, ev, body); err != nil {
			return nil, err
		}
		op.event.Body = ""
	}
	if ev.Type == sdk.TypeMessage && ev.Message != nil {
		at := ev.Message.Time
		if at.IsZero() {
			at = ev.Time
		}
		op.message = &messageDoc{
			ID: ev.ID, Account: ev.Account, MessageID: clean(ev.Message.ID), Time: at.UnixMilli(),
			CreatedAt: stamp(now), UpdatedAt: stamp(now),
		}
	}
	return op, nil
}

// putBody stores a large body as a file. The name covers the content: a redelivered
// event may differ in what is no part of its identity, and an append that failed may
// have left a file.
func (s *Store) putBody(ctx context.Context, ev *sdk.Event, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	id := "event/" + ev.ID + "/" + hex.EncodeToString(sum[:8])
	_, err := s.bodies.put(ctx, store.BlobInfo{ID: id, Account: ev.Account, MIME: "application/json"}, bytes.NewReader(body))
	if err != nil && !errors.Is(err, store.ErrExists) {
		return "", fmt.Errorf("store body: %w", err)
	}
	return id, nil
}

// runAppends stores what came at the same time. Each event is its own commit; all of
// them together are a few round trips.
func (s *Store) runAppends(ops []*appending) (after func()) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	s.lanes.write.Lock()
	left := ops
	for round := 0; len(left) > 0; round++ {
		err := s.appendRound(ctx, left, round)
		if err == nil && round == maxRounds {
			err = fmt.Errorf("its number is taken again and again: another process appends: %w", store.ErrStale)
		}
		var rest []*appending
		for _, op := range left {
			switch {
			case op.done:
			case err != nil:
				op.err, op.done = err, true
			default:
				rest = append(rest, op)
			}
		}
		if err != nil {
			s.lanes.forget() // what was written is not known
		}
		left = rest
	}
	s.lanes.write.Unlock()
	s.markSent(ctx, ops)
	s.metrics.flushed(len(ops), time.Since(start))
	return func() {
		if err := s.flushChats(context.Background(), false); err != nil {
			s.log.Debug("counters of chats were not written yet", "err", err)
		}
	}
}

// appendRound takes the operations as far as they come without colliding. What is not
// done after it, and has no error, goes into the next round.
func (s *Store) appendRound(ctx context.Context, ops []*appending, round int) error {
	if round > 0 {
		if err := wait(ctx, roundWait*time.Duration(min(round, 10)-1)); err != nil {
			return err
		}
	}
	if err := s.findDuplicates(ctx, ops); err != nil {
		return err
	}
	fresh, err := s.numberEvents(ctx, ops)
	if err != nil || len(fresh) == 0 {
		return err
	}
	taken, err := s.insertMessages(ctx, fresh)
	if err != nil {
		return err
	}
	stored, err := s.insertEvents(ctx, fresh)
	if err != nil {
		return err
	}
	for _, op := range fresh[:stored] {
		s.lanes.appended(op.chat, op.out.Seq, op.epoch)
		op.done = true
	}
	if stored < len(fresh) {
		s.lanes.forget() // the next one's id or number is there: what was remembered is wrong
	}
	return s.correctMessages(ctx, fresh[:stored], taken)
}

// findDuplicates answers those whose event is stored, under whichever of its ids.
func (s *Store) findDuplicates(ctx context.Context, ops []*appending) error {
	var ids []string
	for _, op := range ops {
		if !op.done {
			ids = append(ids, op.ids...)
		}
	}
	known, err := s.eventKeys(ctx, ids)
	if err != nil {
		return err
	}
	for _, op := range ops {
		for i := range op.ids {
			// The other ids first: under them stands the older event.
			id := op.ids[(i+1)%len(op.ids)]
			if k, ok := known[id]; ok && !op.done {
				op.out = store.Appended{ID: id, Chat: k.Chat, Seq: unsigned(k.Seq), Duplicate: true}
				op.done = true
			}
		}
	}
	return nil
}

// numberEvents gives each its number, and leaves for the next round what may be a
// duplicate of one in this.
func (s *Store) numberEvents(ctx context.Context, ops []*appending) ([]*appending, error) {
	var fresh []*appending
	here := map[string]bool{}
	next := map[*chat]uint64{}
	epochs := map[*chat]uint64{}
	for _, op := range ops {
		if op.done || anyOf(here, op.ids) {
			continue
		}
		c, err := s.chatOf(ctx, op.event.Account, op.event.Chat)
		if err != nil {
			return nil, err
		}
		if _, ok := next[c]; !ok {
			next[c], epochs[c] = c.seq, c.epoch
		}
		if epochs[c] > op.epoch {
			op.err, op.done = fmt.Errorf("chat: %w", store.ErrStale), true
			continue
		}
		next[c]++
		epochs[c] = op.epoch
		op.chat = c
		op.event.Chat, op.event.Seq, op.event.Pos = c.key, number(next[c]), s.pos.next()
		op.event.Open = laneOf(op.event.Account, c.key)
		op.out = store.Appended{ID: op.event.ID, Chat: c.key, Seq: next[c]}
		if op.message != nil {
			op.message.Chat, op.message.Pos = c.key, op.event.Pos
		}
		for _, id := range op.ids {
			here[id] = true
		}
		fresh = append(fresh, op)
	}
	return fresh, nil
}

func anyOf(known map[string]bool, ids []string) bool {
	for _, id := range ids {
		if known[id] {
			return true
		}
	}
	return false
}

// insertEvents stores the events in their order, up to the first whose id or number is
// taken, and returns how many are stored. Since the order holds, no number is given
// out before the one below it is stored.
func (s *Store) insertEvents(ctx context.Context, ops []*appending) (int, error) {
	stored := 0
	err := s.do(ctx, func(ctx context.Context, again bool) error {
		if again { // the answer to a try was lost: what of it is there?
			n, err := s.countMine(ctx, ops)
			if err != nil {
				return err
			}
			stored = n
		}
		docs := make([]any, 0, len(ops)-stored)
		for _, op := range ops[stored:] {
			docs = append(docs, &op.event)
		}
		if len(docs) == 0 {
			return nil
		}
		_, err := s.coll(collEvents).InsertMany(ctx, docs)
		taken, err := rejected(err)
		switch {
		case err != nil:
			return err
		case len(taken) > 0:
			stored += taken[0]
		default:
			stored += len(docs)
		}
		return nil
	})
	return stored, err
}

// countMine returns how many of the events, from the first on, this round has stored:
// the position tells them from another's.
func (s *Store) countMine(ctx context.Context, ops []*appending) (int, error) {
	ids := make([]string, len(ops))
	for i, op := range ops {
		ids[i] = op.event.ID
	}
	known, err := s.eventKeys(ctx, ids)
	if err != nil {
		return 0, err
	}
	for i, op := range ops {
		if known[op.event.ID].Pos != op.event.Pos {
			return i, nil
		}
	}
	return len(ops), nil
}

// eventKeys returns where the events stand that are stored under these ids.
func (s *Store) eventKeys(ctx context.Context, ids []string) (map[string]eventDoc, error) {
	found, err := findAll[eventDoc](ctx, s, collEvents, doc(el("_id", in(ids))),
		find().SetProjection(doc(el("account", 1), el("chat", 1), el("seq", 1), el("pos", 1))))
	if err != nil {
		return nil, err
	}
	out := make(map[string]eventDoc, len(found))
	for _, ev := range found {
		out[ev.ID] = ev
	}
	return out, nil
}

// markSent moves the sends that own-sent events prove, also where the event is a duplicate.
func (s *Store) markSent(ctx context.Context, ops []*appending) {
	var models []bulkUpdate
	var of []*appending
	for _, op := range ops {
		if op.sent == nil || op.err != nil {
			continue
		}
		of = append(of, op)
		models = append(models, bulkUpdate{
			filter: doc(el("_id", op.sent.SendID), el("state", string(store.SendSending))),
			update: doc(set(el("state", string(store.SendSent)), el("sentAt", stamp(op.sent.At)), el("reason", ""),
				el("updatedAt", op.event.StoredAt)), el("$max", bson.D{el("epoch", number(op.epoch))})),
		})
	}
	if len(of) == 0 {
		return
	}
	if _, err := s.updateAll(ctx, collSends, models); err != nil {
		for _, op := range of {
			op.err = fmt.Errorf("mark send %s: %w", op.sent.SendID, err)
		}
	}
}
