package legacy

import (
	"net/url"
	"strings"

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

// account converts an account. It is logged out: the keys are not taken over.
func account(doc fields, names map[string]string) (Account, *Skipped) {
	old := doc.text("_id", "id")
	if old == "" {
		return Account{}, &Skipped{ID: "?", Reason: "it has no id"}
	}
	created := doc.when("createdAt")
	a := Account{Old: old, Account: store.Account{
		ID: names[old], Name: doc.text("name"), Collection: doc.text("collectionName"),
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
