package api

import (
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/store"
)

// deliveryView is a delivery with its attempts.
type deliveryView struct {
	ID         string              `json:"id"`
	Event      string              `json:"event"`
	Endpoint   string              `json:"endpoint"`
	Account    string              `json:"account"`
	Chat       string              `json:"chat"`
	Seq        uint64              `json:"seq"`
	Prev       uint64              `json:"prev"`
	State      store.DeliveryState `json:"state"`
	Reason     string              `json:"reason"`
	Generation int                 `json:"generation"`
	// Attempt counts the finished, counted attempts of this generation.
	Attempt   int           `json:"attempt"`
	Due       any           `json:"due"`
	Stepped   bool          `json:"stepped"`
	Attempts  []attemptView `json:"attempts"`
	CreatedAt string        `json:"createdAt"`
	UpdatedAt string        `json:"updatedAt"`
}

type attemptView struct {
	N          int    `json:"n"`
	Generation int    `json:"generation"`
	At         string `json:"at"`
	TookMS     int64  `json:"tookMs"`
	Status     string `json:"status"`
	Code       int    `json:"code"`
	Reason     string `json:"reason"`
	// Body is the beginning of the receiver's answer.
	Body string `json:"body"`
}

func viewDelivery(d store.Delivery) deliveryView {
	v := deliveryView{
		ID: d.ID, Event: d.EventID, Endpoint: d.Endpoint, Account: d.Account, Chat: d.Chat, Seq: d.Seq, Prev: d.Prev,
		State: d.State, Reason: d.Reason, Generation: d.Generation, Attempt: d.Attempt, Stepped: d.Stepped,
		Attempts: make([]attemptView, len(d.Attempts)), CreatedAt: iso(d.CreatedAt), UpdatedAt: iso(d.UpdatedAt),
	}
	if d.State == store.DeliveryQueued {
		v.Due = isoOrNil(d.Due)
	}
	for i, a := range d.Attempts {
		v.Attempts[i] = attemptView{
			N: a.N, Generation: a.Generation, At: iso(a.At), TookMS: a.Took.Milliseconds(),
			Status: a.Status, Code: a.Code, Reason: a.Reason, Body: a.Body,
		}
	}
	return v
}

// listDeliveries pages from the newest: pass the answer's cursor to go on.
func (s *Server) listDeliveries(c *gin.Context) error {
	state := store.DeliveryState(c.Query("state"))
	if known := []store.DeliveryState{
		"", store.DeliveryQueued, store.DeliveryOK, store.DeliveryDead, store.DeliveryParked, store.DeliveryCancelled,
	}; !slices.Contains(known, state) {
		return errDeliveryState
	}
	since, valid := when(c, "since")
	if !valid {
		return errSince
	}
	limit, _ := page(c)
	rows, err := s.deps.Deliveries.ListDeliveries(c.Request.Context(), store.DeliveryQuery{
		Endpoint: c.Query("endpoint"), State: state, EventID: c.Query("event"), Accounts: callerOf(c).limits(), Before: c.Query("cursor"), Limit: limit,
	})
	if err != nil {
		return or(err, store.ErrNotFound, errDelivery) // the cursor's
	}
	var cursor string
	if len(rows) == limit {
		cursor = rows[len(rows)-1].ID
	}
	views := make([]deliveryView, 0, len(rows))
	for _, d := range rows {
		if d.CreatedAt.Before(since) {
			cursor = "" // newest first: all that follow are older
			break
		}
		views = append(views, viewDelivery(d))
	}
	return ok(c, gin.H{"ok": true, "deliveries": views, "cursor": filled(cursor)})
}

func (s *Server) replayDelivery(c *gin.Context) error {
	id := c.Param("id")
	if callerOf(c).key.Limited() {
		d, err := s.deps.Deliveries.Delivery(c.Request.Context(), id)
		if err := ofCaller(c, d.Account, err); err != nil {
			return or(err, store.ErrNotFound, errDelivery)
		}
	}
	d, err := s.deps.Deliveries.Replay(c.Request.Context(), id)
	if err != nil {
		return or(or(or(err, store.ErrNotFound, errDelivery), store.ErrStale, errDeliveryQueued), ErrConnectorMissing, errConnectorGone)
	}
	return ok(c, gin.H{"ok": true, "delivery": viewDelivery(d)})
}

// orEmpty makes a list that is not there an empty one: [] instead of null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
