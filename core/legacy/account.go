package legacy

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
)

// Skipped is a document that is not taken over.
type Skipped struct {
	// ID names the document: a message's, a file's or an account's id.
	ID string
	// Reason is one of a few constant texts, to be counted by.
	Reason string
}

// Account is an account of the old service.
type Account struct {
	// Old is its id there. Account.ID differs where that cannot be an id of ours.
	Old     string
	Account store.Account
}

// Webhook is a webhook of the old service. ID and Secret are not set: it had none.
type Webhook struct{ Webhook store.Webhook }

// The state and reason in which accounts come over: package account's words.
const (
	stateCreated   = "created"
	stateLoggedOut = "logged_out"
	reasonImported = "imported"
)

var badID = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// account converts an account. It is logged out: the keys are not taken over.
func account(doc fields, taken map[string]bool) (Account, *Skipped) {
	old := doc.text("_id", "id")
	if old == "" {
		return Account{}, &Skipped{ID: "?", Reason: "it has no id"}
	}
	created := doc.when("createdAt")
	a := Account{Old: old, Account: store.Account{
		ID: accountID(old, taken), Name: doc.text("name"), Collection: doc.text("collectionName"),
		State: stateLoggedOut, Reason: reasonImported, CreatedAt: created, UpdatedAt: doc.when("updatedAt"),
	}}
	if doc.text("status") == stateCreated {
		a.Account.State, a.Account.Reason = stateCreated, ""
	}
	if a.Account.Name == "" {
		a.Account.Name = a.Account.ID
	}
	if a.Account.Collection == "" {
		a.Account.Collection = "auth_" + old
	}
	return a, nil
}

// accountID is the old id where it can be one, else one that is like it.
func accountID(old string, taken map[string]bool) string {
	id := old
	if !config.AccountID(id) {
		const room = 58 // of 64, for a number
		like := badID.ReplaceAllString(id, "_")
		like = like[:min(len(like), room)]
		id = like
		for n := 2; taken[id]; n++ {
			id = fmt.Sprintf("%s_%d", like, n)
		}
	}
	taken[id] = true
	return id
}

// webhook converts a webhook.
func webhook(doc fields) (Webhook, *Skipped) {
	address := strings.TrimSpace(doc.text("url"))
	u, err := url.Parse(address)
	switch {
	case address == "":
		return Webhook{}, &Skipped{ID: doc.text("_id"), Reason: "it has no URL"}
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return Webhook{}, &Skipped{ID: doc.text("_id"), Reason: "its URL is not http:// or https://"}
	}
	return Webhook{Webhook: store.Webhook{URL: address, CreatedAt: doc.when("createdAt")}}, nil
}
