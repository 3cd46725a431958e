package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wildcathub/wildcat/core/store"
)

// CreateWebhook implements store.Webhooks.
func (s *Store) CreateWebhook(ctx context.Context, w store.Webhook) (store.Webhook, bool, error) {
	if w.CreatedAt.IsZero() {
		w.CreatedAt = s.now()
	}
	events, err := json.Marshal(w.Events)
	if err != nil {
		return store.Webhook{}, false, fmt.Errorf("create webhook %s: %w", w.ID, err)
	}
	headers, err := json.Marshal(w.Headers)
	if err != nil {
		return store.Webhook{}, false, fmt.Errorf("create webhook %s: %w", w.ID, err)
	}
	var n int64
	err = s.write(ctx, 0, func(t *tx) (err error) {
		n, err = t.exec(`INSERT INTO webhooks (id, url, account, events, secret, headers, created_at)
			VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (url, account) DO NOTHING`,
			w.ID, w.URL, w.Account, string(events), w.Secret, string(headers), ms(w.CreatedAt))
		if isUnique(err) {
			return store.ErrExists // another webhook has this id
		}
		return err
	})
	if err != nil {
		return store.Webhook{}, false, fmt.Errorf("create webhook %s: %w", w.ID, err)
	}
	var stored store.Webhook
	err = s.r.each(ctx, selectWebhook+` WHERE url = ? AND account = ?`, []any{w.URL, w.Account}, func(scan func(...any) error) (err error) {
		stored, err = scanWebhook(scan)
		return err
	})
	if err == nil && stored.ID == "" {
		err = store.ErrNotFound // removed in between
	}
	if err != nil {
		return store.Webhook{}, false, fmt.Errorf("create webhook %s: %w", w.ID, err)
	}
	return stored, n == 1, nil
}

const selectWebhook = `SELECT id, url, account, events, secret, headers, created_at FROM webhooks`

func scanWebhook(scan func(...any) error) (store.Webhook, error) {
	var w store.Webhook
	var events, headers string
	var created dbTime
	if err := scan(&w.ID, &w.URL, &w.Account, &events, &w.Secret, &headers, &created); err != nil {
		return w, err
	}
	w.CreatedAt = created.Time
	if err := json.Unmarshal([]byte(events), &w.Events); err != nil {
		return w, fmt.Errorf("webhook %s: events: %w", w.ID, err)
	}
	if err := json.Unmarshal([]byte(headers), &w.Headers); err != nil {
		return w, fmt.Errorf("webhook %s: headers: %w", w.ID, err)
	}
	return w, nil
}

// ListWebhooks implements store.Webhooks.
func (s *Store) ListWebhooks(ctx context.Context) ([]store.Webhook, error) {
	var out []store.Webhook
	err := s.r.each(ctx, selectWebhook+` ORDER BY n`, nil, func(scan func(...any) error) error {
		w, err := scanWebhook(scan)
		out = append(out, w)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	return out, nil
}

// DeleteWebhook implements store.Webhooks.
func (s *Store) DeleteWebhook(ctx context.Context, id string) error {
	err := s.write(ctx, 0, func(t *tx) error {
		n, err := t.exec(`DELETE FROM webhooks WHERE id = ?`, id)
		if err == nil && n == 0 {
			err = store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete webhook %s: %w", id, err)
	}
	return nil
}

// SaveEndpoint implements store.Endpoints.
func (s *Store) SaveEndpoint(ctx context.Context, e store.EndpointState) error {
	err := s.write(ctx, 0, func(t *tx) error {
		_, err := t.exec(`INSERT OR REPLACE INTO endpoints (id, disabled, reason, open_since, last_ok, updated_at)
			VALUES (?, ?, ?, ?, ?, ?)`, e.ID, e.Disabled, e.Reason, ms(e.OpenSince), ms(e.LastOK), ms(e.UpdatedAt))
		return err
	})
	if err != nil {
		return fmt.Errorf("save endpoint %s: %w", e.ID, err)
	}
	return nil
}

// EndpointStates implements store.Endpoints.
func (s *Store) EndpointStates(ctx context.Context) ([]store.EndpointState, error) {
	var out []store.EndpointState
	err := s.r.each(ctx, `SELECT id, disabled, reason, open_since, last_ok, updated_at FROM endpoints ORDER BY id`, nil,
		func(scan func(...any) error) error {
			var e store.EndpointState
			var open, ok, updated dbTime
			if err := scan(&e.ID, &e.Disabled, &e.Reason, &open, &ok, &updated); err != nil {
				return err
			}
			e.OpenSince, e.LastOK, e.UpdatedAt = open.Time, ok.Time, updated.Time
			out = append(out, e)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list endpoint states: %w", err)
	}
	return out, nil
}

// DeleteEndpoint implements store.Endpoints.
func (s *Store) DeleteEndpoint(ctx context.Context, id string) error {
	err := s.write(ctx, 0, func(t *tx) error {
		_, err := t.exec(`DELETE FROM endpoints WHERE id = ?`, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete endpoint %s: %w", id, err)
	}
	return nil
}
