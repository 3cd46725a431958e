package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
)

// webhookName is the built-in that serves registered webhooks, and the name by
// which a rule routes to all of them.
const webhookName = "webhook"

// AddWebhook registers a webhook, or returns the one that is registered for the
// same URL and account. From the return on, matching events are delivered to it.
func (r *Registry) AddWebhook(ctx context.Context, w store.Webhook) (store.Webhook, bool, error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	e, err := r.webhook(w)
	if err != nil {
		return store.Webhook{}, false, err
	}
	stored, created, err := r.deps.Webhooks.CreateWebhook(ctx, w)
	if err != nil {
		return store.Webhook{}, false, fmt.Errorf("store webhook: %w", err)
	}
	if !created {
		return stored, false, nil
	}
	if err := e.connector.Start(ctx, r.deps.Host(e.name)); err != nil {
		return store.Webhook{}, false, fmt.Errorf("start webhook: %w", err)
	}
	r.deps.Outbox.AddEndpoint(r.endpoint(e))
	r.mu.Lock()
	r.entries = append(r.entries, e)
	r.mu.Unlock()
	r.log.Info("webhook registered", "connector", w.ID, "account", w.Account)
	return stored, true, nil
}

// ListWebhooks returns all registered webhooks, oldest first.
func (r *Registry) ListWebhooks(ctx context.Context) ([]store.Webhook, error) {
	return r.deps.Webhooks.ListWebhooks(ctx)
}

// DeleteWebhook ends a registration and cancels what waits for it.
func (r *Registry) DeleteWebhook(ctx context.Context, id string) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.deps.Webhooks.DeleteWebhook(ctx, id); err != nil {
		return fmt.Errorf("delete webhook %s: %w", id, err)
	}
	r.mu.Lock()
	i := slices.IndexFunc(r.entries, func(e *entry) bool { return e.id == id })
	var e *entry
	if i >= 0 {
		e = r.entries[i]
		r.entries = slices.Delete(slices.Clone(r.entries), i, i+1)
	}
	r.mu.Unlock()
	if e == nil {
		return nil
	}
	err := r.deps.Outbox.RemoveEndpoint(ctx, id)
	r.log.Info("webhook deleted", "connector", id)
	return errors.Join(err, e.connector.Stop(ctx))
}

// webhook makes the endpoint of a registered webhook.
func (r *Registry) webhook(w store.Webhook) (*entry, error) {
	build, ok := r.deps.Builtin[webhookName]
	if !ok {
		return nil, errors.New("this build has no webhook connector")
	}
	with := map[string]any{"url": w.URL, "secret": w.Secret}
	if len(w.Headers) > 0 {
		with["headers"] = w.Headers
	}
	if r.cfg.Webhooks.Timeout > 0 {
		with["timeout"] = r.cfg.Webhooks.Timeout.String()
	}
	if r.cfg.Webhooks.Format != "" {
		with["format"] = r.cfg.Webhooks.Format
	}
	raw, err := json.Marshal(with)
	if err != nil {
		return nil, fmt.Errorf("encode webhook: %w", err)
	}
	e := &entry{id: w.ID, name: webhookName, kind: webhookName, events: w.Events, connector: build(), config: config.ConnectorConfig{Name: webhookName, Use: webhookName}}
	if w.Account != "" {
		e.accounts = []string{w.Account}
	}
	if err := e.connector.Configure(raw); err != nil {
		return nil, err
	}
	return e, nil
}
