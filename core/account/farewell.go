package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/whatsapp"
)

// farewellTimeout bounds the unlinking: WhatsApp's answer to a logout, and before it the
// connection over which to ask, if there is none.
const farewellTimeout = 15 * time.Second

// errUnreachable says that WhatsApp could not be asked.
var errUnreachable = errors.New("WhatsApp could not be asked to unlink the device")

// unlink tells the phone that the device is gone. Without a connection it makes one for
// that: errors then wrap errUnreachable. ErrStopped if the account's goroutine is
// to end; then nothing has changed.
func (o *owner) unlink() error {
	ctx, cancel := o.untilHalt(farewellTimeout)
	defer cancel()
	s := o.session
	if s == nil || s.connected.IsZero() {
		if o.jid == "" {
			return nil // no phone knows of us
		}
		unlinked, err := o.visit(ctx)
		if unlinked {
			return nil
		}
		if err != nil {
			return o.halted(fmt.Errorf("%w: %w", errUnreachable, err))
		}
		if err := o.session.client.Logout(ctx); err != nil {
			return o.halted(fmt.Errorf("%w: %w", errUnreachable, err))
		}
		return nil
	}
	return o.halted(s.client.Logout(ctx))
}

// untilHalt is a context that ends with the account's goroutine.
func (o *owner) untilHalt(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := o.within(d)
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-o.halt:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(); <-over }
}

// halted puts ErrStopped in the place of an error that stopping is to blame for.
func (o *owner) halted(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-o.halt:
		return ErrStopped
	default:
		return err
	}
}

// visit connects for a farewell only: nothing is sent, and the state stays what it is.
// What waited at WhatsApp is taken in as ever. unlinked: the phone had done it already.
func (o *owner) visit(ctx context.Context) (unlinked bool, err error) {
	o.hangUp()
	if _, err := o.open(); err != nil {
		return false, err
	}
	s := o.session
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case err := <-s.dialed:
			if err != nil {
				return false, err
			}
		case sig := <-s.signals:
			switch sig.Kind {
			case whatsapp.SignalConnected:
				return false, nil
			case whatsapp.SignalLoggedOut:
				return true, nil
			case whatsapp.SignalSynced, whatsapp.SignalKeepAlive:
			default:
				return false, fmt.Errorf("connection ended: %s", sig.Kind)
			}
		}
	}
}
