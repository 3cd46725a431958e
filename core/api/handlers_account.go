package api

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
)

// accountView is an account as the contract lists it; the fields after hasQR are new.
type accountView struct {
	MongoID       string `json:"_id"`
	Name          string `json:"name"`
	Collection    string `json:"collectionName"`
	CreatedAt     string `json:"createdAt"`
	Status        string `json:"status"`
	UpdatedAt     string `json:"updatedAt"`
	CurrentStatus string `json:"currentStatus"`
	HasQR         bool   `json:"hasQR"`
	ID            string `json:"id"`
	State         string `json:"state"`
	Reason        string `json:"reason"`
	JID           string `json:"jid"`
	LID           string `json:"lid"`
}

// holderTimeout bounds how long one account's record waits for who holds it.
const holderTimeout = 3 * time.Second

// notStarted is currentStatus while no connection is held.
const notStarted = "not_started"

// oldStatus is the contract's word for an account's state: it has six, ours are finer.
func oldStatus(state string) string {
	switch state {
	case "created", "connecting", "connected", "reconnecting", "logged_out", "disconnected":
		return state
	case "pairing":
		return "connecting"
	default: // banned, replaced, outdated, failed: what the old program showed for a dead socket
		return "disconnected"
	}
}

// live says of a state whether a connection is up, coming up or waited for.
func live(state string) bool {
	switch state {
	case "connecting", "pairing", "connected", "reconnecting":
		return true
	}
	return false
}

// view shows an account. Of one that another hub holds the record tells what that one has.
func (s *Server) view(a store.Account, elsewhere bool) accountView {
	v := accountView{
		MongoID: a.ID, Name: a.Name, Collection: a.Collection, CreatedAt: iso(a.CreatedAt), UpdatedAt: iso(a.UpdatedAt),
		Status: oldStatus(a.State), CurrentStatus: notStarted,
		ID: a.ID, State: a.State, Reason: a.Reason, JID: a.JID, LID: a.LID,
	}
	if qr, held := s.deps.Accounts.Live(a.ID); held {
		v.CurrentStatus, v.HasQR = v.Status, qr != ""
	} else if elsewhere && live(a.State) {
		v.CurrentStatus, v.HasQR = v.Status, a.State == "pairing"
	}
	return v
}

// collectionName is what MongoDB takes as a collection's name, of the characters that are
// allowed: it has no empty part between dots. Those that begin with system. are its own.
var collectionName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

const maxCollection = 120

func validCollection(name string) bool {
	return len(name) <= maxCollection && collectionName.MatchString(name) && !strings.HasPrefix(name, "system.")
}

func (s *Server) createAccount(c *gin.Context) error {
	b, err := s.readBody(c)
	if err != nil {
		return err
	}
	id, isText := b.text("id")
	switch {
	case !b.has("id"):
		return errIDRequired
	case !isText || !config.AccountID(id):
		return errAccountID
	}
	name, isText := b.text("name")
	if !isText || utf8.RuneCountInString(name) > 200 {
		return errAccountName
	}
	if name == "" {
		name = id
	}
	collection, isText := b.text("collectionName")
	if collection == "" {
		collection = "auth_" + id
	}
	if !isText || !validCollection(collection) {
		return errCollection
	}
	a, err := s.deps.Accounts.Create(c.Request.Context(), store.Account{ID: id, Name: name, Collection: collection})
	if err != nil {
		return or(err, store.ErrExists, errAccountExists)
	}
	c.PureJSON(http.StatusCreated, gin.H{"ok": true, "account": gin.H{
		"id": a.ID, "name": a.Name, "collectionName": a.Collection, "status": "created",
	}})
	return nil
}

func (s *Server) listAccounts(c *gin.Context) error {
	list, err := s.deps.Accounts.List(c.Request.Context())
	if err != nil {
		return err
	}
	var elsewhere map[string]bool
	if s.deps.Peers != nil {
		if elsewhere, err = s.deps.Peers.Elsewhere(c.Request.Context(), ""); err != nil {
			return err
		}
	}
	who, views := callerOf(c), make([]accountView, 0, len(list))
	for _, a := range list {
		if who.sees(a.ID) {
			views = append(views, s.view(a, elsewhere[a.ID]))
		}
	}
	return ok(c, gin.H{"ok": true, "accounts": views})
}

// account returns the account that the path names, or the given answer.
func (s *Server) account(c *gin.Context, missing *failure) (store.Account, error) {
	id, err := accountParam(c)
	if err != nil {
		return store.Account{}, err
	}
	a, err := s.deps.Accounts.Get(c.Request.Context(), id)
	return a, or(err, store.ErrNotFound, missing)
}

// accountParam is the account id of the path.
func accountParam(c *gin.Context) (string, error) {
	id := c.Param("accountId")
	if !config.AccountID(id) {
		return "", errAccountID
	}
	return id, nil
}

func (s *Server) getAccount(c *gin.Context) error {
	a, err := s.account(c, errAccount)
	if err != nil {
		return err
	}
	elsewhere := false
	if s.deps.Peers != nil && s.deps.Peers.Here(a.ID) != nil {
		// What is known from memory is shown, too, while nobody can know.
		ctx, cancel := context.WithTimeout(c.Request.Context(), holderTimeout)
		defer cancel()
		if others, err := s.deps.Peers.Elsewhere(ctx, a.ID); err == nil {
			elsewhere = others[a.ID]
		}
	}
	return ok(c, gin.H{"ok": true, "account": s.view(a, elsewhere)})
}

func (s *Server) deleteAccount(c *gin.Context) error {
	a, err := s.account(c, errAccount)
	if err != nil {
		return err
	}
	if err := s.deps.Accounts.Delete(c.Request.Context(), a.ID); err != nil {
		return or(err, store.ErrNotFound, errAccount)
	}
	return ok(c, gin.H{"ok": true, "message": "Account deleted", "deletedCollection": a.Collection})
}

func (s *Server) accountStatus(c *gin.Context) error {
	a, err := s.account(c, errNotStarted)
	if err != nil {
		return err
	}
	qr, held := s.deps.Accounts.Live(a.ID)
	if !held {
		return errNotStarted.with("state", a.State).with("reason", a.Reason)
	}
	return ok(c, gin.H{
		"ok": true, "accountId": a.ID, "status": oldStatus(a.State), "qr": filled(qr), "collection": a.Collection,
		"state": a.State, "reason": a.Reason,
	})
}

func (s *Server) connectAccount(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	if err := s.deps.Accounts.Connect(c.Request.Context(), id); err != nil {
		return unlessPassing(err, errConnect)
	}
	a, err := s.deps.Accounts.Get(c.Request.Context(), id)
	if err != nil {
		return unlessPassing(err, errConnect)
	}
	return ok(c, gin.H{
		"ok": true, "accountId": id, "status": oldStatus(a.State), "state": a.State,
		"message": "Connection initiated. Check /accounts/" + id + "/status for QR code",
	})
}

func (s *Server) disconnectAccount(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	if err := s.deps.Accounts.Disconnect(c.Request.Context(), id); err != nil {
		return unlessPassing(err, errDisconnect)
	}
	return ok(c, gin.H{"ok": true, "message": "Account disconnected"})
}

func (s *Server) logoutAccount(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	if err := s.deps.Accounts.Logout(c.Request.Context(), id); err != nil {
		return or(err, store.ErrNotFound, errAccount)
	}
	return ok(c, gin.H{"ok": true, "message": "Account logged out"})
}
