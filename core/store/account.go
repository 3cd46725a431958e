package store

import (
	"context"
	"time"
)

// Account is one WhatsApp account as an operator knows it.
type Account struct {
	// ID is chosen by the operator: [A-Za-z0-9_-]{1,64}.
	ID string
	// Name is for people.
	Name string
	// Collection is where the old program kept the account's keys; kept because
	// its REST contract shows it.
	Collection string
	// JID is the device's own address once paired ("123:4@s.whatsapp.net"), else "".
	JID string
	// LID is the device's other address once paired, else "".
	LID string
	// State and Reason are the state machine's stable words.
	State  string
	Reason string
	// Connect is what the operator wants: true keeps the account connected across restarts.
	Connect bool
	// Greeted says that the administrator was told of the first connection.
	Greeted   bool
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Accounts keeps accounts.
type Accounts interface {
	// CreateAccount inserts an account, or fails with ErrExists.
	CreateAccount(ctx context.Context, a Account) error
	// Account returns one account, or ErrNotFound.
	Account(ctx context.Context, id string) (Account, error)
	// ListAccounts returns all, ordered by id.
	ListAccounts(ctx context.Context) ([]Account, error)
	// UpdateAccount applies change to the current record atomically and returns the
	// result; ErrNotFound if it is gone. change may run more than once. The ID stays,
	// and UpdatedAt is now unless change sets it.
	UpdateAccount(ctx context.Context, id string, change func(*Account)) (Account, error)
	// DeleteAccount removes the account and everything that belongs to it: chats,
	// events, messages, sends, deliveries and its media. ErrNotFound if it is gone. It
	// is done in several writes, the account itself last: after an error, call it again.
	DeleteAccount(ctx context.Context, id string) error
}
