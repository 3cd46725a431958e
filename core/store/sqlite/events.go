package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// selectEvent goes with eventRow. The chats join gives the key under which the event is
// numbered, which is not always the one in its body.
const selectEvent = `SELECT e.account_n, c.chat, e.seq, e.stage, e.epoch, e.stored_at, e.done_at, e.verdict, e.body, e.body_blob
	FROM events e JOIN chats c ON c.n = e.chat_n `

// eventRow is an event before its body is decoded, which happens after the rows are
// closed: a body in a blob needs a connection of its own.
type eventRow struct {
	accountN         int64
	chat             string
	seq              uint64
	stage            int64
	epoch            uint64
	storedAt, doneAt dbTime
	verdict, body    []byte
	bodyBlob         *string
}

func (r *eventRow) scan(scan func(...any) error) error {
	return scan(&r.accountN, &r.chat, &r.seq, &r.stage, &r.epoch, &r.storedAt, &r.doneAt, &r.verdict, &r.body, &r.bodyBlob)
}

func (s *Store) decodeEvent(ctx context.Context, r *eventRow) (store.StoredEvent, error) {
	ev, err := s.decodeBody(ctx, r.body, r.bodyBlob)
	if err != nil {
		return store.StoredEvent{}, err
	}
	ev.Account, ev.Chat, ev.Seq = s.names.name(r.accountN), r.chat, r.seq
	return store.StoredEvent{
		Event: ev, Stage: store.Stage(r.stage), Epoch: r.epoch, Verdict: r.verdict,
		StoredAt: r.storedAt.Time, DoneAt: r.doneAt.Time,
	}, nil
}

func (s *Store) decodeBody(ctx context.Context, body []byte, blob *string) (*sdk.Event, error) {
	if blob != nil {
		f, _, err := s.openBlob(ctx, *blob)
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

func (s *Store) selectEvents(ctx context.Context, query string, args ...any) ([]store.StoredEvent, error) {
	var rows []*eventRow
	err := s.r.each(ctx, query, args, func(scan func(...any) error) error {
		r := new(eventRow)
		rows = append(rows, r)
		return r.scan(scan)
	})
	if err != nil {
		return nil, err
	}
	out := make([]store.StoredEvent, 0, len(rows))
	for _, r := range rows {
		ev, err := s.decodeEvent(ctx, r)
		if err != nil {
			return nil, err
		}
		out = append(out, ev)
	}
	return out, nil
}

// Event implements store.Events.
func (s *Store) Event(ctx context.Context, id string) (store.StoredEvent, error) {
	evs, err := s.selectEvents(ctx, selectEvent+`WHERE e.id = ?`, packID(id))
	if err == nil && len(evs) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.StoredEvent{}, fmt.Errorf("event %s: %w", id, err)
	}
	return evs[0], nil
}

// chatNumber finds a chat's row; store.ErrNotFound if nothing was ever stored in it.
func (s *Store) chatNumber(ctx context.Context, account, chat string) (int64, error) {
	accountN, ok := s.names.find(account)
	if !ok {
		return 0, store.ErrNotFound
	}
	var n int64
	err := s.r.row(ctx, `SELECT n FROM chats WHERE account_n = ? AND chat = ?`, []any{accountN, chat}, &n)
	if noRows(err) {
		err = store.ErrNotFound
	}
	return n, err
}

// UnfinishedChats implements store.Events, in the order in which the chats were first seen.
func (s *Store) UnfinishedChats(ctx context.Context, after store.ChatRef, limit int) ([]store.ChatRef, error) {
	var from int64
	if after != (store.ChatRef{}) {
		var err error
		if from, err = s.chatNumber(ctx, after.Account, after.Chat); err != nil {
			return nil, fmt.Errorf("list unfinished chats: %w", err)
		}
	}
	const q = `SELECT account_n, chat FROM chats WHERE done < seq AND n > ? ORDER BY n LIMIT ?`
	var out []store.ChatRef
	err := s.r.each(ctx, q, []any{from, limitOr(limit)}, func(scan func(...any) error) error {
		var accountN int64
		var ref store.ChatRef
		if err := scan(&accountN, &ref.Chat); err != nil {
			return err
		}
		ref.Account = s.names.name(accountN)
		out = append(out, ref)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list unfinished chats: %w", err)
	}
	return out, nil
}

// UnfinishedEvents implements store.Events.
func (s *Store) UnfinishedEvents(ctx context.Context, chat store.ChatRef, after uint64, limit int) ([]store.StoredEvent, error) {
	accountN, ok := s.names.find(chat.Account)
	if !ok {
		return nil, nil
	}
	evs, err := s.selectEvents(ctx, selectEvent+`WHERE c.account_n = ? AND c.chat = ? AND e.stage < 2 AND e.seq > max(?, c.done)
		ORDER BY e.seq LIMIT ?`, accountN, chat.Chat, int64(after), limitOr(limit)) //nolint:gosec // see value
	if err != nil {
		return nil, fmt.Errorf("list unfinished events: %w", err)
	}
	return evs, nil
}

// ListEvents implements store.Events.
func (s *Store) ListEvents(ctx context.Context, account, after string, limit int) ([]store.StoredEvent, error) {
	from, err := s.cursor(ctx, `SELECT n FROM events WHERE id = ?`, after)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	query, args := selectEvent+`WHERE e.n > ?1 ORDER BY e.n LIMIT ?2`, []any{from, limitOr(limit)}
	if account != "" {
		accountN, ok := s.names.find(account)
		if !ok {
			return nil, nil
		}
		query = selectEvent + `WHERE e.account_n = ?3 AND e.n > ?1 ORDER BY e.n LIMIT ?2`
		args = append(args, accountN)
	}
	evs, err := s.selectEvents(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	return evs, nil
}

// cursor turns the id of the last record of a page into its n; "" is 0.
func (s *Store) cursor(ctx context.Context, query, id string) (int64, error) {
	if id == "" {
		return 0, nil
	}
	var n int64
	err := s.r.row(ctx, query, []any{packID(id)}, &n)
	if noRows(err) {
		err = fmt.Errorf("page after %s: %w", id, store.ErrNotFound)
	}
	return n, err
}
