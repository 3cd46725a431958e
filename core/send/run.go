package send

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/crashpoint"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

const (
	pageSize = 32
	retryMin = 500 * time.Millisecond
	retryMax = 30 * time.Second
	// idlePoll finds what a lost wake-up left behind.
	idlePoll = 30 * time.Second
	// outcomePoll is how soon the caller learns of an outcome that another process stored,
	// since the account moved there while the caller waited.
	outcomePoll = time.Second
	// ackGrace is how long an acknowledgement is waited for once a receipt has come, which follows it.
	ackGrace = 2 * time.Second
	// callerGone is the reason of a send that nobody waits for.
	callerGone = "caller_gone"
)

// Run sends an account's messages until ctx ends: first those that an earlier
// connection left uncertain, then what is queued, in order. The caller owns the
// account under epoch and calls Run once per connection, after WhatsApp has handed
// over what waited there, receipts included.
func (q *Queue) Run(ctx context.Context, account string, epoch uint64, s whatsapp.Sender) {
	log := q.log.With("account", account)
	r := &connection{q: q, account: account, epoch: epoch, sender: s, unsent: make(map[string]int)}
	var wait time.Duration
	for ctx.Err() == nil {
		err := r.drain(ctx)
		if err == nil {
			wait = 0
			q.sleep(ctx, account, idlePoll, true)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		wait = min(max(2*wait, retryMin), retryMax)
		log.Warn("sending pauses", "err", err, "duration", wait)
		q.sleep(ctx, account, time.Duration(float64(wait)*(0.5+q.deps.Rand())), false)
	}
}

// sleep waits for d, for ctx, or (if asked) for the bell.
func (q *Queue) sleep(ctx context.Context, account string, d time.Duration, bell bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	var ring <-chan struct{}
	if bell {
		ring = q.bell(account)
	}
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-ring:
	}
}

// connection is one Run.
type connection struct {
	q       *Queue
	account string
	epoch   uint64
	sender  whatsapp.Sender
	// unsent counts, by send, the failures of this connection before anything left.
	unsent map[string]int
}

// drain sends until nothing is left. Uncertain sends go first: a later message of
// the same chat must not overtake an earlier one that may not have gone out.
func (c *connection) drain(ctx context.Context) error {
	for ctx.Err() == nil {
		uncertain, err := c.q.deps.Store.ListSends(ctx, store.SendQuery{Account: c.account, State: store.SendSending, Limit: pageSize})
		if err != nil {
			return fmt.Errorf("list uncertain sends: %w", err)
		}
		for _, snd := range uncertain {
			if err := c.recover(ctx, snd); err != nil {
				return err
			}
		}
		if len(uncertain) == pageSize {
			continue
		}
		queued, err := c.q.deps.Store.ListSends(ctx, store.SendQuery{Account: c.account, State: store.SendQueued, Limit: pageSize})
		if err != nil {
			return fmt.Errorf("list queued sends: %w", err)
		}
		for _, snd := range queued {
			if err := c.next(ctx, snd); err != nil {
				return err
			}
		}
		if len(queued) == 0 && len(uncertain) == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// next sends what is queued. A request without a key whose caller died with an earlier
// process, or was answered while nobody could know, is withdrawn: the caller will ask again.
func (c *connection) next(ctx context.Context, snd store.Send) error {
	if !snd.Repeat && snd.EventID == "" && (c.orphaned(snd) || c.q.disowns(snd.ID)) {
		return c.q.fail(ctx, snd, c.epoch, callerGone, "withdrawn")
	}
	return c.attempt(ctx, snd)
}

// orphaned says that nobody waits for a request's outcome. Among several processes only the
// account's holder takes requests, so that one of an earlier epoch is another's: it died, or
// let go of the account and told its caller so. Of this epoch are those of this process, and of
// a predecessor of its name.
func (c *connection) orphaned(snd store.Send) bool {
	if c.q.deps.Tenure != nil && snd.Epoch < c.epoch {
		return true
	}
	return snd.CreatedAt.Before(c.q.started)
}

// recover decides what becomes of an uncertain send. Receipts that prove it went
// out were handled as they came (Confirm), so none is known here.
func (c *connection) recover(ctx context.Context, snd store.Send) error {
	switch {
	case !snd.Repeat, c.q.cfg.AtMostOnce:
		return c.q.giveUp(ctx, snd, c.epoch, "uncertain")
	case snd.Attempt >= c.q.cfg.MaxUncertain:
		return c.q.giveUp(ctx, snd, c.epoch, "unconfirmed")
	}
	c.q.results.WithLabelValues("repeated").Inc()
	c.q.log.Info("repeating an uncertain send", "account", snd.Account, "message_id", snd.WAID, "attempt", snd.Attempt+1)
	return c.attempt(ctx, snd)
}

func (q *Queue) giveUp(ctx context.Context, snd store.Send, epoch uint64, reason string) error {
	if err := q.leased(snd.Account, epoch); err != nil {
		return fmt.Errorf("mark send %s unknown: %w", snd.ID, err)
	}
	_, err := q.deps.Store.MoveSend(ctx, store.SendMove{
		ID: snd.ID, From: store.SendSending, To: store.SendUnknown, Attempt: snd.Attempt, Epoch: epoch, Reason: reason, At: q.deps.Now(),
	})
	if errors.Is(err, store.ErrStale) {
		return nil // a receipt was faster
	}
	if err != nil {
		return fmt.Errorf("mark send %s unknown: %w", snd.ID, err)
	}
	q.results.WithLabelValues("unknown").Inc()
	q.log.Warn("send stays unknown", "account", snd.Account, "message_id", snd.WAID, "reason", reason)
	q.settled(snd.ID)
	return nil
}

// attempt is S1 to S4 of the protocol: durable `sending`, the wire, the outcome.
func (c *connection) attempt(ctx context.Context, snd store.Send) error {
	q, epoch := c.q, c.epoch
	if err := q.leased(snd.Account, epoch); err != nil {
		return fmt.Errorf("send %s: %w", snd.ID, err)
	}
	moved, err := q.deps.Store.MoveSend(ctx, store.SendMove{
		ID: snd.ID, From: snd.State, To: store.SendSending, Attempt: snd.Attempt, Epoch: epoch, At: q.deps.Now(),
	})
	if errors.Is(err, store.ErrStale) || errors.Is(err, store.ErrNotFound) {
		return nil // confirmed by a receipt, or deleted with its account
	}
	if err != nil {
		return fmt.Errorf("mark send %s sending: %w", snd.ID, err)
	}
	crashpoint.Hit("after_sending")
	if err := q.leased(snd.Account, epoch); err != nil { // writing that down took longer than the lease
		return fmt.Errorf("send %s: %w", snd.ID, err)
	}
	start := q.deps.Now()
	accepted, proven, err := c.send(ctx, moved)
	// What WhatsApp said is written down even while the connection is being shut down.
	wctx := context.WithoutCancel(ctx)
	log := q.log.With("account", moved.Account, "chat", moved.Chat, "message_id", moved.WAID, "attempt", moved.Attempt)
	var refused *whatsapp.RefusedError
	switch {
	case err == nil:
		q.took.Observe(q.deps.Now().Sub(start).Seconds())
		if err := q.accepted(ctx, moved, accepted.At); err != nil {
			return err
		}
		q.results.WithLabelValues("sent").Inc()
		log.Info("message sent", "duration", q.deps.Now().Sub(start))
		return nil
	case proven:
		log.Warn("acknowledgement of a message is lost, a receipt proves that it went out", "duration", q.deps.Now().Sub(start))
		return nil
	case errors.As(err, &refused):
		log.Warn("WhatsApp refused a message", "reason", refused.Reason, "code", refused.Code)
		return q.fail(wctx, moved, epoch, refused.Reason, "refused")
	case errors.Is(err, whatsapp.ErrNotSent):
		return c.unsendable(wctx, moved, err)
	default:
		q.results.WithLabelValues("uncertain").Inc()
		log.Warn("send is uncertain", "err", err)
		return fmt.Errorf("send %s: %w", moved.ID, err)
	}
}

// send hands a message to WhatsApp. Once a receipt has proven that it went out, its outcome is
// stored, and the acknowledgement not waited for much longer: it is lost, and the account's other
// messages wait.
func (c *connection) send(ctx context.Context, snd store.Send) (acc whatsapp.Accepted, proven bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.q.cfg.Timeout)
	defer cancel()
	settled, forget := c.q.watch(snd.ID)
	defer forget()
	go func() {
		select {
		case <-settled:
		case <-ctx.Done():
			return
		}
		t := time.NewTimer(c.q.ackGrace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-ctx.Done():
		}
	}()
	acc, err = c.sender.Send(ctx, whatsapp.Outgoing{ID: snd.WAID, To: snd.To, Payload: snd.Payload})
	select {
	case <-settled:
		proven = true
	default:
	}
	return acc, proven, err
}

// unsendable queues again what did not leave. What fails so again and again while the
// connection is up would hold up the account for ever, and is failed.
func (c *connection) unsendable(ctx context.Context, snd store.Send, cause error) error {
	if err := c.q.leased(snd.Account, c.epoch); err != nil {
		return fmt.Errorf("queue send %s again: %w", snd.ID, err)
	}
	c.q.results.WithLabelValues("requeued").Inc()
	_, err := c.q.deps.Store.MoveSend(ctx, store.SendMove{
		ID: snd.ID, From: store.SendSending, To: store.SendQueued, Attempt: snd.Attempt, Epoch: c.epoch, At: c.q.deps.Now(),
	})
	if err != nil && !errors.Is(err, store.ErrStale) {
		return fmt.Errorf("queue send %s again: %w", snd.ID, err)
	}
	if c.unsent[snd.ID]++; err == nil && c.unsent[snd.ID] >= c.q.cfg.MaxUnsent {
		snd.State, snd.Attempt = store.SendQueued, 0
		c.q.log.Warn("message cannot be sent", "account", snd.Account, "message_id", snd.WAID, "err", cause)
		return c.q.fail(ctx, snd, c.epoch, "unsendable", "unsendable")
	}
	return fmt.Errorf("send %s: %w", snd.ID, cause)
}

// accepted records WhatsApp's acceptance. A store that fails does not make it
// uncertain: it is tried again for as long as the connection lasts.
func (q *Queue) accepted(ctx context.Context, snd store.Send, at time.Time) error {
	wait := retryMin
	for {
		err := q.sent(context.WithoutCancel(ctx), snd, at)
		if err == nil || ctx.Err() != nil {
			return err
		}
		q.log.Warn("an accepted message waits to be recorded", "account", snd.Account, "message_id", snd.WAID, "err", err, "duration", wait)
		q.sleep(ctx, snd.Account, time.Duration(float64(wait)*(0.5+q.deps.Rand())), false)
		wait = min(2*wait, retryMax)
	}
}

// fail ends a send for good.
func (q *Queue) fail(ctx context.Context, snd store.Send, epoch uint64, reason, result string) error {
	if err := q.leased(snd.Account, epoch); err != nil {
		return fmt.Errorf("mark send %s failed: %w", snd.ID, err)
	}
	_, err := q.deps.Store.MoveSend(ctx, store.SendMove{
		ID: snd.ID, From: snd.State, To: store.SendFailed, Attempt: snd.Attempt, Epoch: epoch, Reason: reason, At: q.deps.Now(),
	})
	if err != nil && !errors.Is(err, store.ErrStale) {
		return fmt.Errorf("mark send %s failed: %w", snd.ID, err)
	}
	q.results.WithLabelValues(result).Inc()
	q.settled(snd.ID)
	return nil
}

// Discard fails what waits to be sent or is uncertain: the account is linked to
// another number now, which must not say what the old one was asked to.
func (q *Queue) Discard(ctx context.Context, account string, epoch uint64, reason string) error {
	for _, state := range []store.SendState{store.SendQueued, store.SendSending} {
		for after := ""; ; {
			page, err := q.deps.Store.ListSends(ctx, store.SendQuery{Account: account, State: state, After: after, Limit: pageSize})
			if err != nil {
				return fmt.Errorf("list sends: %w", err)
			}
			if len(page) == 0 {
				break
			}
			after = page[len(page)-1].ID
			for _, snd := range page {
				if err := q.fail(ctx, snd, epoch, reason, "withdrawn"); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sent stores the own-sent event, which moves the send to sent in the same write.
func (q *Queue) sent(ctx context.Context, snd store.Send, at time.Time) error {
	ev, err := q.deps.Render.Describe(snd.Account, snd.WAID, snd.To, snd.Payload, at)
	if err != nil {
		return fmt.Errorf("describe sent message %s: %w", snd.ID, err)
	}
	if err := q.deps.Events.AppendSent(ctx, ev, store.SentMark{SendID: snd.ID, At: at}); err != nil {
		return fmt.Errorf("record sent message %s: %w", snd.ID, err)
	}
	q.settled(snd.ID)
	return nil
}

// Confirm takes a receipt's word that messages of ours reached WhatsApp: what was
// uncertain is sent. It is called for every receipt, also a repeated one, before
// the receipt is acknowledged.
func (q *Queue) Confirm(ctx context.Context, account string, epoch uint64, waIDs []string, at time.Time) error {
	for _, id := range waIDs {
		snd, err := q.deps.Store.SendByWAID(ctx, account, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look up send by message id: %w", err)
		}
		if snd.State != store.SendSending && snd.State != store.SendUnknown {
			continue
		}
		if snd.State == store.SendUnknown {
			// The proof came late; it becomes uncertain again, and then sent.
			if snd, err = q.deps.Store.MoveSend(ctx, store.SendMove{
				ID: snd.ID, From: store.SendUnknown, To: store.SendSending, Attempt: snd.Attempt, Epoch: epoch, At: q.deps.Now(),
			}); err != nil {
				if errors.Is(err, store.ErrStale) {
					continue
				}
				return fmt.Errorf("confirm send %s: %w", snd.ID, err)
			}
		}
		if err := q.sent(ctx, snd, at); err != nil {
			return err
		}
		q.results.WithLabelValues("confirmed").Inc()
	}
	return nil
}
