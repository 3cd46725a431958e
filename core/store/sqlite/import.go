package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

// Import implements store.Transfer: one transaction.
func (s *Store) Import(ctx context.Context, k store.Kind, records []any) error {
	if len(records) == 0 {
		return nil
	}
	err := s.imported(ctx, k, records)
	s.aliases.forget()
	if err != nil {
		return fmt.Errorf("import %s: %w", k, err)
	}
	return nil
}

func (s *Store) imported(ctx context.Context, k store.Kind, records []any) error {
	if k == store.KindEvents {
		return s.importEvents(ctx, records)
	}
	each, err := importer(k)
	if err != nil {
		return err
	}
	return s.write(ctx, 0, func(t *tx) error {
		defer t.forget() // what the writer remembers of chats and lanes
		return each(t, records)
	})
}

func importer(k store.Kind) (func(t *tx, records []any) error, error) {
	switch k {
	case store.KindAccounts:
		return typed(importAccount), nil
	case store.KindChats:
		return typed(importChat), nil
	case store.KindAliases:
		return typed(importAlias), nil
	case store.KindMessages:
		return typed(importMessage), nil
	case store.KindSends:
		return typed(importSend), nil
	case store.KindDeliveries:
		return typed(importDelivery), nil
	case store.KindEndpoints:
		return typed(importEndpoint), nil
	case store.KindWebhooks:
		return typed(importWebhook), nil
	case store.KindKV:
		return typed(importKV), nil
	case store.KindLeases:
		return typed(importLease), nil
	}
	return nil, fmt.Errorf("%q is no kind of records", string(k))
}

func typed[T any](one func(*tx, T) error) func(*tx, []any) error {
	return func(t *tx, records []any) error {
		return store.Each(records, func(x T) error { return one(t, x) })
	}
}

func importAccount(t *tx, a store.Account) error {
	_, err := t.exec(`INSERT INTO accounts (`+accountColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, collection = excluded.collection, jid = excluded.jid, lid = excluded.lid,
		state = excluded.state, reason = excluded.reason, connect = excluded.connect, greeted = excluded.greeted,
		created_at = excluded.created_at, updated_at = excluded.updated_at, version = version + 1`,
		a.ID, a.Name, a.Collection, a.JID, a.LID, a.State, a.Reason, a.Connect, a.Greeted, ms(a.CreatedAt), ms(a.UpdatedAt))
	return err
}

// chatNumberOf returns a chat's own row, also of one that was merged into another.
func chatNumberOf(t *tx, account, chat string) (accountN, n int64, err error) {
	if accountN, err = t.names.intern(t, account); err != nil {
		return 0, 0, err
	}
	_, err = t.returning(`INSERT INTO chats (account_n, chat, seq, done, epoch) VALUES (?, ?, 0, 0, 0)
		ON CONFLICT (account_n, chat) DO UPDATE SET seq = seq RETURNING n`, []any{accountN, chat}, &n)
	return accountN, n, err
}

// importChat takes all events for done; those that are not say so when they come.
func importChat(t *tx, c store.ChatRecord) error {
	_, n, err := chatNumberOf(t, c.Account, c.Chat)
	if err != nil {
		return err
	}
	var into any
	if c.MergedInto != "" {
		_, m, err := chatNumberOf(t, c.Account, c.MergedInto)
		if err != nil {
			return err
		}
		into = m
	}
	_, err = t.exec(`UPDATE chats SET seq = ?1, done = ?1, epoch = ?2, merged_into = ?3 WHERE n = ?4`, c.Seq, c.Epoch, into, n)
	return err
}

// importAlias makes the key's row first where it comes after one of its forms.
func importAlias(t *tx, a store.AliasRecord) error {
	accountN, err := t.names.intern(t, a.Account)
	if err != nil {
		return err
	}
	for _, form := range []string{a.Key, a.Form} {
		if _, err := t.exec(`INSERT INTO aliases (account_n, form, root) VALUES (?, ?, 0) ON CONFLICT DO NOTHING`, accountN, form); err != nil {
			return err
		}
		_, err := t.exec(`UPDATE aliases SET root = (SELECT n FROM aliases WHERE account_n = ?1 AND form = ?2)
			WHERE account_n = ?1 AND form = ?3`, accountN, a.Key, form)
		if err != nil {
			return err
		}
	}
	return nil
}

// importEvents encodes the bodies, and stores the large ones, before the transaction.
func (s *Store) importEvents(ctx context.Context, records []any) error {
	type row struct {
		store.StoredEvent
		body []byte
		blob string
	}
	var rows []row
	size := 0
	err := store.Each(records, func(e store.StoredEvent) error {
		bare := *e.Event
		bare.Seq = 0
		body, err := json.Marshal(&bare)
		if err != nil {
			return fmt.Errorf("encode event %s: %w", bare.ID, err)
		}
		r := row{StoredEvent: e, body: body}
		if len(body) > maxInlineBody {
			if r.blob, err = s.putBody(ctx, &bare, body); err != nil {
				return err
			}
			r.body = nil
		}
		size += len(r.body) + len(e.Verdict) + 512
		rows = append(rows, r)
		return nil
	})
	if err != nil {
		return err
	}
	return s.write(ctx, size, func(t *tx) error {
		defer t.forget()
		for _, r := range rows {
			accountN, chatN, err := chatNumberOf(t, r.Event.Account, r.Event.Chat)
			if err != nil {
				return err
			}
			_, err = t.exec(`INSERT INTO events (id, account_n, chat_n, seq, stage, epoch, stored_at, done_at, verdict, body, body_blob)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET chat_n = excluded.chat_n, seq = excluded.seq,
				stage = excluded.stage, epoch = excluded.epoch, stored_at = excluded.stored_at, done_at = excluded.done_at,
				verdict = excluded.verdict, body = excluded.body, body_blob = excluded.body_blob`,
				packID(r.Event.ID), accountN, chatN, r.Event.Seq, r.Stage, r.Epoch, ms(r.StoredAt), ms(r.DoneAt), r.Verdict, r.body, nullText(r.blob))
			if err == nil && r.Stage < store.StageDone {
				_, err = t.exec(`UPDATE chats SET done = min(done, ?) WHERE n = ?`, r.Event.Seq-1, chatN)
			}
			if err != nil {
				return fmt.Errorf("event %s: %w", r.Event.ID, err)
			}
		}
		return nil
	})
}

func importMessage(t *tx, m store.MessageRecord) error {
	accountN, chatN, err := chatNumberOf(t, m.Account, m.Chat)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO messages (n, account_n, chat_n, wa_id, time, updated_at, body)
		SELECT n, ?, ?, ?, ?, ?, ? FROM events WHERE id = ?
		ON CONFLICT (n) DO UPDATE SET chat_n = excluded.chat_n, wa_id = excluded.wa_id, time = excluded.time,
		updated_at = excluded.updated_at, body = excluded.body`,
		accountN, chatN, m.WAID, m.Time.UnixMilli(), ms(m.UpdatedAt), m.Body, packID(m.EventID))
	return err
}

func importSend(t *tx, x store.Send) error {
	return insertSend(t, &x, 0, `ON CONFLICT (id) DO UPDATE SET chat = excluded.chat, wa_id = excluded.wa_id, address = excluded.address,
		event_id = excluded.event_id, rule = excluded.rule, idx = excluded.idx, key = excluded.key, key_hash = excluded.key_hash,
		repeatable = excluded.repeatable, state = excluded.state, attempt = excluded.attempt, epoch = excluded.epoch, reason = excluded.reason,
		sent_at = excluded.sent_at, created_at = excluded.created_at, updated_at = excluded.updated_at, payload = excluded.payload`)
}

func importDelivery(t *tx, d store.Delivery) error {
	if err := deliveryStates.known(d.State); err != nil {
		return err
	}
	var eventN int64 // stays 0 if the event is gone
	if _, err := t.row(`SELECT n FROM events WHERE id = ?`, []any{packID(d.EventID)}, &eventN); err != nil {
		return err
	}
	endpointN, err := t.names.intern(t, d.Endpoint)
	if err != nil {
		return err
	}
	_, chatN, err := chatNumberOf(t, d.Account, d.Chat)
	if err != nil {
		return err
	}
	lines := make([][]byte, len(d.Attempts))
	for i, a := range d.Attempts {
		if lines[i], err = json.Marshal(a); err != nil {
			return err
		}
	}
	var attempts []byte
	if len(lines) > 0 {
		attempts = bytes.Join(lines, []byte{'\n'})
	}
	_, err = t.exec(`INSERT INTO deliveries (id, event_n, endpoint_n, chat_n, part, seq, prev, state, generation, attempt, due, stepped,
		epoch, reason, created_at, updated_at, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET prev = excluded.prev, state = excluded.state, generation = excluded.generation,
		attempt = excluded.attempt, due = excluded.due, stepped = excluded.stepped, epoch = excluded.epoch,
		reason = excluded.reason, created_at = excluded.created_at, updated_at = excluded.updated_at, attempts = excluded.attempts`,
		packID(d.ID), eventN, endpointN, chatN, d.Partition, d.Seq, d.Prev, deliveryStates.number(d.State), d.Generation, d.Attempt,
		ms(d.Due), d.Stepped, d.Epoch, d.Reason, ms(d.CreatedAt), ms(d.UpdatedAt), attempts)
	return err
}

func importEndpoint(t *tx, e store.EndpointState) error {
	_, err := t.exec(`INSERT OR REPLACE INTO endpoints (id, disabled, reason, open_since, last_ok, updated_at) VALUES (?, ?, ?, ?, ?, ?)`,
		e.ID, e.Disabled, e.Reason, ms(e.OpenSince), ms(e.LastOK), ms(e.UpdatedAt))
	return err
}

func importWebhook(t *tx, w store.Webhook) error {
	events, err := json.Marshal(w.Events)
	headers, herr := json.Marshal(w.Headers)
	if err := errors.Join(err, herr); err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO webhooks (id, url, account, events, secret, headers, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET url = excluded.url, account = excluded.account, events = excluded.events,
		secret = excluded.secret, headers = excluded.headers, created_at = excluded.created_at`,
		w.ID, w.URL, w.Account, string(events), w.Secret, string(headers), ms(w.CreatedAt))
	return err
}

func importKV(t *tx, r store.KVRecord) error {
	var expires any
	if !r.Expires.IsZero() {
		expires = ms(r.Expires)
	}
	if r.Value == nil {
		r.Value = []byte{}
	}
	_, err := t.exec(`INSERT INTO kv (namespace, key, value, expires) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires`, r.Namespace, r.Key, r.Value, expires)
	return err
}

func importLease(t *tx, l store.Lease) error {
	_, err := t.exec(`INSERT INTO leases (name, owner, epoch, until) VALUES (?, '', ?, 0)
		ON CONFLICT DO UPDATE SET epoch = max(epoch, excluded.epoch)`, l.Name, l.Epoch)
	return err
}
