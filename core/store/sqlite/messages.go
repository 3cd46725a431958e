package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

// maxMessages is the longest page.
const maxMessages = 500

const selectMessage = `SELECT m.account_n, c.chat, m.updated_at, m.body, e.id, e.stored_at, e.body, e.body_blob
	FROM messages m JOIN events e ON e.n = m.n JOIN chats c ON c.n = m.chat_n `

type messageRow struct {
	accountN          int64
	chat              string
	event             dbID
	stored, updated   dbTime
	changed, original []byte
	originalBlob      *string
}

func (s *Store) selectMessages(ctx context.Context, query string, args ...any) ([]store.Message, error) {
	var rows []*messageRow
	err := s.r.each(ctx, query, args, func(scan func(...any) error) error {
		r := new(messageRow)
		rows = append(rows, r)
		return scan(&r.accountN, &r.chat, &r.updated, &r.changed, &r.event, &r.stored, &r.original, &r.originalBlob)
	})
	if err != nil {
		return nil, err
	}
	out := make([]store.Message, 0, len(rows))
	for _, r := range rows {
		ev, err := s.decodeBody(ctx, r.original, r.originalBlob)
		if err != nil {
			return nil, err
		}
		if r.changed != nil {
			if err := json.Unmarshal(r.changed, &ev.Message); err != nil {
				return nil, fmt.Errorf("decode message: %w", err)
			}
		}
		out = append(out, store.Message{
			EventID: string(r.event), Account: s.names.name(r.accountN), Chat: r.chat,
			Message: ev.Message, Raw: ev.Raw, CreatedAt: r.stored.Time, UpdatedAt: r.updated.Time,
		})
	}
	return out, nil
}

// Message implements store.Messages.
func (s *Store) Message(ctx context.Context, account, waID string) (store.Message, error) {
	accountN, ok := s.names.find(account)
	if !ok {
		return store.Message{}, fmt.Errorf("message %s: %w", waID, store.ErrNotFound)
	}
	out, err := s.selectMessages(ctx, selectMessage+`WHERE m.account_n = ? AND m.wa_id = ? ORDER BY m.time DESC, m.n DESC LIMIT 1`, accountN, waID)
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
	where, args := `WHERE 1`, []any{}
	and := func(clause string, arg any) {
		where += " AND " + clause
		args = append(args, arg)
	}
	switch {
	case q.Account != "" && q.Chat != "":
		n, err := s.chatNumber(ctx, q.Account, q.Chat)
		if err != nil {
			return nothing(err)
		}
		and(`m.chat_n = ?`, n)
	case q.Account != "":
		n, ok := s.names.find(q.Account)
		if !ok {
			return nil, 0, nil
		}
		and(`m.account_n = ?`, n)
	case q.Chat != "":
		// The same chat key in several accounts: rare, and small enough to look up.
		and(`m.chat_n IN (SELECT n FROM chats WHERE chat = ?)`, q.Chat)
	}
	if len(q.Accounts) > 0 {
		in, ns := s.among(`m.account_n`, q.Accounts)
		where += " AND " + in
		args = append(args, ns...)
	}
	if !q.After.IsZero() {
		and(`m.time > ?`, ms(q.After))
	}
	if !q.Before.IsZero() {
		and(`m.time < ?`, ms(q.Before))
	}
	var total int
	if err := s.r.row(ctx, `SELECT count(*) FROM messages m `+where, args, &total); err != nil {
		return nil, 0, fmt.Errorf("count messages: %w", err)
	}
	limit := min(limitOr(q.Limit), maxMessages)
	page, err := s.selectMessages(ctx, selectMessage+where+` ORDER BY m.time DESC, m.n DESC LIMIT ? OFFSET ?`,
		append(args, limit, max(q.Offset, 0))...)
	if err != nil {
		return nil, 0, fmt.Errorf("list messages: %w", err)
	}
	return page, total, nil
}

// nothing is the page of a chat that does not exist.
func nothing(err error) ([]store.Message, int, error) {
	if isNotFound(err) {
		return nil, 0, nil
	}
	return nil, 0, fmt.Errorf("list messages: %w", err)
}
