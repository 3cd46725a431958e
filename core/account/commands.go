package account

import (
	"errors"
	"fmt"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// connectNow begins to connect; while waiting to try again it does so at once.
func (o *owner) connectNow() error {
	if err := o.record(func(a *store.Account) { a.Connect = true }); err != nil {
		return err
	}
	o.want = true
	if o.session != nil {
		return nil
	}
	o.attempt, o.rounds = 0, 0
	o.connect()
	return nil
}

func (o *owner) disconnectNow() error {
	if err := o.record(func(a *store.Account) { a.Connect = false }); err != nil {
		return err
	}
	if !held(o.snapshot().State) {
		o.want = false
		return nil
	}
	o.give(StateDisconnected, ReasonOperator)
	return nil
}

// logoutNow unlinks and removes the keys. An account that is connected and whose logout
// failed keeps them: logging out can then be tried again. One that cannot be connected
// loses them all the same.
func (o *owner) logoutNow() error {
	reason := ReasonOperator
	err := o.unlink()
	switch {
	case errors.Is(err, errUnreachable):
		o.log.Warn("device was not unlinked", "err", err)
		reason = ReasonKeysRemoved
	case err != nil:
		return err
	case o.jid == "":
		reason = ReasonKeysRemoved
	}
	jid := o.jid
	o.want = false
	o.hangUp()
	if err := o.removeKeys(jid); err != nil {
		return fmt.Errorf("remove keys: %w", err)
	}
	if err := o.record(func(a *store.Account) { a.JID, a.LID, a.Connect = "", "", false }); err != nil {
		return err
	}
	o.jid = ""
	o.give(StateLoggedOut, reason)
	return nil
}

// deleteNow removes everything. A phone that cannot be told goes on listing the device.
func (o *owner) deleteNow() error {
	if err := o.unlink(); errors.Is(err, ErrStopped) {
		return err
	} else if err != nil {
		o.log.Warn("device was not unlinked", "err", err)
	}
	o.want = false
	o.hangUp()
	if err := o.removeKeys(o.jid); err != nil {
		return fmt.Errorf("remove keys: %w", err)
	}
	// A phone may have paired in the last moment.
	ctx, cancel := o.within(time.Minute)
	defer cancel()
	rec, err := o.m.deps.Store.Account(ctx, o.id)
	if err == nil && rec.JID != o.jid {
		if err := o.removeKeys(rec.JID); err != nil {
			return fmt.Errorf("remove keys: %w", err)
		}
	}
	if o.m.cfg.Shared { // the lease keeps other hubs away until the records are gone
		if err := o.forgo(storeTimeout); err != nil {
			o.move(StateDisconnected, ReasonOperator)
			return fmt.Errorf("remove records: %w", err)
		}
	} else {
		o.release() // nothing of the account may run while its records go
	}
	if err := o.m.deps.Store.DeleteAccount(ctx, o.id); err != nil && !errors.Is(err, store.ErrNotFound) {
		o.move(StateDisconnected, ReasonOperator)
		return fmt.Errorf("remove records: %w", err)
	}
	o.gone = true
	return nil
}
