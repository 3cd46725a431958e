package api

import (
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// named is what can be asked of a connector, or of a registered webhook, by its id. What is not
// there is unknown.
type named func(c *gin.Context, id string, unknown *failure) error

// ofConnector serves it for every connector.
func ofConnector(handle named) func(*gin.Context) error {
	return func(c *gin.Context) error { return handle(c, c.Param("id"), errConnector) }
}

// ofWebhook serves it for a registered webhook, which a key of its account may name.
func (s *Server) ofWebhook(handle named) func(*gin.Context) error {
	return func(c *gin.Context) error {
		if _, err := s.webhook(c); err != nil {
			return err
		}
		return handle(c, c.Param("id"), errWebhook)
	}
}

// webhook is the one that the path names, if the caller may know of it.
func (s *Server) webhook(c *gin.Context) (store.Webhook, error) {
	list, err := s.deps.Webhooks.ListWebhooks(c.Request.Context())
	if err != nil {
		return store.Webhook{}, err
	}
	i := slices.IndexFunc(list, func(w store.Webhook) bool { return w.ID == c.Param("id") })
	if i < 0 || !callerOf(c).sees(list[i].Account) {
		return store.Webhook{}, errWebhook
	}
	return list[i], nil
}

func (s *Server) listConnectors(c *gin.Context) error {
	list, err := s.deps.Connectors.ConnectorStatus(c.Request.Context())
	if err != nil {
		return err
	}
	return ok(c, gin.H{"ok": true, "connectors": orEmpty(list)})
}

// getWebhook shows a registered webhook with how its deliveries do.
func (s *Server) getWebhook(c *gin.Context) error {
	w, err := s.webhook(c)
	if err != nil {
		return err
	}
	list, err := s.deps.Connectors.ConnectorStatus(c.Request.Context())
	if err != nil {
		return err
	}
	view := viewWebhook(w)
	if i := slices.IndexFunc(list, func(s ConnectorStatus) bool { return s.ID == w.ID }); i >= 0 {
		view["state"], view["reason"], view["deliveries"] = list[i].State, filled(list[i].Reason), list[i].Deliveries
	}
	return ok(c, gin.H{"ok": true, "webhook": view})
}

// viewWebhook is a webhook without its secret.
func viewWebhook(w store.Webhook) gin.H {
	events := w.Events
	if len(events) == 0 {
		events = []string{string(sdk.TypeMessage)}
	}
	return gin.H{"id": w.ID, "url": w.URL, "accountId": filled(w.Account), "events": events, "createdAt": iso(w.CreatedAt)}
}

func (s *Server) enable(c *gin.Context, id string, unknown *failure) error {
	if err := s.deps.Connectors.EnableConnector(c.Request.Context(), id); err != nil {
		return or(err, store.ErrNotFound, unknown)
	}
	return ok(c, gin.H{"ok": true, "message": "Enabled"})
}

func (s *Server) disable(c *gin.Context, id string, unknown *failure) error {
	if err := s.deps.Connectors.DisableConnector(c.Request.Context(), id); err != nil {
		return or(err, store.ErrNotFound, unknown)
	}
	return ok(c, gin.H{"ok": true, "message": "Disabled"})
}

func (s *Server) discard(c *gin.Context, id string, unknown *failure) error {
	n, err := s.deps.Connectors.DiscardWaiting(c.Request.Context(), id)
	if err != nil {
		return or(or(err, store.ErrNotFound, unknown), ErrConnectorServed, errConnectorServed)
	}
	return ok(c, gin.H{"ok": true, "cancelled": n})
}
