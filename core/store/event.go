package store

import (
	"context"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

// Stage is how far an event has come.
type Stage int

// The stages. They only grow.
const (
	StageStored Stage = 0 // appended, and so acknowledged to WhatsApp
	StageRuled  Stage = 1 // its verdict is stored
	StageDone   Stage = 2 // everything that the verdict asks for is stored
)

// StoredEvent is an event with its progress.
type StoredEvent struct {
	Event *sdk.Event
	Stage Stage
	// Epoch is the highest epoch that wrote it.
	Epoch uint64
	// Verdict is the stored verdict, opaque here; nil before StageRuled.
	Verdict  []byte
	StoredAt time.Time
	// DoneAt is zero before StageDone.
	DoneAt time.Time
}

// Append is one event to store.
type Append struct {
	// Event has ID, Account and Chat set. Seq is assigned: the next of
	// (Account, Chat). Chat "" is the account's own sequence. The event itself is
	// not changed: take Seq and Chat from Appended.
	Event *sdk.Event
	// OtherIDs are the ids that the same happening would have under the chat's or
	// sender's other names; if one of them is stored, this is a duplicate.
	OtherIDs []string
	// Epoch fences the write: a new event is refused with ErrStale if a higher epoch
	// has appended to the chat. It becomes the event's epoch, so Settle needs one at
	// least as high: one lease should stand behind both.
	Epoch uint64
	// Sent, if set, moves a send from SendSending to SendSent with this append; also
	// when the event is a duplicate. A send in another state is left alone.
	Sent *SentMark
}

// SentMark says which send an own-sent event proves.
type SentMark struct {
	SendID string
	// At is WhatsApp's time of acceptance.
	At time.Time
}

// Appended is the outcome of an append.
type Appended struct {
	// ID is the id under which the event is stored (for a duplicate, the older one's).
	ID string
	// Chat is the chat's key under which it is stored: Event.Chat, or the key that
	// took over when ResolveAlias merged that chat into another.
	Chat string
	// Seq is the number in the chat.
	Seq uint64
	// Duplicate is true when the event was there already: no number was used.
	Duplicate bool
}

// Settlement is everything that follows from an event, written at once or, where
// an engine has no transactions, in this order: verdict, sends, deliveries, stage.
type Settlement struct {
	EventID string
	Account string
	Chat    string
	Seq     uint64
	Epoch   uint64
	// Verdict is inserted if there is none. If another one is stored, Settle
	// changes nothing and fails with ErrExists: read it and settle by it.
	Verdict []byte
	// Sends and Deliveries are inserted; those whose id exists are left as they are.
	Sends []Send
	// Deliveries get Prev from the engine: the seq last queued to the same endpoint
	// from the same chat. Settle writes it into the slice. They are of this event and
	// chat, start queued, and with epoch 0.
	Deliveries []Delivery
}

// Events keeps events and their progress.
type Events interface {
	// AppendEvent stores an event once. For a message event it also upserts the
	// message row. A duplicate is a success.
	AppendEvent(ctx context.Context, a Append) (Appended, error)
	// Event returns one event, or ErrNotFound.
	Event(ctx context.Context, id string) (StoredEvent, error)
	// Settle stores what follows from an event and moves it to StageDone. An event
	// that is done already, by the same verdict, is a success and changes nothing.
	// ErrNotFound if the event is gone, ErrExists if another verdict is stored (done
	// or not), ErrStale if fenced.
	Settle(ctx context.Context, s *Settlement) error
	// UnfinishedChats returns the (account, chat) pairs that have events before
	// StageDone, in an order of the engine's that does not change, those after the
	// given pair (its zero value: from the start), at most limit.
	UnfinishedChats(ctx context.Context, after ChatRef, limit int) ([]ChatRef, error)
	// UnfinishedEvents returns a chat's events before StageDone with a seq above
	// after, in order of seq, at most limit.
	UnfinishedEvents(ctx context.Context, chat ChatRef, after uint64, limit int) ([]StoredEvent, error)
	// ListEvents returns a page of an account's events in the order in which they were
	// stored, those after the event with id after ("" from the start; ErrNotFound if it
	// is gone). Account "" means all.
	ListEvents(ctx context.Context, account, after string, limit int) ([]StoredEvent, error)
}

// ChatRef names a chat of an account.
type ChatRef struct {
	Account string
	Chat    string
}

// Alias is what is known of a person's or chat's names.
type Alias struct {
	// Key is the form that identifies it: the first one ever stored.
	Key string
	// Others are its further forms, under which older records may stand.
	Others []string
}

// Chats resolves the two names (phone number and LID) that WhatsApp has for one chat or person.
type Chats interface {
	// ResolveAlias returns the key of the person or chat that has these forms (JIDs
	// without device part; preferred form first, empty ones ignored), remembering
	// durably that they belong together. If two forms were known under different
	// keys they are merged: the key stored first wins, and the younger chat gets no
	// new numbers. Stored events keep their key and seq.
	ResolveAlias(ctx context.Context, account string, forms ...string) (Alias, error)
}
