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
)

// Run sends an account's messages until ctx ends: first those that an earlier
// connection left uncertain, then what is queued, in order. The caller owns the
// account under epoch and calls Run once per connection, after WhatsApp has handed
// over what waited there, receipts included.
func (q *Queue) Run(ctx context.Context, account string, epoch uint64, s whatsapp.Sender) {
	q.own(account, epoch)
	log := q.log.With("account", account)
	var wait time.Duration
	for ctx.Err() == nil {
		err := q.drain(ctx, account, epoch, s)
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

// drain sends until nothing is left. Uncertain sends go first: a later message of
// the same chat must not overtake an earlier one that may not have gone out.
func (q *Queue) drain(ctx context.Context, account string, epoch uint64, s whatsapp.Sender) error {
	for ctx.Err() == nil {
		uncertain, err := q.deps.Store.ListSends(ctx, store.SendQuery{Account: account, State: store.SendSending, Limit: pageSize})
		if err != nil {
			return fmt.Errorf("list uncertain sends: %w", err)
		}
		for _, snd := range uncertain {
			if err := q.recover(ctx, snd, epoch, s); err != nil {
				return err
			}
		}
		if len(uncertain) == pageSize {
			continue
		}
		queued, err := q.deps.Store.ListSends(ctx, store.SendQuery{Account: account, State: store.SendQueued, Limit: pageSize})
		if err != nil {
			return fmt.Errorf("list queued sends: %w", err)
		}
		for _, snd := range queued {
			if err := q.attempt(ctx, snd, epoch, s); err != nil {
				return err
			}
		}
		if len(queued) == 0 && len(uncertain) == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// recover decides what becomes of an uncertain send. Receipts that prove it went
// out were handled as they came (Confirm), so none is known here.
func (q *Queue) recover(ctx context.Context, snd store.Send, epoch uint64, s whatsapp.Sender) error {
	switch {
	case !snd.Repeat, q.cfg.AtMostOnce:
		return q.giveUp(ctx, snd, epoch, "uncertain")
	case snd.Attempt >= q.cfg.MaxUncertain:
		return q.giveUp(ctx, snd, epoch, "unconfirmed")
	}
	q.results.WithLabelValues("repeated").Inc()
	q.log.Info("repeating an uncertain send", "account", snd.Account, "message_id", snd.WAID, "attempt", snd.Attempt+1)
	return q.attempt(ctx, snd, epoch, s)
}

func (q *Queue) giveUp(ctx context.Context, snd store.Send, epoch uint64, reason string) error {
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
func (q *Queue) attempt(ctx context.Context, snd store.Send, epoch uint64, s whatsapp.Sender) error {
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
	start := q.deps.Now()
	sctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	accepted, err := s.Send(sctx, whatsapp.Outgoing{ID: moved.WAID, To: moved.To, Payload: moved.Payload})
	cancel()
	// What WhatsApp said is written down even while the connection is being shut down.
	wctx := context.WithoutCancel(ctx)
	log := q.log.With("account", moved.Account, "chat", moved.Chat, "message_id", moved.WAID, "attempt", moved.Attempt)
	var refused *whatsapp.RefusedError
	switch {
	case err == nil:
		q.took.Observe(q.deps.Now().Sub(start).Seconds())
		if err := q.sent(wctx, moved, accepted.At); err != nil {
			return err
		}
		q.results.WithLabelValues("sent").Inc()
		log.Info("message sent", "duration", q.deps.Now().Sub(start))
		return nil
	case errors.As(err, &refused):
		return q.refused(wctx, moved, epoch, refused)
	case errors.Is(err, whatsapp.ErrNotSent):
		q.results.WithLabelValues("requeued").Inc()
		if _, merr := q.deps.Store.MoveSend(wctx, store.SendMove{
			ID: moved.ID, From: store.SendSending, To: store.SendQueued, Attempt: moved.Attempt, Epoch: epoch, At: q.deps.Now(),
		}); merr != nil && !errors.Is(merr, store.ErrStale) {
			return fmt.Errorf("queue send %s again: %w", moved.ID, merr)
		}
		return fmt.Errorf("send %s: %w", moved.ID, err)
	default:
		q.results.WithLabelValues("uncertain").Inc()
		log.Warn("send is uncertain", "err", err)
		return fmt.Errorf("send %s: %w", moved.ID, err)
	}
}

func (q *Queue) refused(ctx context.Context, snd store.Send, epoch uint64, refused *whatsapp.RefusedError) error {
	q.results.WithLabelValues("refused").Inc()
	_, err := q.deps.Store.MoveSend(ctx, store.SendMove{
		ID: snd.ID, From: store.SendSending, To: store.SendFailed, Attempt: snd.Attempt, Epoch: epoch, Reason: refused.Reason, At: q.deps.Now(),
	})
	if err != nil && !errors.Is(err, store.ErrStale) {
		return fmt.Errorf("mark send %s failed: %w", snd.ID, err)
	}
	q.log.Warn("WhatsApp refused a message", "account", snd.Account, "message_id", snd.WAID, "reason", refused.Reason, "code", refused.Code)
	q.settled(snd.ID)
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

func (q *Queue) own(account string, epoch uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.epochs[account] = epoch
}

func (q *Queue) epoch(account string) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.epochs[account]
}
