package api

import (
	"encoding/json"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
)

// sendView is an outgoing message without its payload, which holds a secret.
type sendView struct {
	ID        string          `json:"id"`
	MessageID string          `json:"messageId"`
	To        string          `json:"to"`
	Rule      string          `json:"rule"`
	Index     int             `json:"index"`
	State     store.SendState `json:"state"`
	Reason    string          `json:"reason"`
	Attempt   int             `json:"attempt"`
	SentAt    any             `json:"sentAt"`
	CreatedAt string          `json:"createdAt"`
	UpdatedAt string          `json:"updatedAt"`
}

type stageView struct {
	Stage string `json:"stage"`
	At    any    `json:"at"`
}

// traceEvent tells what became of one event: the stages that it reached, the rules'
// verdict, what was sent, and each delivery with its attempts.
func (s *Server) traceEvent(c *gin.Context) error {
	account := c.Query("account")
	if account != "" && !config.AccountID(account) {
		return errAccountID
	}
	t, err := s.deps.Tracer.Trace(c.Request.Context(), account, c.Param("id"))
	if err == nil {
		of := "" // an event that cannot be told whose it is, is for those who may know of all
		if t.Event != nil {
			of = t.Event.Account
		}
		err = ofCaller(c, of, nil)
	}
	if err != nil {
		return or(err, store.ErrNotFound, errEvent)
	}
	stages := make([]stageView, len(t.Stages))
	for i, one := range t.Stages {
		stages[i] = stageView{one.Stage, isoOrNil(one.At)}
	}
	sends := make([]sendView, len(t.Sends))
	for i, one := range t.Sends {
		sends[i] = sendView{
			ID: one.ID, MessageID: one.WAID, To: one.To, Rule: one.Rule, Index: one.Index, State: one.State,
			Reason: one.Reason, Attempt: one.Attempt, SentAt: isoOrNil(one.SentAt),
			CreatedAt: iso(one.CreatedAt), UpdatedAt: iso(one.UpdatedAt),
		}
	}
	deliveries := make([]deliveryView, len(t.Deliveries))
	for i, one := range t.Deliveries {
		deliveries[i] = viewDelivery(one)
	}
	event := t.Event
	if event != nil && event.Raw != nil {
		bare := *event
		bare.Raw = nil
		event = &bare
	}
	return ok(c, gin.H{
		"ok": true, "event": event, "stages": stages, "verdict": withoutPayloads(t.Verdict), "sends": sends, "deliveries": deliveries,
	})
}

// withoutPayloads leaves the rendered messages out of a stored verdict: they hold
// each message's secret, and the sends beside it say what matters.
func withoutPayloads(verdict json.RawMessage) any {
	var v any
	if len(verdict) == 0 || json.Unmarshal(verdict, &v) != nil {
		return nil
	}
	strip(v)
	return v
}

func strip(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "payload")
		for _, inner := range v {
			strip(inner)
		}
	case []any:
		for _, inner := range v {
			strip(inner)
		}
	}
}
