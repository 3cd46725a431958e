package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

// Message is a message as the REST API lists it.
type Message struct {
	EventID string
	Account string
	// Chat is the chat's key.
	Chat      string
	Message   *sdk.Message
	Raw       json.RawMessage
	CreatedAt time.Time
	UpdatedAt time.Time
}

// MessageQuery selects messages, newest first.
type MessageQuery struct {
	// Account "" means all accounts.
	Account string
	// Accounts, if there are any, limit the answer to these as well.
	Accounts []string
	// Chat is a chat key; "" means all chats.
	Chat string
	// After and Before bound the message time, exclusive; zero means open.
	After, Before time.Time
	Offset        int
	// Limit is at most 500.
	Limit int
}

// Messages reads messages. They are written by AppendEvent.
type Messages interface {
	// Message returns the newest message of the account with this WhatsApp id, or ErrNotFound.
	Message(ctx context.Context, account, waID string) (Message, error)
	// ListMessages returns a page and how many messages match in all.
	ListMessages(ctx context.Context, q MessageQuery) (page []Message, total int, err error)
	// ListChats returns an account's chats that have messages, the one with the newest first.
	ListChats(ctx context.Context, account string) ([]ChatSummary, error)
}

// ChatSummary is a chat as a list of chats shows it.
type ChatSummary struct {
	// Chat is the chat's key.
	Chat string
	// Messages is how many are stored.
	Messages int
	// Last is the newest.
	Last Message
}
