package send

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	// Unquoted sends without the quote: the message is not known. It is the same request all the same.
	Unquoted bool
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
	// ErrElsewhere: this process does not hold the account, or did not hold it long enough.
	// Nothing was sent, and nothing will be; the process that holds the account can.
	ErrElsewhere = errors.New("account is held by another hub")
)

// FailedError says that WhatsApp refused a message.
type FailedError struct{ Reason string }

// Error implements error.
func (e *FailedError) Error() string { return "message was refused: " + e.Reason }

// Enqueue stores a message to be sent and returns WhatsApp's id of it. The same key
// with the same request returns the first one's row.
func (q *Queue) Enqueue(ctx context.Context, r Request) (store.Send, error) {
	return q.enqueue(ctx, r, 0)
}

// Ask tells what became of a request that came before under the same key. It stores nothing, waits
// for nothing and needs no connection: ErrPending says that the message goes out later. Errors wrap
// store.ErrNotFound if no request came under this key.
func (q *Queue) Ask(ctx context.Context, r Request) (Result, error) {
	old, err := q.deps.Store.SendByKey(ctx, r.Account, r.Key)
	if err == nil {
		old, err = sameRequest(old, requestHash(r))
	}
	if err != nil {
		return Result{}, fmt.Errorf("look up idempotency key: %w", err)
	}
	got, err := q.look(ctx, old.ID)
	if err == nil && !got.settled {
		err = ErrPending
	}
	return Result{MessageID: old.WAID, At: old.SentAt}, err
}

// enqueue notes under which epoch the caller waits, 0 where that does not matter.
func (q *Queue) enqueue(ctx context.Context, r Request, epoch uint64) (store.Send, error) {
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
	if r.QuoteID != "" && !r.Unquoted {
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
		State: store.SendQueued, Epoch: epoch, CreatedAt: now, UpdatedAt: now,
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
		if r.Key == "" {
			q.disown(snd.ID) // it may be stored all the same, and its caller will ask again
		}
		return store.Send{}, fmt.Errorf("store message to send: %w", err)
	}
	q.Wake(r.Account)
	return snd, nil
}

// Send stores a message and waits until WhatsApp has accepted or refused it. Where several
// processes share the accounts, only the one that holds the account takes the message.
func (q *Queue) Send(ctx context.Context, r Request) (Result, error) {
	var epoch uint64
	var again <-chan time.Time
	if q.deps.Tenure != nil {
		if epoch = q.deps.Tenure(r.Account); epoch == 0 {
			return Result{}, fmt.Errorf("send for account %s: %w", r.Account, ErrElsewhere)
		}
		tick := time.NewTicker(q.every)
		defer tick.Stop()
		again = tick.C
	}
	snd, err := q.enqueue(ctx, r, epoch)
	if err != nil {
		return Result{}, err
	}
	for {
		done, cancel := q.watch(snd.ID)
		// Read after watching, so that an outcome in between is not missed.
		got, err := q.look(context.WithoutCancel(ctx), snd.ID)
		if err != nil || got.settled {
			cancel()
		}
		switch {
		case got.settled:
			return got.result, err
		case err != nil:
			return q.unread(snd, err)
		}
		select {
		case <-done:
		case <-again:
		case <-ctx.Done():
			cancel()
			return q.abandon(context.WithoutCancel(ctx), snd)
		}
		cancel()
	}
}

// outcome is what became of a send, if it is settled.
type outcome struct {
	send    store.Send
	settled bool
	result  Result
}

// look reads what became of a send. One that waits for an account that has moved away is
// withdrawn: its new holder would not send it.
func (q *Queue) look(ctx context.Context, id string) (outcome, error) {
	for range moveTries {
		snd, err := q.deps.Store.Send(ctx, id)
		if err != nil {
			return outcome{}, fmt.Errorf("read send: %w", err)
		}
		got := outcome{send: snd, settled: true, result: Result{MessageID: snd.WAID, At: snd.SentAt}}
		moved := q.deps.Tenure != nil && q.deps.Tenure(snd.Account) != snd.Epoch
		switch snd.State {
		case store.SendSent:
			return got, nil
		case store.SendFailed:
			switch {
			case snd.Reason != callerGone:
				return got, &FailedError{Reason: snd.Reason}
			case moved:
				return got, ErrElsewhere
			}
			return got, ErrWithdrawn
		case store.SendUnknown:
			return got, ErrUnknown
		case store.SendQueued:
			if snd.Repeat || !moved {
				break
			}
			if err := q.withdraw(ctx, snd); errors.Is(err, store.ErrStale) {
				continue
			} else if err != nil {
				got.settled = false
				return got, err
			}
			return got, ErrElsewhere
		}
		got.settled = false
		return got, nil
	}
	return outcome{}, nil // it changes all the time: it is looked at again
}

// moveTries bounds how often a send is tried to be withdrawn that changes meanwhile.
const moveTries = 5

// abandon withdraws a message that nobody waits for or could ask about again.
func (q *Queue) abandon(ctx context.Context, snd store.Send) (Result, error) {
	for range moveTries {
		got, err := q.look(ctx, snd.ID)
		switch {
		case got.settled:
			return got.result, err
		case err != nil:
			return q.unread(snd, err)
		}
		if got.send.Repeat || got.send.State != store.SendQueued {
			break
		}
		if err = q.withdraw(ctx, got.send); err == nil {
			return Result{}, ErrWithdrawn
		} else if !errors.Is(err, store.ErrStale) {
			return q.unread(snd, err)
		}
	}
	return Result{MessageID: snd.WAID}, ErrPending // it is on the wire, or will be sent
}

// unread is the answer about a message of which nobody can find out what has become, since the
// store fails. It may have been sent, so that its caller must not take it for one that was not.
func (q *Queue) unread(snd store.Send, err error) (Result, error) {
	if errors.Is(err, store.ErrNotFound) { // it may have left just before
		return Result{MessageID: snd.WAID}, fmt.Errorf("%w: it was deleted with its account", ErrUnknown)
	}
	if !snd.Repeat {
		q.disown(snd.ID)
	}
	return Result{MessageID: snd.WAID}, fmt.Errorf("%w: %w", ErrPending, err)
}

// maxDisowned bounds what is remembered: the latest are those that may still be queued.
const maxDisowned = 1 << 12

// disown notes a message whose caller was answered without knowing what becomes of it. If it is
// still queued once the store answers, it is withdrawn. Should this process end before that, its
// successor withdraws it as any that nobody waits for.
func (q *Queue) disown(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.disowned) == maxDisowned {
		q.disowned = slices.Delete(q.disowned, 0, maxDisowned/2)
	}
	q.disowned = append(q.disowned, id)
}

// disowns says whether a message was noted.
func (q *Queue) disowns(id string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Contains(q.disowned, id)
}

// withdraw fails a send that is queued, unless it has changed since it was read.
func (q *Queue) withdraw(ctx context.Context, snd store.Send) error {
	_, err := q.deps.Store.MoveSend(ctx, store.SendMove{
		ID: snd.ID, From: store.SendQueued, To: store.SendFailed, Epoch: snd.Epoch, Reason: callerGone, At: q.deps.Now(),
	})
	if err != nil {
		return fmt.Errorf("withdraw send: %w", err)
	}
	q.results.WithLabelValues("withdrawn").Inc()
	return nil
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
