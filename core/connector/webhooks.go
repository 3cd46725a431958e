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
	if err := r.serve(ctx, e); err != nil {
		return store.Webhook{}, false, err
	}
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
	r.log.Info("webhook deleted", "connector", id)
	return r.end(ctx, id)
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

// Refresh follows what other processes on the same database have registered and deleted,
// and which endpoints they have disabled and enabled.
func (r *Registry) Refresh(ctx context.Context) error {
	return errors.Join(r.refreshWebhooks(ctx), r.deps.Outbox.Refresh(ctx))
}

func (r *Registry) refreshWebhooks(ctx context.Context) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	stored, err := r.deps.Webhooks.ListWebhooks(ctx)
	if err != nil {
		return fmt.Errorf("list webhooks: %w", err)
	}
	wanted := make(map[string]bool, len(stored))
	for _, w := range stored {
		wanted[w.ID] = true
		if r.has(w.ID) {
			continue
		}
		e, err := r.webhook(w)
		if err == nil {
			err = r.serve(ctx, e)
		}
		if err != nil {
			if !r.unusable[w.ID] { // once
				r.log.Error("registered webhook is unusable", "connector", w.ID, "err", err)
			}
			r.unusable[w.ID] = true
			continue
		}
		r.log.Info("webhook registered by another hub", "connector", w.ID, "account", w.Account)
	}
	r.mu.RLock()
	var gone []string
	for _, e := range r.entries {
		if e.number == 0 && !wanted[e.id] {
			gone = append(gone, e.id)
		}
	}
	r.mu.RUnlock()
	var errs []error
	for _, id := range gone {
		r.log.Info("webhook deleted by another hub", "connector", id)
		errs = append(errs, r.end(ctx, id))
	}
	return errors.Join(errs...)
}

func (r *Registry) has(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.ContainsFunc(r.entries, func(e *entry) bool { return e.id == id })
}

// serve starts an endpoint and delivers to it from now on.
func (r *Registry) serve(ctx context.Context, e *entry) error {
	if err := e.connector.Start(ctx, r.deps.Host(e.name)); err != nil {
		return fmt.Errorf("start webhook: %w", err)
	}
	r.deps.Outbox.AddEndpoint(r.endpoint(e))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
	return nil
}

// end stops an endpoint and cancels what waits for it.
func (r *Registry) end(ctx context.Context, id string) error {
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
	return errors.Join(r.deps.Outbox.RemoveEndpoint(ctx, id), e.connector.Stop(ctx))
}
