package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// GetKV implements store.KV.
func (s *Store) GetKV(ctx context.Context, namespace, key string) ([]byte, error) {
	var value []byte
	err := s.r.row(ctx, `SELECT value FROM kv WHERE namespace = ? AND key = ? AND (expires IS NULL OR expires > ?)`,
		[]any{namespace, key, ms(s.now())}, &value)
	if noRows(err) {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("get %s/%s: %w", namespace, key, err)
	}
	if value == nil {
		value = []byte{} // an empty value is not "none"
	}
	return value, nil
}

// SetKV implements store.KV.
func (s *Store) SetKV(ctx context.Context, namespace, key string, value []byte, ttl time.Duration) error {
	err := s.write(ctx, len(value), func(t *tx) error { return s.setKV(t, namespace, key, value, ttl) })
	if err != nil {
		return fmt.Errorf("set %s/%s: %w", namespace, key, err)
	}
	return nil
}

func (s *Store) setKV(t *tx, namespace, key string, value []byte, ttl time.Duration) error {
	if value == nil {
		_, err := t.exec(`DELETE FROM kv WHERE namespace = ? AND key = ?`, namespace, key)
		return err
	}
	var expires any
	if ttl > 0 {
		expires = ms(s.now().Add(ttl))
	}
	_, err := t.exec(`INSERT INTO kv (namespace, key, value, expires) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires`, namespace, key, value, expires)
	return err
}

// SwapKV implements store.KV. The new value has no time to live.
func (s *Store) SwapKV(ctx context.Context, namespace, key string, old, value []byte) error {
	err := s.write(ctx, len(value), func(t *tx) error {
		var current []byte
		found, err := t.row(`SELECT value FROM kv WHERE namespace = ? AND key = ? AND (expires IS NULL OR expires > ?)`,
			[]any{namespace, key, ms(s.now())}, &current)
		if err != nil {
			return err
		}
		if found != (old != nil) || !bytes.Equal(current, old) {
			return store.ErrStale
		}
		return s.setKV(t, namespace, key, value, 0)
	})
	if err != nil {
		return fmt.Errorf("swap %s/%s: %w", namespace, key, err)
	}
	return nil
}
