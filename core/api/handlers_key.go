package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/store"
)

// keyView is an API key without the key itself.
type keyView struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Scope      keys.Scope `json:"scope"`
	Accounts   []string   `json:"accounts"` // none: all
	CreatedAt  any        `json:"createdAt"`
	ExpiresAt  any        `json:"expiresAt"`
	LastUsedAt any        `json:"lastUsedAt"` // about, to the minute
	Stored     bool       `json:"stored"`     // false: the configuration gives it
}

func viewKey(k keys.Key) keyView {
	return keyView{
		ID: k.ID, Name: k.Name, Scope: k.Scope, Accounts: orEmpty(k.Accounts), CreatedAt: isoOrNil(k.CreatedAt),
		ExpiresAt: isoOrNil(k.ExpiresAt), LastUsedAt: isoOrNil(k.LastUsed), Stored: k.ID != keys.EnvironmentID,
	}
}

// createKey answers with the key itself, this once.
func (s *Server) createKey(c *gin.Context) error {
	if err := s.keysMayChange(); err != nil {
		return err
	}
	b, err := s.readBody(c)
	if err != nil {
		return err
	}
	r, err := keyRequest(b, s.deps.Now())
	if err != nil {
		return err
	}
	k, token, err := s.deps.Keys.Create(c.Request.Context(), r)
	if err != nil {
		return err
	}
	c.PureJSON(http.StatusCreated, gin.H{"ok": true, "key": viewKey(k), "token": token})
	return nil
}

// keysMayChange refuses changes by people whom nobody has asked who they are: a key that one
// of them makes would outlast the day on which keys are asked for.
func (s *Server) keysMayChange() error {
	if s.deps.Keys.Mode() == keys.Disabled {
		return errKeysDisabled
	}
	return nil
}

func keyRequest(b body, now time.Time) (keys.Request, error) {
	var r keys.Request
	name, isText := b.text("name")
	if !isText {
		return r, errKeyName
	}
	scope, isText := b.text("scope")
	if !isText {
		return r, errKeyScope
	}
	accounts, isList := b.texts("accounts")
	if !isList {
		return r, errKeyAccounts
	}
	r = keys.Request{Name: name, Scope: keys.Scope(scope), Accounts: accounts}
	in, isText := b.text("expiresIn")
	at, isText2 := b.text("expiresAt")
	if !isText || !isText2 || in != "" && at != "" {
		return r, errKeyExpiry
	}
	if in != "" {
		d, err := time.ParseDuration(in)
		if err != nil || d <= 0 {
			return r, errKeyExpiry
		}
		r.ExpiresAt = now.Add(d)
	}
	if at != "" {
		var err error
		if r.ExpiresAt, err = time.Parse(time.RFC3339, strings.TrimSpace(at)); err != nil {
			return r, errKeyExpiry
		}
	}
	return r, nil
}

func (s *Server) listKeys(c *gin.Context) error {
	list, err := s.deps.Keys.List(c.Request.Context())
	if err != nil {
		return err
	}
	views := make([]keyView, len(list))
	for i, k := range list {
		views[i] = viewKey(k)
	}
	return ok(c, gin.H{"ok": true, "keys": views})
}

func (s *Server) deleteKey(c *gin.Context) error {
	if err := s.keysMayChange(); err != nil {
		return err
	}
	if _, err := s.deps.Keys.Delete(c.Request.Context(), c.Param("id")); err != nil {
		return or(err, store.ErrNotFound, errKey)
	}
	// Without any key the API is open to this machine, which should surprise nobody.
	return ok(c, gin.H{"ok": true, "message": "Key revoked", "open": s.deps.Keys.Mode() == keys.Open})
}
