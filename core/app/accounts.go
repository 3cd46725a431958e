package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mdp/qrterminal/v3"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/migrate"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

// writeTimeout bounds what the hub writes about an account on its own.
const writeTimeout = 30 * time.Second

// newAccounts wires an account's events to the pipeline, its receipts to the sends
// that they prove, and its connection to its queue of sends.
func (a *App) newAccounts() (*account.Manager, error) {
	return account.New(account.Config{
		AutoConnect: a.cfg.Accounts.AutoConnect, Reconnect: a.cfg.WhatsApp.Reconnect,
		Instance: a.instance, Shared: a.shared(), Lease: a.lease(),
	}, account.Deps{
		Store: a.store, Doubt: a.trouble, Devices: a.devices, Outbox: numbered{store: a.store, sends: a.sends, log: a.log}, Logger: a.deps.Logger, Registerer: a.metrics,
		NewClient: func(d whatsapp.Deps) (whatsapp.Client, error) {
			d.HTTP, d.Sends = a.network.HTTP, a.store
			return whatsapp.New(d)
		},
		Clear:     func(ctx context.Context) error { return migrate.Check(ctx, a.store) },
		Intake:    a.intake,
		Owned:     a.own,
		Lost:      a.pipeline.Disown,
		Changed:   a.changed,
		Connected: a.greet,
		QR:        a.showQR,
	})
}

// forgetful is the accounts as the API sees them: one that is deleted is forgotten by
// the outbox too.
type forgetful struct {
	*account.Manager
	outbox *deliver.Outbox
}

// Delete implements api.Accounts.
func (f forgetful) Delete(ctx context.Context, id string) error {
	if err := f.Manager.Delete(ctx, id); err != nil {
		return moving(err)
	}
	f.outbox.ForgetAccount(id)
	return nil
}

// Connect implements api.Accounts.
func (f forgetful) Connect(ctx context.Context, id string) error {
	return moving(f.Manager.Connect(ctx, id))
}

// Disconnect implements api.Accounts.
func (f forgetful) Disconnect(ctx context.Context, id string) error {
	return moving(f.Manager.Disconnect(ctx, id))
}

// Logout implements api.Accounts.
func (f forgetful) Logout(ctx context.Context, id string) error {
	return moving(f.Manager.Logout(ctx, id))
}

// moving tells the API of an account that no hub holds at this moment.
func moving(err error) error {
	if errors.Is(err, account.ErrElsewhere) {
		return fmt.Errorf("%w: %w", api.ErrMoving, err)
	}
	return err
}

// intake stores an event and, if it is a receipt, lets the sends that it names know
// that they went out, also when the receipt was seen before: a crash may have come in between.
func (a *App) intake(id string, epoch uint64) whatsapp.Handler {
	return func(ctx context.Context, ev *sdk.Event) error {
		receipt, at := ev.Receipt, ev.Time
		if err := a.pipeline.Append(ctx, ev); err != nil {
			return err
		}
		if receipt == nil {
			return nil
		}
		return a.sends.Confirm(ctx, id, epoch, receipt.MessageIDs, at)
	}
}

// changed makes a change of state an event of the account's own sequence.
func (a *App) changed(id string, _ uint64, change sdk.AccountChange) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	err := a.pipeline.Append(ctx, &sdk.Event{Type: sdk.TypeAccount, Account: id, Time: time.Now().UTC(), AccountChange: &change})
	if err != nil && !errors.Is(err, pipeline.ErrNotOwned) {
		a.log.Warn("change of state was not recorded", "account", id, "err", err)
	}
}

// greet tells the administrator, once for each account, that it works.
func (a *App) greet(ctx context.Context, id string) {
	if a.cfg.Accounts.AdminNumber == "" {
		return
	}
	_, err := a.sends.Enqueue(ctx, send.Request{
		Account: id, To: a.cfg.Accounts.AdminNumber, Text: fmt.Sprintf("✅ Account %s connected successfully!", id), Key: "hub/greeting",
	})
	if err != nil && ctx.Err() == nil {
		a.log.Warn("the administrator was not greeted", "account", id, "err", err)
	}
}

// showQR draws a pairing code in the terminal, if a person is looking.
func (a *App) showQR(id, code string) {
	if a.deps.QR == nil {
		return
	}
	_, _ = io.WriteString(a.deps.QR, "\nScan this code with the phone of account "+id+" (WhatsApp, Linked devices):\n\n")
	qrterminal.GenerateWithConfig(code, qrterminal.Config{
		Level: qrterminal.L, Writer: a.deps.QR, HalfBlocks: true, QuietZone: 2,
		BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
		BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
}
