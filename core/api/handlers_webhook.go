package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/oklog/ulid/v2"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
)

func (s *Server) createWebhook(c *gin.Context) error {
	b, err := s.readBody(c)
	if err != nil {
		return err
	}
	w, err := webhookRequest(b)
	if err != nil {
		return err
	}
	if !callerOf(c).sees(w.Account) { // one without an account is for all of them
		return errNotYours(w.Account)
	}
	now := s.deps.Now()
	id, err := ulid.New(ulid.Timestamp(now), s.deps.Rand)
	if err != nil {
		return fmt.Errorf("make webhook id: %w", err)
	}
	w.ID, w.CreatedAt = "wh_"+id.String(), now
	if w.Secret == "" {
		key := make([]byte, 32)
		if _, err := io.ReadFull(s.deps.Rand, key); err != nil {
			return fmt.Errorf("make webhook secret: %w", err)
		}
		w.Secret = "whsec_" + base64.StdEncoding.EncodeToString(key)
	}
	stored, created, err := s.deps.Webhooks.AddWebhook(c.Request.Context(), w)
	if err != nil {
		return err
	}
	if !created {
		return ok(c, gin.H{"ok": true, "url": stored.URL, "created": false, "id": stored.ID})
	}
	c.PureJSON(http.StatusCreated, gin.H{"ok": true, "url": stored.URL, "created": true, "id": stored.ID, "secret": stored.Secret})
	return nil
}

// webhookRequest reads and checks a registration.
func webhookRequest(b body) (store.Webhook, error) {
	var w store.Webhook
	address, isText := b.text("url")
	if !isText || address == "" {
		return w, errURLRequired
	}
	u, err := url.Parse(strings.TrimSpace(address))
	switch {
	case err != nil || u.Scheme == "" || len(address) > 8192:
		return w, errURL
	case u.Scheme != "http" && u.Scheme != "https":
		return w, errURLScheme
	case u.Hostname() == "" || !validPort(u.Port()):
		return w, errURL
	}
	w.URL = strings.TrimSpace(address)
	if w.Account, isText = b.text("accountId"); !isText || w.Account != "" && !config.AccountID(w.Account) {
		return w, errWebhookAccount
	}
	events, isList := b.texts("events")
	if !isList {
		return w, errWebhookEvents
	}
	for _, e := range events {
		if !slices.Contains(config.EventTypes(), e) {
			return w, errWebhookEvents.with("known", config.EventTypes())
		}
		if !slices.Contains(w.Events, e) {
			w.Events = append(w.Events, e)
		}
	}
	if w.Secret, isText = b.text("secret"); !isText || w.Secret != "" && !validSecret(w.Secret) {
		return w, errWebhookSecret
	}
	if raw := b["headers"]; len(raw) > 0 {
		if json.Unmarshal(raw, &w.Headers) != nil || len(w.Headers) > 50 {
			return w, errWebhookHeaders
		}
	}
	return w, nil
}

// validPort says whether a URL's port can be dialled; url.Parse takes any number. "" is the
// scheme's own.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// validSecret checks what Standard Webhooks asks of a secret.
func validSecret(secret string) bool {
	encoded, prefixed := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	return prefixed && err == nil && len(key) >= 24 && len(key) <= 64
}

func (s *Server) listWebhooks(c *gin.Context) error {
	list, err := s.deps.Webhooks.ListWebhooks(c.Request.Context())
	if err != nil {
		return err
	}
	who, views := callerOf(c), make([]gin.H, 0, len(list))
	for _, w := range list {
		if !who.sees(w.Account) {
			continue
		}
		views = append(views, viewWebhook(w))
	}
	return ok(c, gin.H{"ok": true, "webhooks": views})
}

func (s *Server) deleteWebhook(c *gin.Context) error {
	if callerOf(c).key.Limited() {
		if _, err := s.webhook(c); err != nil {
			return err
		}
	}
	if err := s.deps.Webhooks.DeleteWebhook(c.Request.Context(), c.Param("id")); err != nil {
		return or(err, store.ErrNotFound, errWebhook)
	}
	return ok(c, gin.H{"ok": true, "message": "Webhook deleted"})
}
