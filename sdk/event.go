// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"encoding/json"
	"time"
)

// EventType names what happened. Receivers must ignore types they do not know:
// new ones are added, existing ones are never renamed.
type EventType string

// The event types.
const (
	// TypeMessage is a message, received or sent by the account. Event.Message is set.
	TypeMessage EventType = "message"
	// TypeReceipt says that messages were delivered, read or played. Event.Receipt is set.
	TypeReceipt EventType = "receipt"
	// TypeUndecryptable is the placeholder for a message that could not be
	// decrypted; the sender's device is asked to send it again and the message
	// that then comes is an event of its own. Event.Message is set, without content.
	TypeUndecryptable EventType = "undecryptable"
	// TypeUnparsed is something that WhatsApp handed over and that this version
	// could not convert; Event.Raw holds it.
	TypeUnparsed EventType = "unparsed"
	// TypeReaction is an emoji put on a message or taken away. Event.Reaction is set.
	TypeReaction EventType = "reaction"
	// TypeEdit is a new text for an earlier message. Event.Edit is set.
	TypeEdit EventType = "edit"
	// TypeRevoke is the deletion of an earlier message for everyone. Event.Revoke is set.
	TypeRevoke EventType = "revoke"
	// TypeAccount is a change of an account's state. Event.AccountChange is set.
	TypeAccount EventType = "account"
)

// Event is one thing that happened on an account. Events of one chat form a
// sequence without gaps; what has no chat belongs to the account's own sequence.
type Event struct {
	// ID is 32 hex digits, derived from account, chat, sender, WhatsApp id and
	// class: the same happening always has the same id. Use it as an idempotency key.
	ID string `json:"id"`
	// Type says which of the pointers below is set.
	Type EventType `json:"type"`
	// Account is the id of the account that saw the event.
	Account string `json:"account"`
	// Chat is the chat's key, a JID without device part, in the form (phone number
	// or LID) under which the chat was first seen; "" when the event has no chat.
	Chat string `json:"chat,omitempty"`
	// ChatAlt is the chat's other name (LID or phone number), where WhatsApp told it.
	ChatAlt string `json:"chat_alt,omitempty"`
	// WAID is WhatsApp's id of the stanza that brought the event; "" if it has none.
	WAID string `json:"wa_id,omitempty"`
	// Seq numbers the events of a chat from 1, without gaps.
	Seq uint64 `json:"seq"`
	// Time is when it happened, by WhatsApp's clock where WhatsApp gives one.
	Time time.Time `json:"time"`

	Message       *Message       `json:"message,omitempty"`
	Receipt       *Receipt       `json:"receipt,omitempty"`
	Reaction      *Reaction      `json:"reaction,omitempty"`
	Edit          *Edit          `json:"edit,omitempty"`
	Revoke        *Revoke        `json:"revoke,omitempty"`
	AccountChange *AccountChange `json:"account_change,omitempty"`

	// Tags were put on the event by rules.
	Tags []string `json:"tags,omitempty"`
	// Raw is what WhatsApp sent, as protobuf JSON, where it says more than the
	// fields above; may be empty.
	Raw json.RawMessage `json:"raw,omitempty"`
}

// Receipt says what became of messages.
type Receipt struct {
	// Kind is delivered, read, played, retry, sender or another word of WhatsApp's.
	Kind string `json:"kind"`
	// MessageIDs are WhatsApp's ids of the messages.
	MessageIDs []string `json:"message_ids"`
	// From is the JID of the person, without device.
	From string `json:"from"`
	// Device is the number of the person's device that reported; 0 is the phone.
	Device int `json:"device,omitempty"`
	// FromMe is true when another device of the account itself reported.
	FromMe bool `json:"from_me,omitempty"`
}

// Reaction is an emoji on a message; an empty Emoji takes it away.
type Reaction struct {
	Target Target `json:"target"`
	From   string `json:"from"`
	FromMe bool   `json:"from_me,omitempty"`
	Emoji  string `json:"emoji"`
}

// Edit is a new text for an earlier message.
type Edit struct {
	Target Target `json:"target"`
	From   string `json:"from"`
	FromMe bool   `json:"from_me,omitempty"`
	Text   string `json:"text"`
}

// Revoke is the deletion of an earlier message for everyone.
type Revoke struct {
	Target Target `json:"target"`
	From   string `json:"from"`
	FromMe bool   `json:"from_me,omitempty"`
}

// AccountChange is a change of an account's state, with its stable reason code.
type AccountChange struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}
