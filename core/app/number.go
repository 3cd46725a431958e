package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

// numbered is the queue of sends, kept from sending under a number what was asked of
// another: an account may be unlinked and paired again with another phone.
type numbered struct {
	store store.Store
	sends *send.Queue
	log   *slog.Logger
}

// numberNamespace holds, by account, the number that last sent.
const numberNamespace = "hub/number"

// numberRetry is the wait between two tries to find the number out.
const numberRetry = time.Second

// Run implements account.Outbox.
func (n numbered) Run(ctx context.Context, account string, epoch uint64, s whatsapp.Sender) {
	for {
		err := n.settle(ctx, account, epoch)
		if err == nil {
			n.sends.Run(ctx, account, epoch, s)
			return
		}
		if ctx.Err() == nil {
			n.log.Warn("sending waits", "account", account, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(numberRetry):
		}
	}
}

// settle discards what waits if the account's number is another than before.
func (n numbered) settle(ctx context.Context, account string, epoch uint64) error {
	a, err := n.store.Account(ctx, account)
	if err != nil {
		return err
	}
	number, _, _ := strings.Cut(a.JID, "@")
	number, _, _ = strings.Cut(number, ":")
	if number == "" {
		return nil
	}
	before, err := n.store.GetKV(ctx, numberNamespace, account)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return err
	case string(before) == number:
		return nil
	default:
		n.log.Warn("the account is linked to another number: what the old one was to send is discarded", "account", account)
		if err := n.sends.Discard(ctx, account, epoch, "other_number"); err != nil {
			return err
		}
	}
	return n.store.SetKV(ctx, numberNamespace, account, []byte(number), 0)
}
