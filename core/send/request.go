package send

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// Request is a text to send, from REST or from a connector.
type Request struct {
	Account string
	// To is a JID or a phone number.
	To       string
	Text     string
	Mentions []string
	// QuoteID is WhatsApp's id of the message that is answered; "" for none.
	QuoteID string
	// Key is the caller's idempotency key; "" for none. Without one, an uncertain
	// send is never repeated: its caller will.
	Key string
}

// Result is an accepted message.
type Result struct {
	MessageID string
	// At is WhatsApp's time of acceptance.
	At time.Time
}

// The errors of Send and Enqueue, beside the renderer's.
var (
	// ErrQuotedNotFound: the message to answer is not stored.
	ErrQuotedNotFound = errors.New("quoted message not found")
	// ErrKeyReused: the idempotency key came with another request before.
	ErrKeyReused = errors.New("idempotency key was used for another request")
	// ErrPending: the message is stored and goes out later; ask again with the same key.
	ErrPending = errors.New("message is queued")
	// ErrWithdrawn: the caller went away before the message left, and had no key to ask again with.
	ErrWithdrawn = errors.New("message was not sent")
	// ErrUnknown: whether the message went out is not known, and it will not be repeated.
	ErrUnknown = errors.New("outcome of the send is unknown")
)

// FailedError says that WhatsApp refused a message.
type FailedError struct{ Reason string }

// Error implements error.
func (e *FailedError) Error() string { return "message was refused: " + e.Reason }

// Enqueue stores a message to be sent and returns WhatsApp's id of it. The same key
// with the same request returns the first one's row.
func (q *Queue) Enqueue(ctx context.Context, r Request) (store.Send, error) {
	hash := requestHash(r)
	if r.Key != "" {
		old, err := q.deps.Store.SendByKey(ctx, r.Account, r.Key)
		if err == nil {
			return sameRequest(old, hash)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return store.Send{}, fmt.Errorf("look up idempotency key: %w", err)
		}
	}
	var quote *sdk.Message
	if r.QuoteID != "" {
		m, err := q.deps.Store.Message(ctx, r.Account, r.QuoteID)
		if errors.Is(err, store.ErrNotFound) {
			return store.Send{}, ErrQuotedNotFound
		}
		if err != nil {
			return store.Send{}, fmt.Errorf("look up quoted message: %w", err)
		}
		quote = m.Message
	}
	address, payload, err := q.deps.Render.RenderText(r.To, r.Text, quote, r.Mentions)
	if err != nil {
		return store.Send{}, err
	}
	alias, err := q.deps.Store.ResolveAlias(ctx, r.Account, address)
	if err != nil {
		return store.Send{}, fmt.Errorf("resolve alias: %w", err)
	}
	now := q.deps.Now()
	snd := store.Send{
		ID: "snd_" + ulid.Make().String(), Account: r.Account, Chat: alias.Key, WAID: q.deps.Render.NewID(),
		To: address, Payload: payload, Key: r.Key, KeyHash: hash, Repeat: r.Key != "",
		State: store.SendQueued, CreatedAt: now, UpdatedAt: now,
	}
	err = q.deps.Store.InsertSend(ctx, snd)
	if errors.Is(err, store.ErrExists) && r.Key != "" {
		old, err := q.deps.Store.SendByKey(ctx, r.Account, r.Key)
		if err != nil {
			return store.Send{}, fmt.Errorf("look up idempotency key: %w", err)
		}
		return sameRequest(old, hash)
	}
	if err != nil {
		return store.Send{}, fmt.Errorf("store message to send: %w", err)
	}
	q.Wake(r.Account)
	return snd, nil
}

// Send stores a message and waits until WhatsApp has accepted or refused it.
func (q *Queue) Send(ctx context.Context, r Request) (Result, error) {
	snd, err := q.Enqueue(ctx, r)
	if err != nil {
		return Result{}, err
	}
	for {
		done, cancel := q.watch(snd.ID)
		// Read after watching, so that an outcome in between is not missed.
		snd, err = q.deps.Store.Send(context.WithoutCancel(ctx), snd.ID)
		if err != nil {
			cancel()
			return Result{}, fmt.Errorf("read send: %w", err)
		}
		switch snd.State {
		case store.SendSent:
			cancel()
			return Result{MessageID: snd.WAID, At: snd.SentAt}, nil
		case store.SendFailed:
			cancel()
			return Result{}, &FailedError{Reason: snd.Reason}
		case store.SendUnknown:
			cancel()
			return Result{MessageID: snd.WAID}, ErrUnknown
		}
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
			cancel()
			return q.abandon(context.WithoutCancel(ctx), snd)
		}
	}
}

// abandon withdraws a message that nobody waits for or could ask about again.
func (q *Queue) abandon(ctx context.Context, snd store.Send) (Result, error) {
	if snd.Repeat {
		return Result{MessageID: snd.WAID}, ErrPending
	}
	_, err := q.deps.Store.MoveSend(ctx, store.SendMove{
		ID: snd.ID, From: store.SendQueued, To: store.SendFailed, Epoch: q.epoch(snd.Account), Reason: "caller_gone", At: q.deps.Now(),
	})
	switch {
	case err == nil:
		return Result{}, ErrWithdrawn
	case errors.Is(err, store.ErrStale):
		return Result{MessageID: snd.WAID}, ErrPending // it is on the wire
	default:
		return Result{}, fmt.Errorf("withdraw send: %w", err)
	}
}

func sameRequest(old store.Send, hash string) (store.Send, error) {
	if old.KeyHash != hash {
		return store.Send{}, ErrKeyReused
	}
	return old, nil
}

func requestHash(r Request) string {
	b, err := json.Marshal([]any{r.To, r.Text, r.Mentions, r.QuoteID})
	if err != nil { // strings always encode
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
