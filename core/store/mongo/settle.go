package mongo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/crashpoint"
	"github.com/wildcathub/wildcat/core/store"
)

// settling is one settlement on its way. It holds copies: its caller may walk away.
type settling struct {
	event      string
	epoch      uint64
	verdict    []byte
	sends      []sendDoc
	deliveries []deliveryDoc

	row  eventDoc // what the database says; until it is asked, what the caller says
	err  error
	done bool
}

// Settle implements store.Events: verdict, sends, deliveries and stage, in this order.
// Whatever is cut short is repeated, and runs into the ids of what is there.
func (s *Store) Settle(ctx context.Context, st *store.Settlement) error {
	op, err := s.newSettling(st)
	if err == nil {
		err = s.settles.submit(ctx, op)
	}
	if err == nil {
		err = op.err
	}
	if err != nil {
		return fmt.Errorf("settle event %s: %w", st.EventID, err)
	}
	for i := range st.Deliveries {
		st.Deliveries[i].Prev, st.Deliveries[i].Epoch = unsigned(op.deliveries[i].Prev), 0
	}
	return nil
}

func (s *Store) newSettling(st *store.Settlement) (*settling, error) {
	if st.Verdict == nil {
		return nil, errors.New("no verdict")
	}
	op := &settling{
		event: st.EventID, epoch: st.Epoch, verdict: bytes.Clone(st.Verdict),
		row: eventDoc{ID: st.EventID, Account: st.Account, Chat: st.Chat, Seq: number(st.Seq)},
	}
	for i := range st.Sends {
		x, err := s.newSendDoc(&st.Sends[i])
		if err != nil {
			return nil, fmt.Errorf("send %s: %w", st.Sends[i].ID, err)
		}
		op.sends = append(op.sends, x)
	}
	for i := range st.Deliveries {
		x := &st.Deliveries[i]
		if x.Account != st.Account || x.Chat != st.Chat || x.Seq != st.Seq || x.EventID != st.EventID {
			return nil, fmt.Errorf("delivery %s belongs to another event, chat or seq", x.ID)
		}
		if x.State != "" && x.State != store.DeliveryQueued {
			return nil, fmt.Errorf("delivery %s is new and cannot be %s", x.ID, x.State)
		}
		op.deliveries = append(op.deliveries, s.newDeliveryDoc(x))
	}
	return op, nil
}

// runSettles settles what came at the same time: each step is one round trip for all.
func (s *Store) runSettles(ops []*settling) (after func()) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	s.settleAll(ctx, ops)
	s.metrics.flushed(len(ops), time.Since(start))
	return nil
}

func (s *Store) settleAll(ctx context.Context, ops []*settling) {
	for len(ops) > 0 {
		// The same event twice at once: one after the other.
		var now, later []*settling
		seen := map[string]bool{}
		for _, op := range ops {
			if seen[op.event] {
				later = append(later, op)
				continue
			}
			seen[op.event] = true
			now = append(now, op)
		}
		if err := s.settleRound(ctx, now); err != nil {
			for _, op := range now {
				if !op.done {
					op.err, op.done = err, true
				}
			}
		}
		ops = later
	}
}

func (op *settling) lane() string { return laneOf(op.row.Account, op.row.Chat) }

// childless tells that nothing but the verdict follows, so that the event is done with it.
func (op *settling) childless() bool { return len(op.sends)+len(op.deliveries) == 0 }

// pending are those that still have a way to go, in the order of their numbers.
func pending(ops []*settling) []*settling {
	var out []*settling
	for _, op := range ops {
		if !op.done {
			out = append(out, op)
		}
	}
	slices.SortStableFunc(out, func(a, b *settling) int {
		return cmp.Or(cmp.Compare(a.lane(), b.lane()), cmp.Compare(a.row.Seq, b.row.Seq))
	})
	return out
}

func (s *Store) settleRound(ctx context.Context, ops []*settling) error {
	// The rule is that none has a verdict yet, and that the caller knows the event.
	if all, err := s.storeVerdicts(ctx, ops); err != nil {
		return err
	} else if !all {
		if err := s.judge(ctx, ops); err != nil {
			return err
		}
		left := pending(ops)
		if all, err := s.storeVerdicts(ctx, left); err != nil {
			return err
		} else if !all {
			if err := s.judge(ctx, left); err != nil { // another was faster, or this is a repetition
				return err
			}
		}
	}
	crashpoint.Hit("after_verdict")
	left := pending(ops)
	if err := s.storeSends(ctx, left); err != nil {
		return err
	}
	left = pending(left)
	crashpoint.Hit("after_sends")
	if err := s.storeDeliveries(ctx, left); err != nil {
		return err
	}
	crashpoint.Hit("before_stage")
	return s.storeStages(ctx, left)
}

// judge reads the events and gives those their outcome that have nothing left to do.
func (s *Store) judge(ctx context.Context, ops []*settling) error {
	var ids []string
	for _, op := range ops {
		if !op.done {
			ids = append(ids, op.event)
		}
	}
	rows, err := findAll[eventDoc](ctx, s, collEvents, doc(el("_id", in(ids))), find().SetProjection(doc(el("account", 1),
		el("chat", 1), el("seq", 1), el("stage", 1), el("epoch", 1), el("open", 1), el("verdict", 1))))
	if err != nil {
		return err
	}
	known := make(map[string]eventDoc, len(rows))
	for _, r := range rows {
		known[r.ID] = r
	}
	for _, op := range ops {
		if op.done {
			continue
		}
		row, ok := known[op.event]
		op.row = row
		switch {
		case !ok:
			op.err, op.done = store.ErrNotFound, true
		case row.Verdict != nil && !bytes.Equal(row.Verdict, op.verdict):
			op.err, op.done = fmt.Errorf("verdict: %w", store.ErrExists), true
		case store.Stage(row.Stage) == store.StageDone:
			// A repetition is answered with what the first run wrote.
			op.err, op.done = s.readPrevs(ctx, op), true
		case unsigned(row.Epoch) > op.epoch:
			op.err, op.done = store.ErrStale, true
		}
	}
	return nil
}

// storeVerdicts writes the verdicts of those that have none yet, unless a higher epoch
// has come, and tells whether it found them all as expected. An event that nothing but the
// verdict follows from is done with it.
func (s *Store) storeVerdicts(ctx context.Context, ops []*settling) (all bool, err error) {
	now := stamp(s.now())
	var updates []bulkUpdate
	var alone []*settling
	for _, op := range ops {
		if op.row.Verdict != nil {
			continue
		}
		u := bulkUpdate{filter: doc(el("_id", op.event), el("account", op.row.Account), el("chat", op.row.Chat), el("seq", op.row.Seq),
			el("verdict", doc(el("$exists", false))), el("epoch", doc(el("$lte", number(op.epoch)))))}
		if op.childless() {
			u.update = doc(set(el("verdict", op.verdict), el("stage", int(store.StageDone)), el("epoch", number(op.epoch)), el("doneAt", now)),
				el("$unset", bson.D{el("open", "")}))
			alone = append(alone, op)
		} else {
			u.update = doc(set(el("verdict", op.verdict), el("stage", int(store.StageRuled)), el("epoch", number(op.epoch))))
		}
		updates = append(updates, u)
	}
	if len(updates) == 0 {
		return true, nil
	}
	matched, err := s.updateAll(ctx, collEvents, updates)
	if all = err == nil && int(matched) == len(updates); all {
		for _, op := range alone {
			op.done = true
		}
	}
	return all, err
}

func (s *Store) storeSends(ctx context.Context, ops []*settling) error {
	var docs []any
	for _, op := range ops {
		for i := range op.sends {
			op.sends[i].Pos = s.pos.next()
			docs = append(docs, &op.sends[i])
		}
	}
	if len(docs) == 0 {
		return nil
	}
	taken, err := s.insertAll(ctx, collSends, docs)
	if err != nil || len(taken) == 0 {
		return err
	}
	ids := make([]string, len(taken))
	for i, n := range taken {
		ids[i] = docs[n].(*sendDoc).ID
	}
	there, err := findAll[sendDoc](ctx, s, collSends, doc(el("_id", in(ids))), find().SetProjection(byKey()))
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, x := range there {
		known[x.ID] = true
	}
	for _, op := range ops {
		for _, x := range op.sends {
			if slices.Contains(ids, x.ID) && !known[x.ID] {
				op.err, op.done = fmt.Errorf("send %s: WhatsApp id or key: %w", x.ID, store.ErrExists), true
			}
		}
	}
	return nil
}

func (s *Store) storeDeliveries(ctx context.Context, ops []*settling) error {
	var docs []any
	here := map[laneKey]uint64{} // queued by this round
	for _, op := range ops {
		for i := range op.deliveries {
			x := &op.deliveries[i]
			// The event's own fields are the truth.
			x.Chat, x.Lane, x.Seq, x.Pos = op.row.Chat, op.lane(), op.row.Seq, s.pos.next()
			k := laneKey{x.Endpoint, x.Lane}
			prev, err := s.lastQueued(ctx, k, unsigned(x.Seq))
			if err != nil {
				return err
			}
			x.Prev = number(max(prev, here[k]))
			here[k] = unsigned(x.Seq)
			docs = append(docs, x)
		}
	}
	if len(docs) == 0 {
		return nil
	}
	if crashpoint.Enabled { // so that a crash story finds the middle
		if _, err := s.insertAll(ctx, collDeliveries, docs[:1]); err != nil {
			return err
		}
		crashpoint.Hit("mid_fanout")
	}
	taken, err := s.insertAll(ctx, collDeliveries, docs)
	if err != nil {
		return err
	}
	for k, seq := range here {
		s.lanes.queued(k, seq)
	}
	if len(taken) == 0 {
		return nil
	}
	for _, op := range ops {
		if err := s.readPrevs(ctx, op); err != nil {
			return err
		}
	}
	return nil
}

// lastQueued returns the highest seq below seq that was queued to the endpoint.
func (s *Store) lastQueued(ctx context.Context, k laneKey, seq uint64) (uint64, error) {
	if last, ok := s.lanes.lastOf(k); ok && last < seq {
		return last, nil
	}
	rows, err := findAll[deliveryDoc](ctx, s, collDeliveries,
		doc(el("endpoint", k.endpoint), el("lane", k.lane), el("seq", doc(el("$lt", number(seq))))),
		find().SetSort(doc(el("seq", -1))).SetLimit(1).SetProjection(doc(el("seq", 1))))
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return unsigned(rows[0].Seq), nil
}

// readPrevs takes Prev from the deliveries that are stored.
func (s *Store) readPrevs(ctx context.Context, op *settling) error {
	if len(op.deliveries) == 0 {
		return nil
	}
	ids := make([]string, len(op.deliveries))
	for i := range op.deliveries {
		ids[i] = op.deliveries[i].ID
	}
	rows, err := findAll[deliveryDoc](ctx, s, collDeliveries, doc(el("_id", in(ids))), find().SetProjection(doc(el("prev", 1))))
	if err != nil {
		return err
	}
	for _, r := range rows {
		op.deliveries[slices.Index(ids, r.ID)].Prev = r.Prev
	}
	return nil
}

func (s *Store) storeStages(ctx context.Context, ops []*settling) error {
	if len(ops) == 0 {
		return nil
	}
	now := stamp(s.now())
	updates := make([]bulkUpdate, len(ops))
	for i, op := range ops {
		updates[i] = bulkUpdate{
			filter: doc(el("_id", op.event), el("stage", doc(el("$lt", int(store.StageDone)))), el("epoch", doc(el("$lte", number(op.epoch))))),
			update: doc(set(el("stage", int(store.StageDone)), el("epoch", number(op.epoch)), el("doneAt", now)),
				el("$unset", bson.D{el("open", "")})),
		}
	}
	matched, err := s.updateAll(ctx, collEvents, updates)
	if err != nil {
		return err
	}
	if int(matched) < len(ops) {
		return s.judgeStages(ctx, ops)
	}
	for _, op := range ops {
		op.done = true
	}
	return nil
}

// judgeStages tells those that were fenced off at the last step from those that a
// repetition found done.
func (s *Store) judgeStages(ctx context.Context, ops []*settling) error {
	for _, op := range ops {
		row, err := findOne[eventDoc](ctx, s, collEvents, byID(op.event), options.FindOne().SetProjection(doc(el("stage", 1))))
		switch {
		case errors.Is(err, store.ErrNotFound):
			op.err = err
		case err != nil:
			return err
		case store.Stage(row.Stage) != store.StageDone:
			op.err = store.ErrStale
		}
		op.done = true
	}
	return nil
}
