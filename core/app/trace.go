package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/store"
)

// tracer tells what became of an event, from what is stored.
type tracer struct{ store store.Store }

var _ api.Tracer = tracer{}

// traceDeliveries is more than an event can have endpoints.
const traceDeliveries = 500

// Trace implements api.Tracer.
func (t tracer) Trace(ctx context.Context, account, id string) (api.Trace, error) {
	se, err := t.find(ctx, account, id)
	if errors.Is(err, store.ErrNotFound) && account != "" {
		return t.ofSend(ctx, account, id)
	}
	if err != nil {
		return api.Trace{}, fmt.Errorf("trace %s: %w", id, err)
	}
	tr := api.Trace{Event: se.Event, Stages: []api.TraceStage{{Stage: "stored", At: se.StoredAt}}}
	if len(se.Verdict) > 0 {
		// The verdict and what follows from it are one transaction on SQLite.
		tr.Stages = append(tr.Stages, api.TraceStage{Stage: "ruled", At: se.DoneAt})
		tr.Verdict = withoutPayloads(se.Verdict)
	}
	if se.Stage >= store.StageDone {
		tr.Stages = append(tr.Stages, api.TraceStage{Stage: "done", At: se.DoneAt})
	}
	if tr.Sends, err = t.store.SendsOfEvent(ctx, se.Event.ID); err != nil {
		return api.Trace{}, fmt.Errorf("trace %s: %w", id, err)
	}
	if tr.Deliveries, err = t.store.ListDeliveries(ctx, store.DeliveryQuery{EventID: se.Event.ID, Limit: traceDeliveries}); err != nil {
		return api.Trace{}, fmt.Errorf("trace %s: %w", id, err)
	}
	return tr, nil
}

// ofSend is the story of a message that was to be sent and has no event of its own (yet): it has
// not been accepted, or nobody knows. Of a rule's reply it is the story of what was answered.
func (t tracer) ofSend(ctx context.Context, account, waID string) (api.Trace, error) {
	snd, err := t.store.SendByWAID(ctx, account, waID)
	if err == nil && snd.EventID != "" {
		return t.Trace(ctx, "", snd.EventID)
	}
	if err != nil {
		return api.Trace{}, fmt.Errorf("trace %s: %w", waID, err)
	}
	return api.Trace{Sends: []store.Send{snd}}, nil
}

// find takes an event id, or with an account also a WhatsApp message id.
func (t tracer) find(ctx context.Context, account, id string) (store.StoredEvent, error) {
	se, err := t.store.Event(ctx, id)
	if !errors.Is(err, store.ErrNotFound) || account == "" {
		return se, err
	}
	m, err := t.store.Message(ctx, account, id)
	if err != nil {
		return store.StoredEvent{}, err
	}
	return t.store.Event(ctx, m.EventID)
}

// withoutPayloads takes the rendered protobufs out of a stored verdict: they hold the
// text again, and a secret.
func withoutPayloads(verdict []byte) json.RawMessage {
	var v map[string]json.RawMessage
	if json.Unmarshal(verdict, &v) != nil {
		return verdict
	}
	var sends []map[string]json.RawMessage
	if json.Unmarshal(v["sends"], &sends) != nil {
		return verdict
	}
	for _, s := range sends {
		delete(s, "payload")
	}
	var err error
	if v["sends"], err = json.Marshal(sends); err != nil {
		return verdict
	}
	out, err := json.Marshal(v)
	if err != nil {
		return verdict
	}
	return out
}
