package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/wildcathub/wildcat/core/crashpoint"
	"github.com/wildcathub/wildcat/core/store"
)

// Settle implements store.Events: verdict, sends, deliveries and stage in one
// transaction. The crash points stand between its steps although none of them can be
// seen before the commit: that is what a crash story proves there.
func (s *Store) Settle(ctx context.Context, st *store.Settlement) error {
	if err := checkSettlement(st); err != nil {
		return fmt.Errorf("settle event %s: %w", st.EventID, err)
	}
	size := len(st.Verdict) + 256*len(st.Deliveries)
	for i := range st.Sends {
		size += len(st.Sends[i].Payload) + 512
	}
	now := ms(s.now())
	// The slice is the caller's and is written once the outcome is certain.
	prev := make([]uint64, len(st.Deliveries))
	err := s.writePatiently(ctx, size, func(t *tx) error { return settle(t, st, prev, now) })
	if err != nil {
		return fmt.Errorf("settle event %s: %w", st.EventID, err)
	}
	for i := range st.Deliveries {
		st.Deliveries[i].Prev, st.Deliveries[i].Epoch = prev[i], 0
	}
	return nil
}

// checkSettlement refuses what the columns cannot hold: the children of an event share its chat.
func checkSettlement(st *store.Settlement) error {
	if st.Verdict == nil {
		return errors.New("no verdict")
	}
	for i := range st.Deliveries {
		d := &st.Deliveries[i]
		if d.Account != st.Account || d.Chat != st.Chat || d.Seq != st.Seq || d.EventID != st.EventID {
			return fmt.Errorf("delivery %s belongs to another event, chat or seq", d.ID)
		}
		if d.State != "" && d.State != store.DeliveryQueued {
			return fmt.Errorf("delivery %s is new and cannot be %s", d.ID, d.State)
		}
	}
	return nil
}

// settled is what the event's row says.
type settled struct {
	n, chatN int64
	seq      uint64
}

func settle(t *tx, st *store.Settlement, prev []uint64, now int64) error {
	var ev settled
	var stage int64
	var epoch uint64
	var verdict []byte
	found, err := t.row(`SELECT n, chat_n, seq, stage, epoch, verdict FROM events WHERE id = ?`,
		[]any{packID(st.EventID)}, &ev.n, &ev.chatN, &ev.seq, &stage, &epoch, &verdict)
	switch {
	case err != nil:
		return err
	case !found:
		return store.ErrNotFound
	case verdict != nil && !bytes.Equal(verdict, st.Verdict):
		return fmt.Errorf("verdict: %w", store.ErrExists)
	case store.Stage(stage) == store.StageDone:
		return readPrev(t, st, prev)
	case epoch > st.Epoch:
		return store.ErrStale
	}
	crashpoint.Hit("after_verdict")
	for i := range st.Sends {
		if err := insertSend(t, &st.Sends[i], now, `ON CONFLICT (id) DO NOTHING`); err != nil {
			return fmt.Errorf("send %s: %w", st.Sends[i].ID, err)
		}
	}
	crashpoint.Hit("after_sends")
	for i := range st.Deliveries {
		if i == 1 {
			crashpoint.Hit("mid_fanout")
		}
		if prev[i], err = insertDelivery(t, ev, &st.Deliveries[i], now); err != nil {
			return fmt.Errorf("delivery %s: %w", st.Deliveries[i].ID, err)
		}
	}
	if len(st.Deliveries) == 1 {
		crashpoint.Hit("mid_fanout")
	}
	crashpoint.Hit("before_stage")
	_, err = t.exec(`UPDATE events SET stage = ?, verdict = ?, epoch = ?, done_at = ? WHERE n = ?`,
		store.StageDone, st.Verdict, st.Epoch, now, ev.n)
	if err != nil {
		return err
	}
	// The mark moves over this event and over those behind it that were done before it.
	_, err = t.exec(`UPDATE chats SET done = coalesce(
			(SELECT e.seq FROM events e WHERE e.chat_n = chats.n AND e.seq > chats.done AND e.stage < 2 ORDER BY e.seq LIMIT 1) - 1,
			seq) WHERE n = ? AND done = ?`, ev.chatN, ev.seq-1)
	return err
}

// readPrev answers a repetition with what the first run wrote.
func readPrev(t *tx, st *store.Settlement, prev []uint64) error {
	for i := range st.Deliveries {
		_, err := t.row(`SELECT prev FROM deliveries WHERE id = ?`, []any{packID(st.Deliveries[i].ID)}, &prev[i])
		if err != nil {
			return err
		}
	}
	return nil
}

// insertDelivery stores a delivery unless it is there, and returns its prev.
func insertDelivery(t *tx, ev settled, d *store.Delivery, now int64) (prev uint64, err error) {
	endpointN, err := t.names.intern(t, d.Endpoint)
	if err != nil {
		return 0, err
	}
	created := ms(d.CreatedAt)
	if created == 0 {
		created = now
	}
	if prev, err = t.lastQueued(endpointN, ev.chatN, ev.seq); err != nil {
		return 0, err
	}
	_, inserted, err := t.insert(`INSERT INTO deliveries
		(id, event_n, endpoint_n, chat_n, seq, part, prev, state, generation, attempt, due, stepped, epoch, reason, created_at, updated_at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, ?13, ?14, ?14) ON CONFLICT (id) DO NOTHING`,
		packID(d.ID), ev.n, endpointN, ev.chatN, ev.seq, d.Partition, prev,
		deliveryStates.number(store.DeliveryQueued), d.Generation, d.Attempt, ms(d.Due), d.Stepped, d.Reason, created)
	if err != nil {
		return 0, err
	}
	if inserted {
		t.queued(endpointN, ev.chatN, ev.seq)
		return prev, nil
	}
	_, err = t.row(`SELECT prev FROM deliveries WHERE id = ?`, []any{packID(d.ID)}, &prev)
	return prev, err
}
