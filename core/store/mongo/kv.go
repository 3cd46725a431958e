package mongo

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

type kvDoc struct {
	ID        string     `bson:"_id"`
	Namespace string     `bson:"namespace"`
	Key       string     `bson:"key"`
	Value     []byte     `bson:"value"`
	Expires   *time.Time `bson:"expires,omitempty"` // the server removes it some time after
	Op        string     `bson:"op"`
}

// kvID names an entry. The length tells where the namespace ends; what cannot be a text
// is written in hex.
func kvID(namespace, key string) string {
	if plain(namespace) && plain(key) {
		return fmt.Sprintf("%d:%s/%s", len(namespace), namespace, key)
	}
	return "hex:" + hex.EncodeToString([]byte(namespace)) + "/" + hex.EncodeToString([]byte(key))
}

func (s *Store) newKVDoc(namespace, key string, value []byte, ttl time.Duration) kvDoc {
	x := kvDoc{ID: kvID(namespace, key), Namespace: clean(namespace), Key: clean(key), Value: value, Op: s.pos.next()}
	if ttl > 0 {
		x.Expires = stamp(s.now().Add(ttl))
	}
	return x
}

func (s *Store) live(x kvDoc) bool { return x.Expires == nil || x.Expires.After(s.now()) }

// getKV returns the entry, or store.ErrNotFound. What has run out is returned, too: it
// is there to be replaced.
func (s *Store) getKV(ctx context.Context, namespace, key string) (kvDoc, error) {
	return findOne[kvDoc](ctx, s, collKV, byID(kvID(namespace, key)), options.FindOne())
}

// GetKV implements store.KV.
func (s *Store) GetKV(ctx context.Context, namespace, key string) ([]byte, error) {
	x, err := s.getKV(ctx, namespace, key)
	if err == nil && !s.live(x) {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("get %s/%s: %w", namespace, key, err)
	}
	if x.Value == nil {
		return []byte{}, nil // an empty value is not "none"
	}
	return x.Value, nil
}

// SetKV implements store.KV.
func (s *Store) SetKV(ctx context.Context, namespace, key string, value []byte, ttl time.Duration) error {
	var err error
	if value == nil {
		err = s.do(ctx, func(ctx context.Context, _ bool) error {
			_, err := s.coll(collKV).DeleteOne(ctx, byID(kvID(namespace, key)))
			return err
		})
	} else {
		x := s.newKVDoc(namespace, key, value, ttl)
		err = s.replace(ctx, collKV, byID(x.ID), x)
	}
	if err != nil {
		return fmt.Errorf("set %s/%s: %w", namespace, key, err)
	}
	return nil
}

// SwapKV implements store.KV. The new value has no time to live.
func (s *Store) SwapKV(ctx context.Context, namespace, key string, old, value []byte) error {
	err := s.swapKV(ctx, namespace, key, old, value)
	if err != nil {
		return fmt.Errorf("swap %s/%s: %w", namespace, key, err)
	}
	return nil
}

func (s *Store) swapKV(ctx context.Context, namespace, key string, old, value []byte) error {
	x, err := s.getKV(ctx, namespace, key)
	there := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if live := there && s.live(x); live != (old != nil) || live && !bytes.Equal(x.Value, old) {
		return store.ErrStale
	}
	next := s.newKVDoc(namespace, key, value, 0)
	switch {
	case value == nil && !there:
		return nil
	case value == nil:
		return s.deleteSwap(ctx, x)
	case !there:
		err = s.insertOnce(ctx, collKV, next.ID, "op", next.Op, next)
		if errors.Is(err, store.ErrExists) {
			err = store.ErrStale
		}
		return err
	}
	done, err := s.swap(ctx, collKV, x.ID, x.Op, next.Op, next)
	if err == nil && !done {
		err = store.ErrStale
	}
	return err
}

// deleteSwap removes an entry if it is the one that was read.
func (s *Store) deleteSwap(ctx context.Context, x kvDoc) error {
	return s.do(ctx, func(ctx context.Context, again bool) error {
		res, err := s.coll(collKV).DeleteOne(ctx, doc(el("_id", x.ID), el("op", x.Op)))
		if err != nil || res.DeletedCount == 1 {
			return err
		}
		if again { // gone by the try before, unless there is another
			err := s.coll(collKV).FindOne(ctx, byID(x.ID)).Err()
			if errors.Is(err, mongo.ErrNoDocuments) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return store.ErrStale
	})
}
