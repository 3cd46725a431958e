package mongo

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/wildcathub/wildcat/core/store"
)

// chatCount is how many messages a chat has, and when the newest was.
type chatCount struct {
	Chat string `bson:"_id"`
	N    int    `bson:"n"`
	Time int64  `bson:"time"`
}

// ListChats implements store.Messages. The newest messages are found by their times, which
// takes one query for a page of chats instead of one for each.
func (s *Store) ListChats(ctx context.Context, account string) ([]store.ChatSummary, error) {
	chats, err := aggregateAll[chatCount](ctx, s, collMessages, doc(el("$match", doc(el("account", account)))),
		doc(el("$group", doc(el("_id", "$chat"), el("n", doc(el("$sum", 1))), el("time", doc(el("$max", "$time")))))))
	if err != nil {
		return nil, fmt.Errorf("list chats of %s: %w", account, err)
	}
	counts := map[string]int{}
	var newest []messageDoc
	for _, c := range chats {
		counts[c.Chat] = c.N
	}
	for page := range slices.Chunk(chats, maxMessages) {
		rows, err := s.newestOf(ctx, account, page)
		if err != nil {
			return nil, fmt.Errorf("list chats of %s: %w", account, err)
		}
		newest = append(newest, rows...)
	}
	slices.SortFunc(newest, func(a, b messageDoc) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(b.Pos, a.Pos)) })
	var out []store.ChatSummary
	for page := range slices.Chunk(newest, maxMessages) {
		messages, err := s.withContent(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("list chats of %s: %w", account, err)
		}
		for _, m := range messages {
			out = append(out, store.ChatSummary{Chat: m.Chat, Messages: counts[m.Chat], Last: m})
		}
	}
	return out, nil
}

// newestOf finds the newest row of each of these chats.
func (s *Store) newestOf(ctx context.Context, account string, chats []chatCount) ([]messageDoc, error) {
	at := map[string]int64{}
	var times []int64
	for _, c := range chats {
		at[c.Chat] = c.Time
		times = append(times, c.Time)
	}
	slices.Sort(times)
	rows, err := findAll[messageDoc](ctx, s, collMessages, doc(el("account", account), el("time", in(slices.Compact(times)))), find())
	if err != nil {
		return nil, err
	}
	best := map[string]messageDoc{}
	for _, r := range rows {
		if want, ours := at[r.Chat]; ours && r.Time == want && r.Pos > best[r.Chat].Pos {
			best[r.Chat] = r
		}
	}
	out := make([]messageDoc, 0, len(best))
	for _, r := range best {
		out = append(out, r)
	}
	return out, nil
}
