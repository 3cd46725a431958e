package api

import (
	"encoding/json"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
)

// sendView is an outgoing message without its payload, which holds a secret.
type sendView struct {
	ID        string          `json:"id"`
	MessageID string          `json:"messageId"`
	To        string          `json:"to"`
	Event     string          `json:"event,omitempty"` // that it answers
	Rule      string          `json:"rule"`
	Index     int             `json:"index"`
	State     store.SendState `json:"state"`
	Reason    string          `json:"reason"`
	Attempt   int             `json:"attempt"`
	SentAt    any             `json:"sentAt"`
	CreatedAt string          `json:"createdAt"`
	UpdatedAt string          `json:"updatedAt"`
}

func viewSends(list []store.Send) []sendView {
	views := make([]sendView, len(list))
	for i, one := range list {
		views[i] = sendView{
			ID: one.ID, MessageID: one.WAID, To: one.To, Event: one.EventID, Rule: one.Rule, Index: one.Index, State: one.State,
			Reason: one.Reason, Attempt: one.Attempt, SentAt: isoOrNil(one.SentAt),
			CreatedAt: iso(one.CreatedAt), UpdatedAt: iso(one.UpdatedAt),
		}
	}
	return views
}

// listSends pages from the oldest: pass the answer's cursor to go on.
func (s *Server) listSends(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	state := store.SendState(c.Query("state"))
	if known := []store.SendState{
		"", store.SendQueued, store.SendSending, store.SendSent, store.SendFailed, store.SendUnknown,
	}; !slices.Contains(known, state) {
		return errSendState
	}
	if _, err := s.account(c, errAccount); err != nil {
		return err
	}
	limit, _ := page(c)
	list, err := s.deps.Sends.ListSends(c.Request.Context(), store.SendQuery{Account: id, State: state, After: c.Query("cursor"), Limit: limit})
	if err != nil {
		return or(err, store.ErrNotFound, errSendCursor)
	}
	cursor := ""
	if len(list) == limit {
		cursor = list[len(list)-1].ID
	}
	return ok(c, gin.H{"ok": true, "sends": viewSends(list), "cursor": filled(cursor)})
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
		switch {
		case t.Event != nil:
			of = t.Event.Account
		case len(t.Sends) > 0:
			of = t.Sends[0].Account
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
	sends := viewSends(t.Sends)
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
