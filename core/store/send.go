package store

import (
	"context"
	"time"
)

// SendState is where an outgoing message stands.
type SendState string

// The states of a send.
const (
	SendQueued  SendState = "queued"  // durable, not yet on the wire
	SendSending SendState = "sending" // written before the stanza leaves: after a crash it is uncertain
	SendSent    SendState = "sent"    // WhatsApp accepted it; its own-sent event is stored
	SendFailed  SendState = "failed"  // WhatsApp or a check of ours refused it, see Reason
	SendUnknown SendState = "unknown" // uncertain, and not to be repeated
)

// Send is one outgoing message. Payload, WAID and To never change, so that a
// repetition is the same message to WhatsApp.
type Send struct {
	// ID is derived (a rule's reply) or random (REST without a key).
	ID      string
	Account string
	// Chat is the key of the chat that it goes to.
	Chat string
	// WAID is WhatsApp's message id, chosen before anything goes out. Unique per account.
	WAID string
	// To is the address, a JID.
	To string
	// Payload is the marshalled waE2E.Message, MessageSecret included.
	Payload []byte
	// EventID, Rule and Index say which rule's action this is; EventID "" for a REST send.
	EventID string
	Rule    string
	Index   int
	// Key is the caller's Idempotency-Key, unique per account if set; KeyHash tells
	// whether the same key came with another request.
	Key     string
	KeyHash string
	// Repeat says whether an uncertain send may go out again (with the same id).
	Repeat bool
	State  SendState
	// Attempt counts how often it entered SendSending, less the times that it went back to
	// SendQueued: how often it may have left.
	Attempt int
	Epoch   uint64
	Reason  string
	// SentAt is WhatsApp's time of acceptance.
	SentAt    time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
}

// SendMove is a compare-and-set on a send's state.
type SendMove struct {
	ID   string
	From SendState
	To   SendState
	// Attempt, if not 0, must be the record's current attempt number.
	Attempt int
	// Epoch fences, and is stored.
	Epoch  uint64
	Reason string
	At     time.Time
}

// SendQuery selects sends in the order in which they were inserted, which within
// a chat is the order of (event seq, index).
type SendQuery struct {
	Account string
	State   SendState
	// After is the id of the last send of the page before; "" from the start.
	After string
	Limit int
}

// Sends keeps outgoing messages.
type Sends interface {
	// InsertSend stores a send, or fails with ErrExists (same id, WAID or Key).
	InsertSend(ctx context.Context, s Send) error
	// Send returns one by id, or ErrNotFound.
	Send(ctx context.Context, id string) (Send, error)
	// SendByWAID returns an account's send with this WhatsApp id, or ErrNotFound.
	SendByWAID(ctx context.Context, account, waID string) (Send, error)
	// SendByKey returns an account's send with this Idempotency-Key, or ErrNotFound.
	SendByKey(ctx context.Context, account, key string) (Send, error)
	// MoveSend changes the state and returns the new record; entering SendSending
	// adds one to Attempt, entering SendQueued takes one back. ErrStale if it is not in From, or fenced.
	MoveSend(ctx context.Context, m SendMove) (Send, error)
	// ListSends returns a page.
	ListSends(ctx context.Context, q SendQuery) ([]Send, error)
	// SendsOfEvent returns what an event caused, by rule and index.
	SendsOfEvent(ctx context.Context, eventID string) ([]Send, error)
}
