// Package whatsapp is the seam to WhatsApp: the Client that the rest of the hub
// sees, and its whatsmeow implementation. It owns the conversion between
// whatsmeow's events and ours in both directions (one kind_<name>.go per message
// kind), and the rule that nothing is acknowledged before the Handler returned nil.
// It does not own an account's life (package account) nor any record.
package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

// Handler stores an event. nil acknowledges it to WhatsApp; an error refuses it,
// and from then on the client refuses everything, so that WhatsApp's redelivery to
// the next client is complete and in order. The event comes without ID and Seq.
type Handler func(ctx context.Context, ev *sdk.Event) error

// Sender sends what was rendered before.
type Sender interface {
	// Send puts one message on the wire and waits for WhatsApp's acceptance.
	// ErrNotSent: nothing left, queue it again. *RefusedError: WhatsApp said no.
	// Any other error: uncertain, it may have gone out.
	Send(ctx context.Context, m Outgoing) (Accepted, error)
}

// Outgoing is a message that is ready for the wire.
type Outgoing struct {
	// ID is WhatsApp's message id, chosen by us.
	ID string
	// To is the address, a JID without device.
	To string
	// Payload is a marshalled waE2E.Message.
	Payload []byte
}

// Accepted is WhatsApp's acceptance.
type Accepted struct {
	// At is the server's time.
	At time.Time
}

// ErrNotSent says that nothing was written to the wire.
var ErrNotSent = errors.New("not sent")

// RefusedError is WhatsApp's refusal of a message.
type RefusedError struct {
	// Code is WhatsApp's error code.
	Code int
	// Reason is a stable word of ours.
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused by WhatsApp: %s (code %d)", e.Reason, e.Code)
}

// Text is a text message to render.
type Text struct {
	// To is a JID.
	To   string
	Text string
	// Quote, if set, is the message that is answered.
	Quote *sdk.Message
	// Mentions are JIDs.
	Mentions []string
}

// Client is one connection to WhatsApp: it connects once and is closed once. For the
// next connection its owner makes a new one, with new device objects: whatsmeow's
// queue of received stanzas belongs to its client, so a refused message would
// otherwise come back behind its successors.
type Client interface {
	Sender
	// Connect dials and shakes hands; what follows arrives as signals. ctx bounds the
	// dialling only. An error means that there is no connection.
	Connect(ctx context.Context) error
	// Close refuses what still arrives, waits for the handler that runs, closes the
	// connection and retires the device. Safe twice, and without Connect. When it
	// returned nil, a successor may begin.
	Close(ctx context.Context) error
	// Logout unlinks the device from the phone and removes its keys.
	Logout(ctx context.Context) error
	// MarkRead tells the sender that messages were read; sender is needed in groups only.
	MarkRead(ctx context.Context, chat, sender string, ids []string, at time.Time) error
}
