package sqlite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// maxInlineBody is the size in bytes from which an event's JSON goes to a blob, so
// that the event table stays dense.
const maxInlineBody = 64 << 10

// AppendEvent implements store.Events.
func (s *Store) AppendEvent(ctx context.Context, a store.Append) (store.Appended, error) {
	out, err := s.appendEvent(ctx, a)
	if err != nil {
		return store.Appended{}, fmt.Errorf("append event %s: %w", a.Event.ID, err)
	}
	return out, nil
}

// encoded is an append with everything done that need not be done by the writer.
type encoded struct {
	store.Append
	ids      []any
	body     []byte // nil if in bodyBlob
	bodyBlob string
	storedAt int64
}

func (s *Store) appendEvent(ctx context.Context, a store.Append) (store.Appended, error) {
	ev := a.Event
	if ev.ID == "" || ev.Account == "" {
		return store.Appended{}, errors.New("event without id or account")
	}
	bare := *ev
	bare.Seq = 0 // the columns are the truth for what the engine assigns
	body, err := json.Marshal(&bare)
	if err != nil {
		return store.Appended{}, fmt.Errorf("encode: %w", err)
	}
	e := encoded{Append: a, body: body, storedAt: ms(s.now())}
	for _, id := range append([]string{ev.ID}, a.OtherIDs...) {
		if id != "" {
			e.ids = append(e.ids, packID(id))
		}
	}
	if len(body) > maxInlineBody {
		if e.bodyBlob, err = s.putBody(ctx, ev, body); err != nil {
			return store.Appended{}, err
		}
		e.body = nil
	}
	var out store.Appended
	err = s.write(ctx, len(e.body)+512, func(t *tx) (err error) {
		out, err = e.write(t)
		return err
	})
	return out, err
}

// putBody stores a large body as a file of the engine's own. The name covers the
// content: a redelivered event may differ in what is no part of its identity, and an
// append that failed may have left a file.
func (s *Store) putBody(ctx context.Context, ev *sdk.Event, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	id := "event/" + ev.ID + "/" + hex.EncodeToString(sum[:8])
	_, err := s.putBlob(ctx, store.BlobInfo{ID: id, Account: ev.Account, MIME: "application/json"}, bytes.NewReader(body), true)
	if err != nil && !errors.Is(err, store.ErrExists) {
		return "", fmt.Errorf("store body: %w", err)
	}
	return id, nil
}

// write appends in the writer's transaction: a known id is a duplicate and takes no
// number; otherwise the event and its chat's counter move together.
func (e *encoded) write(t *tx) (store.Appended, error) {
	out, err := e.insert(t)
	if err != nil {
		return out, err
	}
	if e.Sent != nil {
		_, err = t.exec(`UPDATE sends SET state = ?, sent_at = ?, epoch = max(epoch, ?), reason = '', updated_at = ?
			WHERE id = ? AND state = ?`,
			sendStates.number(store.SendSent), ms(e.Sent.At), e.Epoch, e.storedAt,
			packID(e.Sent.SendID), sendStates.number(store.SendSending))
	}
	return out, err
}

func (e *encoded) insert(t *tx) (store.Appended, error) {
	ev := e.Event
	// The event's own id is left to the insert, which has to look anyway.
	if out, err := findEvent(t, e.ids[1:]); err != nil || out.Duplicate {
		return out, err
	}
	accountN, err := t.names.intern(t, ev.Account)
	if err != nil {
		return store.Appended{}, err
	}
	c, err := t.chat(accountN, ev.Chat)
	if err != nil {
		return store.Appended{}, err
	}
	if c.epoch > e.Epoch {
		// A repetition is a success also for one who may write nothing new.
		out, err := findEvent(t, e.ids[:1])
		if err == nil && !out.Duplicate {
			err = fmt.Errorf("chat: %w", store.ErrStale)
		}
		return out, err
	}
	seq := c.seq + 1
	n, inserted, err := t.insert(`INSERT INTO events
		(id, account_n, chat_n, seq, stage, epoch, stored_at, done_at, body, body_blob)
		VALUES (?, ?, ?, ?, 0, ?, ?, 0, ?, ?) ON CONFLICT (id) DO NOTHING`,
		e.ids[0], accountN, c.n, seq, e.Epoch, e.storedAt, e.body, nullText(e.bodyBlob))
	if err != nil {
		return store.Appended{}, err
	}
	if !inserted {
		out, err := findEvent(t, e.ids[:1])
		if err == nil && !out.Duplicate {
			err = errors.New("the event is stored, but its chat is not")
		}
		return out, err
	}
	if _, err := t.exec(`UPDATE chats SET seq = ?, epoch = ? WHERE n = ?`, seq, e.Epoch, c.n); err != nil {
		return store.Appended{}, err
	}
	c.seq, c.epoch = seq, e.Epoch
	out := store.Appended{ID: ev.ID, Chat: c.key, Seq: seq}
	if ev.Type != sdk.TypeMessage || ev.Message == nil {
		return out, nil
	}
	at := ev.Message.Time
	if at.IsZero() {
		at = ev.Time
	}
	_, err = t.exec(`INSERT INTO messages (n, account_n, chat_n, wa_id, time, updated_at) VALUES (?, ?, ?, ?, ?, ?)`,
		n, accountN, c.n, ev.Message.ID, ms(at), e.storedAt)
	return out, err
}

// findEvent looks for an event that is stored under one of the ids.
func findEvent(t *tx, ids []any) (store.Appended, error) {
	for _, id := range ids {
		var out store.Appended
		var stored dbID
		found, err := t.row(`SELECT e.id, e.seq, c.chat FROM events e JOIN chats c ON c.n = e.chat_n WHERE e.id = ?`,
			[]any{id}, &stored, &out.Seq, &out.Chat)
		if err != nil {
			return out, err
		}
		if found {
			out.ID, out.Duplicate = string(stored), true
			return out, nil
		}
	}
	return store.Appended{}, nil
}
