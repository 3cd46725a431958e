package sqlite

import (
	"context"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

// ListChats implements store.Messages.
func (s *Store) ListChats(ctx context.Context, account string) ([]store.ChatSummary, error) {
	accountN, ok := s.names.find(account)
	if !ok {
		return nil, nil
	}
	counts := map[string]int{}
	err := s.r.each(ctx, `SELECT c.chat, count(*) FROM messages m JOIN chats c ON c.n = m.chat_n WHERE m.account_n = ? GROUP BY m.chat_n`,
		[]any{accountN}, func(scan func(...any) error) error {
			var chat string
			var n int
			err := scan(&chat, &n)
			counts[chat] = n
			return err
		})
	var newest []store.Message
	if err == nil {
		newest, err = s.selectMessages(ctx, selectMessage+`WHERE m.n IN (
			SELECT (SELECT x.n FROM messages x WHERE x.chat_n = t.chat_n ORDER BY x.time DESC, x.n DESC LIMIT 1)
			FROM (SELECT DISTINCT chat_n FROM messages WHERE account_n = ?) t) ORDER BY m.time DESC, m.n DESC`, accountN)
	}
	if err != nil {
		return nil, fmt.Errorf("list chats of %s: %w", account, err)
	}
	out := make([]store.ChatSummary, len(newest))
	for i, m := range newest {
		// A chat whose first message came between the two reads has that one.
		out[i] = store.ChatSummary{Chat: m.Chat, Messages: max(counts[m.Chat], 1), Last: m}
	}
	return out, nil
}
