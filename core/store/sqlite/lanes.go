package sqlite

// lanes is what the writer remembers of the rows that it alone changes, so that the
// next event of a chat need not read them. Only the writer's goroutine uses it; the
// truth is in the rows, which are written in the same transaction. It is dropped
// whenever a transaction is rolled back.
type lanes struct {
	chats map[chatID]*chatRow
	last  map[laneID]uint64
}

type chatID struct {
	accountN int64
	chat     string
}

// chatRow is a chat, or the one that it was merged into.
type chatRow struct {
	n     int64
	key   string
	seq   uint64
	epoch uint64
}

// laneID is one endpoint's queue of one chat.
type laneID struct{ endpointN, chatN int64 }

// maxLanes bounds the memory of each map; beyond it, it starts anew.
const maxLanes = 16384

func newLanes() lanes {
	return lanes{chats: map[chatID]*chatRow{}, last: map[laneID]uint64{}}
}

func (l *lanes) forget() {
	clear(l.chats)
	clear(l.last)
}

// chat returns the row that numbers the events of a chat, made if there is none. A
// chat that was merged into another has no numbers left to give; its successor has.
func (t *tx) chat(accountN int64, chat string) (*chatRow, error) {
	id := chatID{accountN, chat}
	if c, ok := t.lanes.chats[id]; ok {
		return c, nil
	}
	c := new(chatRow)
	found, err := t.row(`SELECT s.n, s.chat, s.seq, s.epoch FROM chats c JOIN chats s ON s.n = coalesce(c.merged_into, c.n)
		WHERE c.account_n = ? AND c.chat = ?`, []any{accountN, chat}, &c.n, &c.key, &c.seq, &c.epoch)
	if err != nil {
		return nil, err
	}
	if !found {
		c.key = chat
		c.n, _, err = t.insert(`INSERT INTO chats (account_n, chat, seq, done, epoch) VALUES (?, ?, 0, 0, 0)`, accountN, chat)
		if err != nil {
			return nil, err
		}
	}
	if len(t.lanes.chats) >= maxLanes {
		clear(t.lanes.chats)
	}
	// Both names of a merged chat must count on the same row.
	own := chatID{accountN, c.key}
	if known, ok := t.lanes.chats[own]; ok {
		c = known
	}
	t.lanes.chats[own], t.lanes.chats[id] = c, c
	return c, nil
}

// lastQueued returns the highest seq below seq that was queued to the endpoint.
func (t *tx) lastQueued(endpointN, chatN int64, seq uint64) (last uint64, err error) {
	id := laneID{endpointN, chatN}
	last, ok := t.lanes.last[id]
	if !ok {
		_, err := t.row(`SELECT coalesce(max(seq), 0) FROM deliveries WHERE endpoint_n = ? AND chat_n = ?`,
			[]any{endpointN, chatN}, &last)
		if err != nil {
			return 0, err
		}
		if len(t.lanes.last) >= maxLanes {
			clear(t.lanes.last)
		}
		t.lanes.last[id] = last
	}
	if last < seq {
		return last, nil
	}
	// Out of turn: a chat's events are settled in order, but nothing here depends on it.
	_, err = t.row(`SELECT coalesce(max(seq), 0) FROM deliveries WHERE endpoint_n = ? AND chat_n = ? AND seq < ?`,
		[]any{endpointN, chatN, seq}, &last)
	return last, err
}

// queued remembers the seq that was just queued.
func (t *tx) queued(endpointN, chatN int64, seq uint64) {
	id := laneID{endpointN, chatN}
	t.lanes.last[id] = max(t.lanes.last[id], seq)
}
