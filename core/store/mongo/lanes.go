package mongo

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// lanes is what this process remembers of chats that it appends to, so that the next
// event of a chat need not read them. A process that no longer owns a chat may remember
// wrongly: the unique index of the numbers finds that out, and forget begins anew.
type lanes struct {
	// write is held while numbers are given out and while aliases are merged, so that no
	// event is numbered in a chat that is being merged away.
	write sync.Mutex

	mu sync.Mutex // guards the maps
	// chats is by lane. Both names of a merged chat have the same entry.
	chats map[string]*chat
	// last is the highest seq that was queued to an endpoint, by endpoint and lane.
	last map[laneKey]uint64
	// dirty are the counters that are not written yet.
	dirty map[string]*chat
	wrote time.Time
}

type laneKey struct{ endpoint, lane string }

// chat is a chat, or the one that it was merged into.
type chat struct {
	account, key string
	seq          uint64
	epoch        uint64
}

const (
	// maxLanes bounds the memory of each map; beyond it, it starts anew.
	maxLanes = 16384
	// flushEvery is how often counters of chats are written. They only have to be there
	// before the newest event of a chat is removed, which no one does within days.
	flushEvery = time.Second
)

func newLanes() *lanes {
	return &lanes{chats: map[string]*chat{}, last: map[laneKey]uint64{}, dirty: map[string]*chat{}}
}

// forget drops what is remembered; it is read again when needed.
func (l *lanes) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.chats)
	clear(l.last)
}

func (l *lanes) lastOf(k laneKey) (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq, ok := l.last[k]
	return seq, ok
}

func (l *lanes) queued(k laneKey, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) >= maxLanes {
		clear(l.last)
	}
	l.last[k] = max(l.last[k], seq)
}

type chatDoc struct {
	ID         string `bson:"_id"`
	Account    string `bson:"account"`
	Chat       string `bson:"chat"`
	Seq        int64  `bson:"seq"`
	Epoch      int64  `bson:"epoch"`
	MergedInto string `bson:"mergedInto,omitempty"`
}

// chatOf returns the chat that numbers the events of a chat, made if there is none. A
// chat that was merged into another has no numbers left to give; its successor has.
// lanes.write is held.
func (s *Store) chatOf(ctx context.Context, account, key string) (*chat, error) {
	lane := laneOf(account, key)
	s.lanes.mu.Lock()
	c := s.lanes.chats[lane]
	s.lanes.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := s.loadChat(ctx, account, key)
	if err != nil {
		return nil, err
	}
	s.lanes.mu.Lock()
	defer s.lanes.mu.Unlock()
	if len(s.lanes.chats) >= maxLanes {
		clear(s.lanes.chats)
	}
	own := laneOf(account, c.key)
	if known := s.lanes.chats[own]; known != nil {
		c = known
	}
	s.lanes.chats[own], s.lanes.chats[lane] = c, c
	return c, nil
}

// maxMerges bounds the way from a chat to its successor; each merge leads straight to
// the last, so that one step is the rule.
const maxMerges = 10

func (s *Store) loadChat(ctx context.Context, account, key string) (*chat, error) {
	var found chatDoc
	for range maxMerges {
		err := s.do(ctx, func(ctx context.Context, _ bool) error {
			found = chatDoc{}
			err := s.coll(collChats).FindOne(ctx, byID(laneOf(account, key))).Decode(&found)
			if !errors.Is(err, mongo.ErrNoDocuments) {
				return err
			}
			found = chatDoc{ID: laneOf(account, key), Account: account, Chat: key}
			if _, err = s.coll(collChats).InsertOne(ctx, found); mongo.IsDuplicateKeyError(err) {
				err = s.coll(collChats).FindOne(ctx, byID(found.ID)).Decode(&found)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if found.MergedInto == "" {
			break
		}
		key = found.MergedInto
	}
	c := &chat{account: account, key: key, seq: unsigned(found.Seq), epoch: unsigned(found.Epoch)}
	newest, err := s.newestEvent(ctx, account, key)
	if err != nil {
		return nil, err
	}
	c.seq, c.epoch = max(c.seq, unsigned(newest.Seq)), max(c.epoch, unsigned(newest.Epoch))
	return c, nil
}

// newestEvent returns the event with a chat's highest number; its zero value if there is
// none. So that positions go on past those of the account's former owner, it reads the
// account's newest, too.
func (s *Store) newestEvent(ctx context.Context, account, key string) (eventDoc, error) {
	var newest, last eventDoc
	some := options.FindOne().SetProjection(doc(el("seq", 1), el("epoch", 1), el("pos", 1)))
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		newest, last = eventDoc{}, eventDoc{}
		err := s.coll(collEvents).FindOne(ctx, doc(el("account", account), el("chat", key)),
			some.SetSort(doc(el("seq", -1)))).Decode(&newest)
		if errors.Is(err, mongo.ErrNoDocuments) {
			err = nil
		}
		if err != nil {
			return err
		}
		err = s.coll(collEvents).FindOne(ctx, doc(el("account", account)), some.SetSort(doc(el("pos", -1)))).Decode(&last)
		if errors.Is(err, mongo.ErrNoDocuments) {
			err = nil
		}
		return err
	})
	s.pos.seen(last.Pos)
	return newest, err
}

// appended notes that a number was given out. lanes.write is held.
func (l *lanes) appended(c *chat, seq, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.seq, c.epoch = max(c.seq, seq), max(c.epoch, epoch)
	l.dirty[laneOf(c.account, c.key)] = c
}

// flushChats writes counters, if it is time or force says so.
func (s *Store) flushChats(ctx context.Context, force bool) error {
	l := s.lanes
	l.mu.Lock()
	if len(l.dirty) == 0 || !force && time.Since(l.wrote) < flushEvery {
		l.mu.Unlock()
		return nil
	}
	var models []mongo.WriteModel
	for lane, c := range l.dirty {
		// No upsert: the row is there, and one that an account's deletion took must not come back.
		models = append(models, mongo.NewUpdateOneModel().SetFilter(byID(lane)).
			SetUpdate(doc(el("$max", doc(el("seq", number(c.seq)), el("epoch", number(c.epoch)))))))
	}
	written := l.dirty
	l.dirty, l.wrote = map[string]*chat{}, time.Now()
	l.mu.Unlock()
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(collChats).BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
		return err
	})
	if err == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for lane, c := range written {
		if len(l.dirty) < maxLanes {
			l.dirty[lane] = c
		}
	}
	return err
}

// drop forgets the counters of an account that is gone.
func (l *lanes) drop(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for lane, c := range l.dirty {
		if c.account == account {
			delete(l.dirty, lane)
		}
	}
}
