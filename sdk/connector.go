// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// Connector takes events to somewhere else. The hub calls Configure, then
// Start, then Deliver from as many goroutines as Info allows, then Stop.
//
// Delivery is at least once and, per chat, in order: the next event of a chat
// is not delivered before the one before it has finished, unless Delivery.Ordered
// is false. The event's id is the idempotency key.
type Connector interface {
	// Info is constant and may be called at any time.
	Info() Info
	// Configure strictly decodes and validates the entry's `with:` object. It does no I/O.
	// A returned *ConfigError names the path of the mistake.
	Configure(with json.RawMessage) error
	// Start acquires what Deliver needs. ctx is for start-up only: it ends when Start returns.
	Start(ctx context.Context, host Host) error
	// Deliver hands over one event. The zero Result asks for a retry, so a
	// forgotten status never loses an event.
	Deliver(ctx context.Context, d Delivery) Result
	// Stop releases everything. It is safe without Start, and safe twice.
	Stop(ctx context.Context) error
}

// Info describes a connector.
type Info struct {
	// Type is the connector's short name, such as "webhook".
	Type    string `json:"type"`
	Version string `json:"version"`
	// Doc is one line for people.
	Doc string `json:"doc"`
	// Schema is the JSON Schema of the `with:` object; may be empty.
	Schema json.RawMessage `json:"schema,omitempty"`
	// InFlight is how many Deliver calls may run at once (webhook 16, a stream 256); 0 means 1.
	InFlight int `json:"in_flight"`
}

// Delivery is one event on its way to one connector.
type Delivery struct {
	Event *Event `json:"event"`
	// Attempt counts from 1 and restarts with a replay.
	Attempt int `json:"attempt"`
	// Ordered is false when an earlier event of the chat stepped aside after failing.
	Ordered bool `json:"ordered"`
	// Prev is the seq of the event last queued to this connector from this chat,
	// 0 if none: a filter leaves holes in Seq, a loss would leave one in Prev.
	Prev uint64 `json:"prev"`
}

// Status is what became of a delivery.
type Status uint8

// The statuses. The zero value is Retry.
const (
	// Retry asks for another attempt after the hub's back-off, or after Result.After.
	Retry Status = iota
	// OK finishes the delivery.
	OK
	// Reject buries the delivery: the same event would fail again.
	Reject
	// Disable stops all deliveries to this connector until an operator enables it; they are kept.
	Disable
)

// String returns retry, ok, reject or disable.
func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Reject:
		return "reject"
	case Disable:
		return "disable"
	default:
		return "retry"
	}
}

// Result is a connector's answer to a delivery.
type Result struct {
	Status Status
	// After, if positive, asks that the next attempt wait at least so long (at most 24 h).
	After time.Duration
	// Uncounted spends no attempt (a rate limit, a shutdown).
	Uncounted bool
	// Limit, if positive, bounds how many attempts this kind of failure is worth.
	Limit int
	// Code is the receiver's own code, such as an HTTP status; 0 if none.
	Code int
	// Reason is a stable word such as "timeout" or "redirect".
	Reason string
	// Body is the beginning of the receiver's answer, at most 4 KiB are kept.
	Body string
}

// Host is what the hub offers to a connector while it runs.
type Host interface {
	// Send queues a text message and returns WhatsApp's id of it. ref is the
	// idempotency key: the same ref never sends twice.
	Send(ctx context.Context, ref string, m Outgoing) (messageID string, err error)
	// Media opens the bytes of a media file.
	Media(ctx context.Context, id string) (io.ReadCloser, error)
	// Get reads a value of this connector's own durable map; ok is false when there is none.
	Get(ctx context.Context, key string) (value []byte, ok bool, err error)
	// Set writes a value of this connector's own durable map; nil deletes it.
	Set(ctx context.Context, key string, value []byte) error
}

// Outgoing is a text message to send.
type Outgoing struct {
	Account string `json:"account"`
	// To is a JID or a bare phone number.
	To   string `json:"to"`
	Text string `json:"text"`
	// QuoteID, if set, is WhatsApp's id of the message that is answered.
	QuoteID string `json:"quote_id,omitempty"`
	// Mentions are JIDs.
	Mentions []string `json:"mentions,omitempty"`
}

// ConfigError is a mistake in a connector's configuration.
type ConfigError struct {
	// Path is where in the `with:` object, such as "retry.max"; "" is the object itself.
	Path    string
	Message string
}

// Error implements error.
func (e *ConfigError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}
