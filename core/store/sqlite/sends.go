package sqlite

import (
	"context"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

const sendColumns = `id, account_n, chat, wa_id, address, event_id, rule, idx, key, key_hash, repeatable,
	state, attempt, epoch, reason, sent_at, created_at, updated_at, payload`

// insertSend writes a row; now stands in for times that are not set, and onConflict is
// appended to the statement.
func insertSend(t *tx, s *store.Send, now int64, onConflict string) error {
	state := s.State
	if state == "" {
		state = store.SendQueued
	}
	if err := sendStates.known(state); err != nil {
		return err
	}
	accountN, err := t.names.intern(t, s.Account)
	if err != nil {
		return err
	}
	created, updated := ms(s.CreatedAt), ms(s.UpdatedAt)
	if created == 0 {
		created = now
	}
	if updated == 0 {
		updated = created
	}
	_, err = t.exec(`INSERT INTO sends (`+sendColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) `+onConflict,
		packID(s.ID), accountN, s.Chat, s.WAID, s.To, packID(s.EventID), s.Rule, s.Index, nullText(s.Key), s.KeyHash, s.Repeat,
		sendStates.number(state), s.Attempt, s.Epoch, s.Reason, ms(s.SentAt), created, updated, s.Payload)
	return err
}

func (s *Store) scanSend(scan func(...any) error) (store.Send, error) {
	var out store.Send
	var id, event dbID
	var accountN, index, repeat, state, attempt int64
	var key any
	var sent, created, updated dbTime
	err := scan(&id, &accountN, &out.Chat, &out.WAID, &out.To, &event, &out.Rule, &index, &key, &out.KeyHash, &repeat,
		&state, &attempt, &out.Epoch, &out.Reason, &sent, &created, &updated, &out.Payload)
	if err != nil {
		return out, err
	}
	out.ID, out.EventID, out.Account = string(id), string(event), s.names.name(accountN)
	out.Key, _ = key.(string)
	out.Index, out.Attempt, out.Repeat = int(index), int(attempt), repeat != 0
	out.State = sendStates.word(state)
	out.SentAt, out.CreatedAt, out.UpdatedAt = sent.Time, created.Time, updated.Time
	return out, nil
}

// InsertSend implements store.Sends.
func (s *Store) InsertSend(ctx context.Context, snd store.Send) error {
	now := ms(s.now())
	err := s.write(ctx, len(snd.Payload)+512, func(t *tx) error {
		err := insertSend(t, &snd, now, "")
		if isUnique(err) {
			return store.ErrExists
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("insert send %s: %w", snd.ID, err)
	}
	return nil
}

func (s *Store) oneSend(ctx context.Context, where string, args ...any) (store.Send, error) {
	out, err := s.scanSend(func(dest ...any) error {
		return s.r.row(ctx, `SELECT `+sendColumns+` FROM sends WHERE `+where, args, dest...)
	})
	if noRows(err) {
		err = store.ErrNotFound
	}
	return out, err
}

// Send implements store.Sends.
func (s *Store) Send(ctx context.Context, id string) (store.Send, error) {
	out, err := s.oneSend(ctx, `id = ?`, packID(id))
	if err != nil {
		return store.Send{}, fmt.Errorf("send %s: %w", id, err)
	}
	return out, nil
}

// SendByWAID implements store.Sends.
func (s *Store) SendByWAID(ctx context.Context, account, waID string) (store.Send, error) {
	accountN, ok := s.names.find(account)
	if !ok {
		return store.Send{}, fmt.Errorf("send with WhatsApp id %s: %w", waID, store.ErrNotFound)
	}
	out, err := s.oneSend(ctx, `account_n = ? AND wa_id = ?`, accountN, waID)
	if err != nil {
		return store.Send{}, fmt.Errorf("send with WhatsApp id %s: %w", waID, err)
	}
	return out, nil
}

// SendByKey implements store.Sends.
func (s *Store) SendByKey(ctx context.Context, account, key string) (store.Send, error) {
	accountN, ok := s.names.find(account)
	if !ok || key == "" {
		return store.Send{}, fmt.Errorf("send by idempotency key: %w", store.ErrNotFound)
	}
	out, err := s.oneSend(ctx, `account_n = ? AND key = ?`, accountN, key)
	if err != nil {
		return store.Send{}, fmt.Errorf("send by idempotency key: %w", err)
	}
	return out, nil
}

// MoveSend implements store.Sends.
func (s *Store) MoveSend(ctx context.Context, m store.SendMove) (store.Send, error) {
	if err := sendStates.known(m.To); err != nil {
		return store.Send{}, fmt.Errorf("move send %s: %w", m.ID, err)
	}
	if m.At.IsZero() {
		m.At = s.now()
	}
	var out store.Send
	err := s.write(ctx, 0, func(t *tx) error {
		var err error
		found := false
		out, err = s.scanSend(func(dest ...any) (err error) {
			found, err = t.row(`SELECT `+sendColumns+` FROM sends WHERE id = ?`, []any{packID(m.ID)}, dest...)
			return err
		})
		switch {
		case err != nil:
			return err
		case !found:
			return store.ErrNotFound
		case out.State != m.From, m.Attempt != 0 && out.Attempt != m.Attempt, out.Epoch > m.Epoch:
			return fmt.Errorf("%w: it is %s, attempt %d", store.ErrStale, out.State, out.Attempt)
		}
		out.State, out.Epoch, out.Reason, out.UpdatedAt = m.To, m.Epoch, m.Reason, fromMS(ms(m.At))
		switch m.To {
		case store.SendSending:
			out.Attempt++
		case store.SendQueued: // it did not leave
			out.Attempt = max(out.Attempt-1, 0)
		case store.SendSent:
			out.SentAt = out.UpdatedAt
		}
		_, err = t.exec(`UPDATE sends SET state = ?, attempt = ?, epoch = ?, reason = ?, sent_at = ?, updated_at = ? WHERE id = ?`,
			sendStates.number(out.State), out.Attempt, out.Epoch, out.Reason, ms(out.SentAt), ms(out.UpdatedAt), packID(m.ID))
		return err
	})
	if err != nil {
		return store.Send{}, fmt.Errorf("move send %s to %s: %w", m.ID, m.To, err)
	}
	return out, nil
}

func (s *Store) listSends(ctx context.Context, where string, args ...any) ([]store.Send, error) {
	var out []store.Send
	err := s.r.each(ctx, `SELECT `+sendColumns+` FROM sends WHERE `+where, args, func(scan func(...any) error) error {
		snd, err := s.scanSend(scan)
		out = append(out, snd)
		return err
	})
	return out, err
}

// ListSends implements store.Sends.
func (s *Store) ListSends(ctx context.Context, q store.SendQuery) ([]store.Send, error) {
	from, err := s.cursor(ctx, `SELECT n FROM sends WHERE id = ?`, q.After)
	if err != nil {
		return nil, fmt.Errorf("list sends: %w", err)
	}
	where, args := `n > ?`, []any{from}
	if q.Account != "" {
		accountN, ok := s.names.find(q.Account)
		if !ok {
			return nil, nil
		}
		where += ` AND account_n = ?`
		args = append(args, accountN)
	}
	if q.State != "" {
		number := sendStates.number(q.State)
		where += ` AND state = ?`
		if number < 2 {
			where += ` AND state < 2` // says to the planner that the partial index will do
		}
		if number > 2 {
			where += ` AND state > 2` // likewise
		}
		args = append(args, number)
	}
	out, err := s.listSends(ctx, where+` ORDER BY n LIMIT ?`, append(args, limitOr(q.Limit))...)
	if err != nil {
		return nil, fmt.Errorf("list sends: %w", err)
	}
	return out, nil
}

// SendsOfEvent implements store.Sends.
func (s *Store) SendsOfEvent(ctx context.Context, eventID string) ([]store.Send, error) {
	out, err := s.listSends(ctx, `event_id = ? ORDER BY rule, idx`, packID(eventID))
	if err != nil {
		return nil, fmt.Errorf("list sends of event %s: %w", eventID, err)
	}
	return out, nil
}
