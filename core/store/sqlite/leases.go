package sqlite

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// AcquireLease implements store.Leases. Open has voided what a predecessor held, so
// only another owner within this process can be in the way.
func (s *Store) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (store.Lease, error) {
	l := store.Lease{Name: name, Owner: owner}
	err := s.write(ctx, 0, func(t *tx) error {
		now := s.now()
		var holder string
		var until int64
		l.Epoch = 0
		_, err := t.row(`SELECT owner, epoch, until FROM leases WHERE name = ?`, []any{name}, &holder, &l.Epoch, &until)
		if err != nil {
			return err
		}
		live := holder != "" && until > ms(now)
		if live && holder != owner {
			return store.ErrStale
		}
		if !live {
			l.Epoch++
		}
		l.Until = fromMS(ms(now.Add(ttl)))
		_, err = t.exec(`INSERT INTO leases (name, owner, epoch, until) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET owner = excluded.owner, epoch = excluded.epoch, until = excluded.until`,
			name, owner, l.Epoch, ms(l.Until))
		return err
	})
	if err != nil {
		return store.Lease{}, fmt.Errorf("acquire lease %s: %w", name, err)
	}
	return l, nil
}

// RenewLease implements store.Leases. An expired lease that nobody took can be renewed.
func (s *Store) RenewLease(ctx context.Context, l store.Lease, ttl time.Duration) (store.Lease, error) {
	err := s.write(ctx, 0, func(t *tx) error {
		l.Until = fromMS(ms(s.now().Add(ttl)))
		n, err := t.exec(`UPDATE leases SET until = ? WHERE name = ? AND owner = ? AND epoch = ?`,
			ms(l.Until), l.Name, l.Owner, l.Epoch)
		if err == nil && n == 0 {
			err = store.ErrStale
		}
		return err
	})
	if err != nil {
		return store.Lease{}, fmt.Errorf("renew lease %s: %w", l.Name, err)
	}
	return l, nil
}

// RenewLeases implements store.Leases.
func (s *Store) RenewLeases(ctx context.Context, ls []store.Lease, ttl time.Duration) ([]store.Lease, error) {
	var kept []store.Lease
	err := s.write(ctx, 0, func(t *tx) error {
		kept = nil
		until := fromMS(ms(s.now().Add(ttl)))
		for _, l := range ls {
			n, err := t.exec(`UPDATE leases SET until = ? WHERE name = ? AND owner = ? AND epoch = ?`, ms(until), l.Name, l.Owner, l.Epoch)
			if err != nil {
				return err
			}
			if l.Until = until; n > 0 {
				kept = append(kept, l)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("renew leases: %w", err)
	}
	return kept, nil
}

// ReleaseLease implements store.Leases.
func (s *Store) ReleaseLease(ctx context.Context, l store.Lease) error {
	err := s.write(ctx, 0, func(t *tx) error {
		_, err := t.exec(`UPDATE leases SET owner = '', until = 0 WHERE name = ? AND owner = ? AND epoch = ?`,
			l.Name, l.Owner, l.Epoch)
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.Name, err)
	}
	return nil
}

// ListLeases implements store.Leases.
func (s *Store) ListLeases(ctx context.Context, prefix string) ([]store.Lease, error) {
	var out []store.Lease
	err := s.r.each(ctx, `SELECT name, owner, epoch, until FROM leases WHERE name >= ? AND owner <> '' AND until > ? ORDER BY name`,
		[]any{prefix, ms(s.now())}, func(scan func(...any) error) error {
			var l store.Lease
			var until int64
			if err := scan(&l.Name, &l.Owner, &l.Epoch, &until); err != nil {
				return err
			}
			l.Until = fromMS(until)
			if strings.HasPrefix(l.Name, prefix) {
				out = append(out, l)
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	return out, nil
}
