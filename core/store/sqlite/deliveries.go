package sqlite

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

const deliveryColumns = `d.id, e.id, d.endpoint_n, c.account_n, c.chat, d.part, d.seq, d.prev, d.state, d.generation,
	d.attempt, d.due, d.stepped, d.epoch, d.reason, d.created_at, d.updated_at, d.attempts`

// The event may be gone one day while the delivery is still shown.
const selectDelivery = `SELECT ` + deliveryColumns + ` FROM deliveries d
	JOIN chats c ON c.n = d.chat_n LEFT JOIN events e ON e.n = d.event_n `

func (s *Store) scanDelivery(scan func(...any) error) (store.Delivery, error) {
	var d store.Delivery
	var id, event dbID
	var endpointN, accountN, part, state, generation, attempt, stepped int64
	var due, created, updated dbTime
	var attempts []byte
	err := scan(&id, &event, &endpointN, &accountN, &d.Chat, &part, &d.Seq, &d.Prev, &state, &generation,
		&attempt, &due, &stepped, &d.Epoch, &d.Reason, &created, &updated, &attempts)
	if err != nil {
		return d, err
	}
	d.ID, d.EventID = string(id), string(event)
	d.Endpoint, d.Account = s.names.name(endpointN), s.names.name(accountN)
	d.State = deliveryStates.word(state)
	d.Partition, d.Generation, d.Attempt = int(part), int(generation), int(attempt)
	d.Stepped = stepped != 0
	d.Due, d.CreatedAt, d.UpdatedAt = due.Time, created.Time, updated.Time
	if d.Attempts, err = decodeAttempts(attempts); err != nil {
		return d, fmt.Errorf("delivery %s: attempts: %w", d.ID, err)
	}
	return d, nil
}

func (s *Store) selectDeliveries(ctx context.Context, query string, args ...any) ([]store.Delivery, error) {
	var out []store.Delivery
	err := s.r.each(ctx, selectDelivery+query, args, func(scan func(...any) error) error {
		d, err := s.scanDelivery(scan)
		out = append(out, d)
		return err
	})
	return out, err
}

// QueuedLanes implements store.Deliveries, in the order in which the chats were first
// seen. It steps through the partial index from lane to lane, so that a lane with
// ten thousand waiting costs as much as one with one.
func (s *Store) QueuedLanes(ctx context.Context, endpoint string, after store.LaneRef, limit int) ([]store.LaneRef, error) {
	endpointN, ok := s.names.find(endpoint)
	if !ok {
		return nil, nil
	}
	var from int64
	if after != (store.LaneRef{}) {
		var err error
		if from, err = s.chatNumber(ctx, after.Account, after.Chat); err != nil {
			return nil, fmt.Errorf("list queued lanes: %w", err)
		}
	}
	const q = `WITH RECURSIVE lane (c) AS (
			SELECT min(chat_n) FROM deliveries WHERE endpoint_n = ?1 AND state = 0 AND chat_n > ?2
			UNION ALL
			SELECT (SELECT min(chat_n) FROM deliveries WHERE endpoint_n = ?1 AND state = 0 AND chat_n > lane.c)
			FROM lane WHERE lane.c IS NOT NULL
			LIMIT ?3
		) SELECT c.account_n, c.chat FROM lane JOIN chats c ON c.n = lane.c ORDER BY c.n`
	var out []store.LaneRef
	err := s.r.each(ctx, q, []any{endpointN, from, limitOr(limit)}, func(scan func(...any) error) error {
		var accountN int64
		ref := store.LaneRef{Endpoint: endpoint}
		if err := scan(&accountN, &ref.Chat); err != nil {
			return err
		}
		ref.Account = s.names.name(accountN)
		out = append(out, ref)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list queued lanes: %w", err)
	}
	return out, nil
}

// QueuedLanesIn implements store.Deliveries, in the same order. It reads all that is queued.
func (s *Store) QueuedLanesIn(ctx context.Context, endpoint string, partitions []int, after store.LaneRef, limit int) ([]store.LaneState, error) {
	endpointN, ok := s.names.find(endpoint)
	if !ok || len(partitions) == 0 {
		return nil, nil
	}
	var from int64
	if after != (store.LaneRef{}) {
		var err error
		if from, err = s.chatNumber(ctx, after.Account, after.Chat); err != nil {
			return nil, fmt.Errorf("list queued lanes: %w", err)
		}
	}
	args := []any{endpointN, from}
	for _, p := range partitions {
		args = append(args, p)
	}
	q := `SELECT c.account_n, c.chat, count(*), max(d.seq) FROM deliveries d JOIN chats c ON c.n = d.chat_n
		WHERE d.endpoint_n = ? AND d.state = 0 AND d.chat_n > ? AND d.part IN (?` + strings.Repeat(", ?", len(partitions)-1) + `)
		GROUP BY d.chat_n ORDER BY d.chat_n LIMIT ?`
	var out []store.LaneState
	err := s.r.each(ctx, q, append(args, limitOr(limit)), func(scan func(...any) error) error {
		var accountN, queued int64
		l := store.LaneState{LaneRef: store.LaneRef{Endpoint: endpoint}}
		if err := scan(&accountN, &l.Chat, &queued, &l.Last); err != nil {
			return err
		}
		l.Account, l.Queued = s.names.name(accountN), int(queued)
		out = append(out, l)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list queued lanes: %w", err)
	}
	return out, nil
}

// LaneDeliveries implements store.Deliveries.
func (s *Store) LaneDeliveries(ctx context.Context, lane store.LaneRef, after uint64, limit int) ([]store.Delivery, error) {
	endpointN, known := s.names.find(lane.Endpoint)
	accountN, known2 := s.names.find(lane.Account)
	if !known || !known2 {
		return nil, nil
	}
	out, err := s.selectDeliveries(ctx, `WHERE d.endpoint_n = ? AND d.state = 0 AND d.seq > ?
		AND d.chat_n = (SELECT n FROM chats WHERE account_n = ? AND chat = ?) ORDER BY d.seq LIMIT ?`,
		endpointN, int64(after), accountN, lane.Chat, limitOr(limit)) //nolint:gosec // see value
	if err != nil {
		return nil, fmt.Errorf("list lane: %w", err)
	}
	return out, nil
}

func (s *Store) delivery(ctx context.Context, id string) (store.Delivery, error) {
	ds, err := s.selectDeliveries(ctx, `WHERE d.id = ?`, packID(id))
	if err == nil && len(ds) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Delivery{}, err
	}
	return ds[0], nil
}

// Delivery implements store.Deliveries.
func (s *Store) Delivery(ctx context.Context, id string) (store.Delivery, error) {
	d, err := s.delivery(ctx, id)
	if err != nil {
		return d, fmt.Errorf("delivery %s: %w", id, err)
	}
	return d, nil
}

// ListDeliveries implements store.Deliveries.
func (s *Store) ListDeliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	before := int64(math.MaxInt64)
	if q.Before != "" {
		var err error
		if before, err = s.cursor(ctx, `SELECT n FROM deliveries WHERE id = ?`, q.Before); err != nil {
			return nil, fmt.Errorf("list deliveries: %w", err)
		}
	}
	where, args := `WHERE d.n < ?`, []any{before}
	if q.Endpoint != "" {
		endpointN, ok := s.names.find(q.Endpoint)
		if !ok {
			return nil, nil
		}
		where += ` AND d.endpoint_n = ?`
		args = append(args, endpointN)
	}
	if q.State != "" {
		number := deliveryStates.number(q.State)
		where += ` AND d.state = ?`
		if number > 1 {
			where += ` AND d.state > 1` // says to the planner that the partial index will do
		}
		args = append(args, number)
	}
	if q.EventID != "" {
		where += ` AND d.event_n = (SELECT n FROM events WHERE id = ?)`
		args = append(args, packID(q.EventID))
	}
	if len(q.Accounts) > 0 {
		in, ns := s.among(`+c.account_n`, q.Accounts) // + says to the planner: not by the chats' index
		where += ` AND ` + in
		args = append(args, ns...)
	}
	out, err := s.selectDeliveries(ctx, where+` ORDER BY d.n DESC LIMIT ?`, append(args, limitOr(q.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	return out, nil
}

// RequeueDelivery implements store.Deliveries.
func (s *Store) RequeueDelivery(ctx context.Context, id string, due time.Time) (store.Delivery, error) {
	var out store.Delivery
	err := s.write(ctx, 0, func(t *tx) error {
		n, err := t.exec(`UPDATE deliveries SET state = 0, generation = generation + 1, attempt = 0, due = ?, stepped = 0,
			reason = '', updated_at = ? WHERE id = ? AND state <> 0`, ms(due), ms(s.now()), packID(id))
		if err != nil {
			return err
		}
		found := false
		out, err = s.scanDelivery(func(dest ...any) (err error) {
			found, err = t.row(selectDelivery+`WHERE d.id = ?`, []any{packID(id)}, dest...)
			return err
		})
		switch {
		case err != nil:
			return err
		case !found:
			return store.ErrNotFound
		case n == 0:
			return store.ErrStale
		}
		return nil
	})
	if err != nil {
		return store.Delivery{}, fmt.Errorf("requeue delivery %s: %w", id, err)
	}
	return out, nil
}

// movePiece is how many rows MoveDeliveries changes in one write.
const movePiece = 1000

// MoveDeliveries implements store.Deliveries.
func (s *Store) MoveDeliveries(ctx context.Context, endpoint string, from, to store.DeliveryState, reason string, at time.Time) (int, error) {
	if at.IsZero() {
		at = s.now()
	}
	moved := 0
	fromN, toN := deliveryStates.number(from), deliveryStates.number(to)
	if fromN == toN {
		return 0, fmt.Errorf("move deliveries from %s to %s: nothing to do", from, to)
	}
	for _, err := range []error{deliveryStates.known(from), deliveryStates.known(to)} {
		if err != nil {
			return 0, fmt.Errorf("move deliveries: %w", err)
		}
	}
	endpointN, ok := s.names.find(endpoint)
	if !ok {
		return 0, nil
	}
	// The state stands in the text so that the planner sees which partial index serves.
	only := fmt.Sprintf(`state = %d`, fromN)
	if fromN > 1 {
		only += ` AND state > 1`
	}
	for {
		var n int64
		err := s.write(ctx, 0, func(t *tx) (err error) {
			n, err = t.exec(`UPDATE deliveries SET state = ?1, reason = ?2, updated_at = ?3,
				due = CASE ?1 WHEN 0 THEN ?3 ELSE due END
				WHERE n IN (SELECT n FROM deliveries WHERE endpoint_n = ?4 AND `+only+` LIMIT ?5)`,
				toN, reason, ms(at), endpointN, movePiece)
			return err
		})
		moved += int(n)
		if err != nil {
			return moved, fmt.Errorf("move deliveries of %s: %w", endpoint, err)
		}
		if n < movePiece {
			return moved, nil
		}
	}
}

// CountDeliveries implements store.Deliveries. Queued and buried ones are counted in
// their small indexes, and what is left of the whole must be ok.
func (s *Store) CountDeliveries(ctx context.Context, endpoint string) (map[store.DeliveryState]int, time.Time, error) {
	counts := map[store.DeliveryState]int{}
	endpointN, ok := s.names.find(endpoint)
	if !ok {
		return counts, time.Time{}, nil
	}
	const q = `SELECT -1, count(*), 0 FROM deliveries WHERE endpoint_n = ?1
		UNION ALL SELECT 0, count(*), coalesce((SELECT created_at FROM deliveries WHERE n =
			(SELECT min(n) FROM deliveries WHERE endpoint_n = ?1 AND state = 0)), 0)
			FROM deliveries WHERE endpoint_n = ?1 AND state = 0
		UNION ALL SELECT state, count(*), 0 FROM deliveries WHERE endpoint_n = ?1 AND state > 1 GROUP BY state`
	rest := 0
	var oldest time.Time
	err := s.r.each(ctx, q, []any{endpointN}, func(scan func(...any) error) error {
		var state, count int64
		var created dbTime
		if err := scan(&state, &count, &created); err != nil {
			return err
		}
		switch {
		case state < 0:
			rest += int(count)
			return nil
		case state == 0:
			oldest = created.Time
		}
		rest -= int(count)
		if count > 0 {
			counts[deliveryStates.word(state)] = int(count)
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("count deliveries of %s: %w", endpoint, err)
	}
	if rest > 0 {
		counts[store.DeliveryOK] = rest
	}
	return counts, oldest, nil
}
