package store

import (
	"context"
	"fmt"
	"time"
)

// Kind names what a database holds, for moving it to another engine.
type Kind string

// The kinds, each with the type of its records. Files are listed as BlobInfo and moved by
// Blobs, since their content does not go through memory. Of a lease only name and epoch
// are moved: nobody holds it while data is moved.
const (
	KindAccounts   Kind = "accounts"   // Account
	KindChats      Kind = "chats"      // ChatRecord
	KindAliases    Kind = "aliases"    // AliasRecord
	KindEvents     Kind = "events"     // StoredEvent
	KindMessages   Kind = "messages"   // MessageRecord
	KindSends      Kind = "sends"      // Send
	KindDeliveries Kind = "deliveries" // Delivery
	KindEndpoints  Kind = "endpoints"  // EndpointState
	KindWebhooks   Kind = "webhooks"   // Webhook
	KindKV         Kind = "kv"         // KVRecord
	KindLeases     Kind = "leases"     // Lease
	KindBlobs      Kind = "blobs"      // BlobInfo
)

// Kinds returns all kinds, each after those that it refers to.
func Kinds() []Kind {
	return []Kind{
		KindAccounts, KindChats, KindAliases, KindEvents, KindMessages, KindSends, KindDeliveries,
		KindEndpoints, KindWebhooks, KindKV, KindLeases, KindBlobs,
	}
}

// Ordered tells whether the order of a kind's records is part of what is stored.
func (k Kind) Ordered() bool {
	switch k {
	case KindAliases, KindEvents, KindSends, KindDeliveries, KindWebhooks:
		return true
	}
	return false
}

// ChatRecord is a chat's counter.
type ChatRecord struct {
	Account, Chat string
	// Seq is the last number given out, Epoch the highest that appended.
	Seq, Epoch uint64
	// MergedInto is the key of the chat that took over, "" if none did.
	MergedInto string
}

// AliasRecord is one form of a name, and the form that is its key.
type AliasRecord struct{ Account, Form, Key string }

// MessageRecord is what a message is found by. Its content is the event's unless Body,
// an sdk.Message as JSON, is set.
type MessageRecord struct {
	EventID, Account, Chat, WAID string
	Time, UpdatedAt              time.Time
	Body                         []byte
}

// KVRecord is an entry of the map. Expires is zero for one that stays.
type KVRecord struct {
	Namespace, Key string
	Value          []byte
	Expires        time.Time
}

// Transfer reads and writes records as they are, with numbers, stages and epochs, to
// move them to another engine. Nothing else may use the database meanwhile.
type Transfer interface {
	// Export returns some of a kind's records, of the type that the kind names, and the
	// cursor for those that follow: "" after the last. limit is a hint. The order is
	// that of storing where the kind is ordered (aliases: within an account).
	Export(ctx context.Context, k Kind, after string, limit int) (records []any, next string, err error)
	// Import writes records as they are, in their order, replacing those that are there
	// already; a lease's epoch only grows. It does not take KindBlobs. Called for all
	// records of all kinds in the order of Kinds, and again after an error, it leaves
	// what was exported.
	Import(ctx context.Context, k Kind, records []any) error
}

// Each turns records into their type, for engines.
func Each[T any](records []any, do func(T) error) error {
	for _, r := range records {
		x, ok := r.(T)
		if !ok {
			return fmt.Errorf("record is %T", r)
		}
		if err := do(x); err != nil {
			return err
		}
	}
	return nil
}

// Anys turns a typed page into records, for engines.
func Anys[T any](page []T) []any {
	out := make([]any, len(page))
	for i := range page {
		out[i] = page[i]
	}
	return out
}
