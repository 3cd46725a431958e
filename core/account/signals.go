package account

import (
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

// Pairing codes are shown for as long as WhatsApp accepts them.
const (
	firstCode = 60 * time.Second
	otherCode = 20 * time.Second
	// maxRounds is how often a set of codes is renewed: about eight minutes in all.
	maxRounds = 3
)

// answered handles the outcome of dialling.
func (o *owner) answered(err error) {
	if err != nil {
		o.log.Warn("connection failed", "err", err)
		o.retry(ReasonDialFailed)
		return
	}
	if o.wake == nil && o.session.connected.IsZero() {
		o.after(loginTimeout, func() { o.retry(ReasonLoginTimeout) })
	}
}

// signalled moves the state machine.
func (o *owner) signalled(s whatsapp.Signal) {
	if s.Err != nil {
		o.log.Warn("connection signalled a failure", "signal", string(s.Kind), "err", s.Err)
	}
	switch s.Kind {
	case whatsapp.SignalQR:
		o.session.codes = s.Codes
		o.nextCode(firstCode)
	case whatsapp.SignalOldPhone:
		o.move(StatePairing, ReasonOldPhone)
	case whatsapp.SignalPaired:
		o.scanned(s)
	case whatsapp.SignalPairFailed:
		o.pairFailed(s)
	case whatsapp.SignalConnected:
		o.ready()
	case whatsapp.SignalSynced:
		o.session.synced = true
		o.beginSending()
	case whatsapp.SignalKeepAlive:
		if o.m.deps.Clock.Now().Sub(s.Since) > halfOpen {
			o.retry(ReasonHalfOpen)
		}
	case whatsapp.SignalRestart:
		o.restarted(ReasonRestart)
	case whatsapp.SignalDisconnected:
		o.restarted(ReasonConnectionLost)
	case whatsapp.SignalStreamError:
		o.retry(ReasonStreamError)
	case whatsapp.SignalRefused:
		o.retry(ReasonStoreRefused)
	case whatsapp.SignalDeviceFailed:
		o.retry(ReasonDeviceFailed)
	case whatsapp.SignalLoggedOut:
		state, reason := loggedOut(s.Code)
		o.removed(state, reason)
	case whatsapp.SignalBanned:
		o.log.Warn("account is banned for a while", "code", s.Code, "duration", s.Expire)
		o.give(StateBanned, ReasonTemporaryBan)
	case whatsapp.SignalReplaced:
		o.give(StateReplaced, ReasonReplaced)
	case whatsapp.SignalOutdated:
		o.give(StateOutdated, ReasonOutdated)
	case whatsapp.SignalRejected:
		o.log.Warn("login was refused", "code", s.Code)
		o.give(StateFailed, ReasonRejected)
	}
}

// nextCode shows a pairing code, and after its time the next one. When none is left a
// new connection brings new ones, a few times.
func (o *owner) nextCode(d time.Duration) {
	s := o.session
	if len(s.codes) == 0 {
		o.unscanned()
		return
	}
	code := s.codes[0]
	s.codes = s.codes[1:]
	o.show(code)
	o.after(d, func() { o.nextCode(otherCode) })
}

// unscanned ends a round of codes.
func (o *owner) unscanned() {
	if o.rounds++; o.rounds < maxRounds {
		o.again()
		return
	}
	_ = o.record(func(a *store.Account) { a.Connect = false })
	o.give(StateDisconnected, ReasonPairingTimeout)
}

// scanned: a phone has paired. The server's goodbye may come before or after.
func (o *owner) scanned(s whatsapp.Signal) {
	o.jid = s.JID
	_ = o.record(func(a *store.Account) { a.JID, a.LID = s.JID, s.LID })
	o.session.paired, o.rounds, o.attempt = true, 0, 0
	o.move(StateConnecting, "")
	if o.session.restart {
		o.again()
		return
	}
	o.after(restartWait, o.again)
}

// pairFailed throws away what pairing left behind, and shows a new code.
func (o *owner) pairFailed(s whatsapp.Signal) {
	o.hangUp()
	if err := o.removeKeys(s.JID); err != nil {
		o.log.Error("keys were not removed", "err", err)
	}
	if err := o.forget(); err != nil {
		o.retry(ReasonPairFailed)
		return
	}
	if o.rounds++; o.rounds >= maxRounds {
		o.give(StateDisconnected, ReasonPairFailed)
		return
	}
	o.retry(ReasonPairFailed)
}

// restarted: the server ended the connection. After pairing that is how it should be.
func (o *owner) restarted(reason string) {
	s := o.session
	switch {
	case s.paired:
		o.again()
	case s.pairing && reason == ReasonRestart:
		// The news of the pairing is on its way.
		s.restart = true
		o.after(restartWait, func() { o.retry(ReasonPairFailed) })
	case s.pairing && o.snapshot().State == StatePairing && len(s.codes) == 0:
		o.unscanned() // the last code ran out
	default:
		o.retry(reason)
	}
}

// ready: logged in.
func (o *owner) ready() {
	s := o.session
	if !s.connected.IsZero() {
		return
	}
	s.connected = o.m.deps.Clock.Now()
	o.move(StateConnected, "")
	if o.m.deps.Connected != nil {
		s.work.Add(1)
		go func() {
			defer s.work.Done()
			o.m.deps.Connected(s.ctx, o.id)
		}()
	}
	o.rest()
	if s.synced {
		o.beginSending()
		return
	}
	o.after(syncWait, func() {
		s.synced = true
		o.beginSending()
	})
}

// beginSending starts the outbox once WhatsApp has handed over what waited: it may
// hold the receipts of sends that are uncertain.
func (o *owner) beginSending() {
	s := o.session
	if s.connected.IsZero() || !s.synced || s.sending {
		return
	}
	s.sending = true
	o.rest()
	epoch := o.lease.Epoch
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		o.m.deps.Outbox.Run(s.ctx, o.id, epoch, s.client)
	}()
}

// removed: the phone removed the device. whatsmeow has deleted the keys, or is about to.
func (o *owner) removed(state, reason string) {
	jid := o.jid
	o.hangUp()
	if err := o.removeKeys(jid); err != nil {
		o.log.Error("keys were not removed", "err", err)
	}
	_ = o.record(func(a *store.Account) { a.JID, a.LID, a.Connect = "", "", false })
	o.jid = ""
	o.give(state, reason)
}

func (o *owner) removeKeys(jid string) error {
	if jid == "" {
		return nil
	}
	ctx, cancel := o.within(storeTimeout)
	defer cancel()
	if err := o.acquire(ctx); err != nil { // the keys may be in use by another owner
		return err
	}
	return o.m.deps.Devices.Delete(ctx, jid, o.holder())
}
