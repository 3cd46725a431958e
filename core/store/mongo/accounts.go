package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

type accountDoc struct {
	ID         string     `bson:"_id"`
	Name       string     `bson:"name"`
	Collection string     `bson:"collectionName"`
	JID        string     `bson:"jid"`
	LID        string     `bson:"lid"`
	State      string     `bson:"state"`
	Reason     string     `bson:"reason"`
	Connect    bool       `bson:"connect"`
	Greeted    bool       `bson:"greeted"`
	CreatedAt  *time.Time `bson:"createdAt"`
	UpdatedAt  *time.Time `bson:"updatedAt"`
	// Op is the token of the write that made this version of the record.
	Op string `bson:"op"`
}

func newAccountDoc(a store.Account, op string) accountDoc {
	return accountDoc{
		ID: a.ID, Name: clean(a.Name), Collection: clean(a.Collection), JID: a.JID, LID: a.LID, State: a.State, Reason: clean(a.Reason),
		Connect: a.Connect, Greeted: a.Greeted, CreatedAt: stamp(a.CreatedAt), UpdatedAt: stamp(a.UpdatedAt), Op: op,
	}
}

func (x accountDoc) account() store.Account {
	return store.Account{
		ID: x.ID, Name: x.Name, Collection: x.Collection, JID: x.JID, LID: x.LID, State: x.State, Reason: x.Reason,
		Connect: x.Connect, Greeted: x.Greeted, CreatedAt: back(x.CreatedAt), UpdatedAt: back(x.UpdatedAt),
	}
}

// CreateAccount implements store.Accounts.
func (s *Store) CreateAccount(ctx context.Context, a store.Account) error {
	err := checkAccount(a.ID)
	if err == nil {
		a.CreatedAt = s.orNow(a.CreatedAt)
		if a.UpdatedAt.IsZero() {
			a.UpdatedAt = a.CreatedAt
		}
		x := newAccountDoc(a, s.pos.next())
		err = s.insertOnce(ctx, collAccounts, x.ID, "op", x.Op, x)
	}
	if err != nil {
		return fmt.Errorf("create account %s: %w", a.ID, err)
	}
	return nil
}

// Account implements store.Accounts.
func (s *Store) Account(ctx context.Context, id string) (store.Account, error) {
	x, err := findOne[accountDoc](ctx, s, collAccounts, byID(id), options.FindOne())
	if err != nil {
		return store.Account{}, fmt.Errorf("account %s: %w", id, err)
	}
	return x.account(), nil
}

// ListAccounts implements store.Accounts.
func (s *Store) ListAccounts(ctx context.Context) ([]store.Account, error) {
	rows, err := findAll[accountDoc](ctx, s, collAccounts, doc(), find().SetSort(doc(el("_id", 1))))
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	out := make([]store.Account, len(rows))
	for i, x := range rows {
		out[i] = x.account()
	}
	return out, nil
}

// UpdateAccount implements store.Accounts. change runs again if another update came between.
func (s *Store) UpdateAccount(ctx context.Context, id string, change func(*store.Account)) (store.Account, error) {
	for try := 0; ; try++ {
		x, err := findOne[accountDoc](ctx, s, collAccounts, byID(id), options.FindOne())
		if err != nil {
			return store.Account{}, fmt.Errorf("update account %s: %w", id, err)
		}
		a := x.account()
		change(&a)
		a.ID = id
		if a.UpdatedAt.Equal(back(x.UpdatedAt)) {
			a.UpdatedAt = s.now()
		}
		next := newAccountDoc(a, s.pos.next())
		done, err := s.swap(ctx, collAccounts, id, x.Op, next.Op, next)
		if err != nil {
			return store.Account{}, fmt.Errorf("update account %s: %w", id, err)
		}
		if done {
			return next.account(), nil
		}
		if err := wait(ctx, min(time.Duration(try), 10)*time.Millisecond); err != nil {
			return store.Account{}, fmt.Errorf("update account %s: %w", id, err)
		}
	}
}

// swap replaces a document if its op is the one that was read, and tells whether it did.
func (s *Store) swap(ctx context.Context, coll, id, was, op string, next any) (done bool, err error) {
	err = s.do(ctx, func(ctx context.Context, again bool) error {
		res, err := s.coll(coll).ReplaceOne(ctx, doc(el("_id", id), el("op", was)), next)
		if err != nil {
			return err
		}
		if done = res.MatchedCount == 1; done || !again {
			return nil
		}
		err = s.coll(coll).FindOne(ctx, doc(el("_id", id), el("op", op))).Err()
		if done = err == nil; errors.Is(err, mongo.ErrNoDocuments) {
			err = nil
		}
		return err
	})
	return done, err
}

// DeleteAccount implements store.Accounts.
func (s *Store) DeleteAccount(ctx context.Context, id string) error {
	if _, err := s.Account(ctx, id); err != nil {
		return fmt.Errorf("delete account %s: %w", id, err)
	}
	err := s.deleteContents(ctx, id)
	if err == nil {
		// What came in meanwhile, while nothing more comes in.
		s.lanes.write.Lock()
		defer s.lanes.write.Unlock()
		if err = s.deleteContents(ctx, id); err == nil {
			err = s.deleteNames(ctx, id)
		}
		s.lanes.forget()
		s.lanes.drop(id)
		s.aliases.forget()
	}
	if err == nil {
		err = s.deleteOne(ctx, collAccounts, id)
	}
	if err != nil {
		return fmt.Errorf("delete account %s: %w", id, err)
	}
	return nil
}

// deleteContents removes an account's records, the events after what hangs on them.
func (s *Store) deleteContents(ctx context.Context, id string) error {
	of := doc(el("account", id))
	for _, coll := range []string{collDeliveries, collMessages, collSends, collEvents} {
		if err := s.deleteAll(ctx, coll, of); err != nil {
			return err
		}
	}
	for _, b := range []*bucket{s.media, s.bodies} {
		if err := b.removeAccount(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// deleteNames removes what numbers and names the account's chats.
func (s *Store) deleteNames(ctx context.Context, id string) error {
	if err := s.deleteAll(ctx, collAliases, doc(el("account", id))); err != nil {
		return err
	}
	// From "id/" to before "id0", since 0 follows the slash.
	return s.deleteAll(ctx, collChats, doc(el("_id", doc(el("$gte", laneOf(id, "")), el("$lt", id+"0")))))
}

// deleteOne removes one document; store.ErrNotFound if there is none.
func (s *Store) deleteOne(ctx context.Context, coll, id string) error {
	return s.do(ctx, func(ctx context.Context, again bool) error {
		res, err := s.coll(coll).DeleteOne(ctx, byID(id))
		if err == nil && res.DeletedCount == 0 && !again {
			err = store.ErrNotFound
		}
		return err
	})
}

// replace upserts a document by its id.
func (s *Store) replace(ctx context.Context, coll string, filter bson.D, x any) error {
	return s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(coll).ReplaceOne(ctx, filter, x, options.Replace().SetUpsert(true))
		if mongo.IsDuplicateKeyError(err) { // another upsert of the same was faster
			_, err = s.coll(coll).ReplaceOne(ctx, filter, x)
		}
		return err
	})
}
