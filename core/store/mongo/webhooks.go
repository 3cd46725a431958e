package mongo

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/wildcathub/wildcat/core/store"
)

type webhookDoc struct {
	ID        string     `bson:"_id"`
	URL       string     `bson:"url"`
	AccountID string     `bson:"accountId"` // "" for all
	Events    []string   `bson:"events,omitempty"`
	Secret    string     `bson:"secret"`
	Headers   []pair     `bson:"headers,omitempty"`
	CreatedAt *time.Time `bson:"createdAt"`
	Pos       string     `bson:"pos"`
}

func (x webhookDoc) webhook() store.Webhook {
	w := store.Webhook{ID: x.ID, URL: x.URL, Account: x.AccountID, Events: x.Events, Secret: x.Secret, CreatedAt: back(x.CreatedAt)}
	w.Headers = mapOf(x.Headers)
	return w
}

// pairs is a map as it is stored, in the order of its keys.
func pairs(m map[string]string) []pair {
	var out []pair
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, pair{K: clean(k), V: clean(m[k])})
	}
	return out
}

// mapOf is the way back.
func mapOf(list []pair) map[string]string {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]string, len(list))
	for _, p := range list {
		out[p.K] = p.V
	}
	return out
}

// CreateWebhook implements store.Webhooks.
func (s *Store) CreateWebhook(ctx context.Context, w store.Webhook) (store.Webhook, bool, error) {
	x := webhookDoc{
		ID: w.ID, URL: w.URL, AccountID: w.Account, Events: w.Events, Secret: w.Secret, Headers: pairs(w.Headers),
		CreatedAt: stamp(s.orNow(w.CreatedAt)), Pos: s.pos.next(),
	}
	fail := func(err error) (store.Webhook, bool, error) {
		return store.Webhook{}, false, fmt.Errorf("create webhook %s: %w", w.ID, err)
	}
	if _, err := s.insertAll(ctx, collWebhooks, []any{x}); err != nil {
		return fail(err)
	}
	rows, err := findAll[webhookDoc](ctx, s, collWebhooks, doc(el("url", w.URL), el("accountId", w.Account)), find())
	switch {
	case err != nil:
		return fail(err)
	case len(rows) == 0:
		if _, err := findOne[idDoc](ctx, s, collWebhooks, byID(w.ID), options.FindOne()); err == nil {
			return fail(store.ErrExists) // another webhook has this id
		}
		return fail(store.ErrNotFound) // removed in between
	}
	return rows[0].webhook(), rows[0].Pos == x.Pos, nil
}

// ListWebhooks implements store.Webhooks. There are few.
func (s *Store) ListWebhooks(ctx context.Context) ([]store.Webhook, error) {
	rows, err := findAll[webhookDoc](ctx, s, collWebhooks, doc(), find())
	if err != nil {
		return nil, fmt.Errorf("list webhooks: %w", err)
	}
	slices.SortFunc(rows, func(a, b webhookDoc) int { return cmp.Compare(a.Pos, b.Pos) })
	out := make([]store.Webhook, len(rows))
	for i, x := range rows {
		out[i] = x.webhook()
	}
	return out, nil
}

// DeleteWebhook implements store.Webhooks.
func (s *Store) DeleteWebhook(ctx context.Context, id string) error {
	if err := s.deleteOne(ctx, collWebhooks, id); err != nil {
		return fmt.Errorf("delete webhook %s: %w", id, err)
	}
	return nil
}

type endpointDoc struct {
	ID        string     `bson:"_id"`
	Disabled  bool       `bson:"disabled"`
	Reason    string     `bson:"reason"`
	OpenSince *time.Time `bson:"openSince"`
	LastOK    *time.Time `bson:"lastOk"`
	UpdatedAt *time.Time `bson:"updatedAt"`
}

// SaveEndpoint implements store.Endpoints.
func (s *Store) SaveEndpoint(ctx context.Context, x store.EndpointState) error {
	err := s.replace(ctx, collEndpoints, byID(x.ID), endpointDoc{
		ID: x.ID, Disabled: x.Disabled, Reason: clean(x.Reason), OpenSince: stamp(x.OpenSince), LastOK: stamp(x.LastOK),
		UpdatedAt: stamp(x.UpdatedAt),
	})
	if err != nil {
		return fmt.Errorf("save endpoint %s: %w", x.ID, err)
	}
	return nil
}

// EndpointStates implements store.Endpoints.
func (s *Store) EndpointStates(ctx context.Context) ([]store.EndpointState, error) {
	rows, err := findAll[endpointDoc](ctx, s, collEndpoints, doc(), find().SetSort(doc(el("_id", 1))))
	if err != nil {
		return nil, fmt.Errorf("list endpoint states: %w", err)
	}
	out := make([]store.EndpointState, len(rows))
	for i, x := range rows {
		out[i] = store.EndpointState{
			ID: x.ID, Disabled: x.Disabled, Reason: x.Reason, OpenSince: back(x.OpenSince), LastOK: back(x.LastOK), UpdatedAt: back(x.UpdatedAt),
		}
	}
	return out, nil
}

// DeleteEndpoint implements store.Endpoints.
func (s *Store) DeleteEndpoint(ctx context.Context, id string) error {
	err := s.do(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.coll(collEndpoints).DeleteOne(ctx, byID(id))
		return err
	})
	if err != nil {
		return fmt.Errorf("delete endpoint %s: %w", id, err)
	}
	return nil
}
