package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

// storeTimeout bounds what the account's goroutine writes about the account itself.
const storeTimeout = 15 * time.Second

// command is something for the account's goroutine to do.
type command struct {
	do    func(*owner) error
	reply chan error
}

// owner is the goroutine of one account, and its state. All fields below `commands`
// up to mu belong to the goroutine.
type owner struct {
	m    *Manager
	id   string
	log  *slog.Logger
	halt chan struct{}
	once sync.Once
	done chan struct{}

	commands chan command
	jid      string
	keys     string      // the collection that the account names for its keys
	lease    store.Lease // Epoch 0: not held
	owned    bool        // Deps.Owned was told of it
	renew    <-chan time.Time
	keeper   *keeper // renews the lease where other hubs may take the account; nil elsewhere
	session  *session
	// want: a connection is to be held.
	want bool
	// attempt counts connections that failed since one was stable.
	attempt int
	// weather is the news of the store; stalled: a connection waits for it; unsaved: the
	// state is not written down yet.
	weather          <-chan struct{}
	stalled, unsaved bool
	// rounds counts pairings that nobody scanned.
	rounds int
	// wake fires next: the one thing that the account waits for besides its connection.
	wake <-chan time.Time
	next func()
	// gone: the account was deleted.
	gone bool

	mu     sync.Mutex
	status Status
	last   store.Account // the record as it was last read or written
}

// own makes an account's goroutine, to be run. Its lease is acquired unless it is given. Where
// other hubs may take the account an error means that it is not this hub's.
func (m *Manager) own(ctx context.Context, rec store.Account, l store.Lease) (*owner, error) {
	o := &owner{
		m: m, id: rec.ID, log: m.log.With("account", rec.ID), jid: rec.JID, keys: rec.Collection,
		halt: make(chan struct{}), done: make(chan struct{}), commands: make(chan command),
		weather: m.storage.changed(), last: rec,
	}
	o.status.State, o.status.Reason = restored(rec.State, rec.Reason)
	o.status.Since = m.deps.Clock.Now()
	m.metrics.moved(o.id, "", o.status.State)
	if l.Epoch != 0 {
		o.taken(l)
	}
	// The lease is taken before anything runs: what a predecessor left unfinished can
	// be settled without a connection.
	err := o.acquire(ctx)
	switch {
	case err != nil && m.cfg.Shared:
		o.leave()
		return nil, err
	case err != nil: // no obstacle: it is tried again
		o.log.Warn("account's lease is not free", "err", err)
	}
	return o, nil
}

func (o *owner) stop() { o.once.Do(func() { close(o.halt) }) }

// run is the goroutine.
func (o *owner) run(connect bool) {
	defer close(o.done)
	defer o.leave()
	if o.m.cfg.Shared {
		o.keep()
	}
	o.want = connect
	switch {
	case o.overdue(): // what came before took too long
		o.expired()
	case connect:
		o.connect()
	}
	for !o.gone {
		var signals <-chan whatsapp.Signal
		var dialed <-chan error
		if o.session != nil {
			signals, dialed = o.session.signals, o.session.dialed
		}
		var do func()
		select {
		case <-o.halt:
			return
		case c := <-o.commands:
			if o.overdue() || o.keeper.finished() {
				c.reply <- ErrElsewhere
				continue
			}
			do = func() { c.reply <- o.cutShort(c.do(o)) }
		case s := <-signals:
			do = func() { o.signalled(s) }
		case err := <-dialed:
			do = func() { o.answered(err) }
		case <-o.wake:
			do = o.next
			o.rest()
		case <-o.renew:
			do = o.prolong
		case <-o.keeper.ended():
			do = o.expired
		case <-o.weather:
			do = o.weathered
		}
		if o.overdue() || o.keeper.finished() { // whatever came: it came too late
			do = o.expired
		}
		do()
	}
}

// cutShort tells of a command that failed since the lease ended meanwhile.
func (o *owner) cutShort(err error) error {
	if err == nil || errors.Is(err, ErrStopped) || !o.keeper.finished() {
		return err
	}
	return fmt.Errorf("%w by now: %w", ErrElsewhere, err)
}

// leave ends the goroutine's hold on the account.
func (o *owner) leave() {
	o.hangUp()
	o.release()
	o.m.metrics.forget(o.id)
	if o.m.cfg.Shared {
		o.m.dropped(o.id, o)
	}
}

// after arranges for what comes next unless something else happens.
func (o *owner) after(d time.Duration, next func()) {
	o.wake, o.next = o.m.deps.Clock.After(d), next
}

// rest waits for nothing any more.
func (o *owner) rest() { o.wake, o.next = nil, nil }

func (o *owner) snapshot() Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.status
	if _, outage := o.m.storage.state(); outage != "" && (storeFault(s.Reason) || s.Reason == ReasonLeaseLost) {
		s.Reason = outage // it is known by now why
	}
	s.Held, s.Text = held(s.State), Text(s.Reason)
	return s
}

// move changes the state, tells everyone, and writes it down. Whether that succeeds
// does not matter to the account: the state is what it is.
func (o *owner) move(state, reason string) { o.shift(state, reason, "") }

// shift is move with a pairing string to show from the same moment on; "" leaves the
// one on display as long as the account pairs.
func (o *owner) shift(state, reason, code string) {
	if !o.display(state, reason, code) {
		return
	}
	if doubtful, _ := o.m.storage.state(); doubtful || o.keeper.finished() {
		o.unsaved = true // it would only hold up the account; resume makes up for it
		return
	}
	o.publish(state, reason)
}

// display changes what is shown; false if that is no change of state or reason.
func (o *owner) display(state, reason, code string) bool {
	o.mu.Lock()
	if code != "" {
		o.status.QR = code
	}
	from := o.status.State
	if from == state && o.status.Reason == reason {
		o.mu.Unlock()
		return false
	}
	if from != state {
		o.status.Since = o.m.deps.Clock.Now()
	}
	o.status.State, o.status.Reason = state, reason
	if state != StatePairing {
		o.status.QR = ""
	}
	o.mu.Unlock()
	if from != state {
		o.m.metrics.moved(o.id, from, state)
	}
	o.log.Info("account changed", "state", state, "reason", reason)
	return true
}

// show puts a pairing string on display.
func (o *owner) show(code string) {
	o.shift(StatePairing, "", code)
	if o.m.deps.QR != nil {
		o.m.deps.QR(o.id, code)
	}
}

// record changes the stored account. It logs what goes wrong; the caller may go on.
func (o *owner) record(change func(*store.Account)) error {
	if o.overdue() { // the record is another hub's to write
		o.log.Warn("account was not written: its lease has run out")
		return fmt.Errorf("write account: its lease has run out: %w", store.ErrStale)
	}
	if err := o.m.storage.outage(); err != nil {
		return err
	}
	ctx, cancel := o.within(storeTimeout)
	defer cancel()
	rec, err := o.m.deps.Store.UpdateAccount(ctx, o.id, change)
	if err != nil {
		o.log.Error("account was not written", "err", err)
		if !errors.Is(err, store.ErrNotFound) {
			o.m.storage.doubt()
		}
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = rec
	return nil
}

func (o *owner) lastRecord() store.Account {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}
