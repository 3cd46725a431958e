package account

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

const (
	// loginTimeout is between the handshake and being logged in, uploads of keys included.
	loginTimeout = 90 * time.Second
	// restartWait is for the server's goodbye after pairing.
	restartWait = 10 * time.Second
	// syncWait is for what waited at WhatsApp, receipts of uncertain sends among it.
	syncWait = 10 * time.Second
	// halfOpen is how long an unanswered connection is believed in.
	halfOpen = 3 * time.Minute
	// closeWait is when closing is called slow.
	closeWait = 30 * time.Second
	// stable is how long a connection must hold for its successor to start without a grudge.
	stable = 30 * time.Second
)

// session is one connection: a client, and what runs while it is up.
type session struct {
	client  whatsapp.Client
	signals chan whatsapp.Signal
	dialed  chan error
	cancel  context.CancelFunc
	//nolint:containedctx // the connection's own life
	ctx  context.Context
	work sync.WaitGroup

	codes     []string
	pairing   bool // the device has no keys yet
	paired    bool
	restart   bool
	synced    bool
	connected time.Time // zero until then
	sending   bool
}

// connect makes a new connection: new device objects, new client. Whatever fails here
// is tried again later.
func (o *owner) connect() {
	o.rest()
	if o.status.State != StateReconnecting {
		o.move(StateConnecting, "")
	}
	if doubtful, _ := o.m.storage.state(); doubtful {
		o.stalled = true // weathered goes on from here
		return
	}
	if reason, err := o.open(); err != nil {
		o.log.Warn("connection cannot be made", "reason", reason, "err", err)
		o.retry(reason)
	}
}

// open begins a connection. If it cannot, reason says why.
func (o *owner) open() (reason string, err error) {
	ctx, cancel := o.within(storeTimeout)
	defer cancel()
	if err := o.acquire(ctx); err != nil {
		if errors.Is(err, store.ErrStale) {
			return ReasonOwnedElsewhere, err
		}
		return ReasonStoreRefused, err
	}
	dev, err := o.device(ctx)
	if err != nil {
		return ReasonDeviceFailed, err
	}
	s := &session{signals: make(chan whatsapp.Signal, 64), dialed: make(chan error, 1), pairing: o.jid == ""}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.client, err = o.m.deps.NewClient(whatsapp.Deps{
		Account: o.id, Device: dev, Handler: o.m.deps.Intake(o.id, o.lease.Epoch), Signal: s.signal,
		Pairing: o.pairing, Logger: o.m.deps.Logger,
	})
	if err != nil {
		s.cancel()
		return ReasonDeviceFailed, fmt.Errorf("make client: %w", err)
	}
	o.session = s
	o.keeper.use(s)
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		s.dialed <- o.dial(s)
	}()
	return "", nil
}

// dial connects when it is this account's turn.
func (o *owner) dial(s *session) error {
	select {
	case o.m.dials <- struct{}{}:
		defer func() { <-o.m.dials }()
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	return s.client.Connect(s.ctx)
}

// signal takes the client's signals. It waits only when the account's goroutine is
// behind by a whole queue of them.
func (s *session) signal(sig whatsapp.Signal) {
	select {
	case s.signals <- sig:
	case <-s.ctx.Done():
	}
}

// device loads the account's keys, or makes new ones to pair. Keys that are gone,
// perhaps after a pairing that a crash cut off, are paired anew.
func (o *owner) device(ctx context.Context) (*devices.Device, error) {
	if o.jid != "" {
		dev, err := o.m.deps.Devices.Device(ctx, o.jid, o.holder())
		if err == nil {
			return dev, nil
		}
		if !errors.Is(err, devices.ErrNotFound) {
			return nil, fmt.Errorf("load keys: %w", err)
		}
		o.log.Warn("account has no keys and pairs anew")
		if err := o.forget(); err != nil {
			return nil, err
		}
	}
	return o.m.deps.Devices.New(ctx, o.holder())
}

// holder is on whose behalf, and under which lease, the keys are used.
func (o *owner) holder() devices.Owner {
	return devices.Owner{Account: o.id, Collection: o.keys, Epoch: o.lease.Epoch}
}

// pairing is called by the client when a phone has scanned: the device's address is
// written down before its keys are, so that no keys are ever without an account.
func (o *owner) pairing(ctx context.Context, jid string) error {
	_, err := o.m.deps.Store.UpdateAccount(ctx, o.id, func(a *store.Account) { a.JID = jid })
	return err
}

// forget removes the device's address from the record.
func (o *owner) forget() error {
	if err := o.record(func(a *store.Account) { a.JID, a.LID = "", "" }); err != nil {
		return err
	}
	o.jid = ""
	return nil
}

// hangUp ends the connection, if there is one, and waits until nothing of it runs: a
// successor must find the device at rest.
func (o *owner) hangUp() {
	o.rest()
	s := o.session
	if s == nil {
		return
	}
	s.cancel()
	// Closing first wakes a send that waits for the connection to come back.
	defer s.work.Wait()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		err := s.client.Close(ctx)
		cancel()
		if err == nil {
			break
		}
		o.log.Error("connection is slow to close", "err", err)
		select {
		case <-o.halt: // the process ends, and with it what is under way
			o.session = nil
			return
		default:
		}
	}
	o.keeper.use(nil)
	o.session = nil
}

// retry closes the connection and makes another one after a while.
func (o *owner) retry(reason string) {
	if s := o.session; s != nil {
		if !s.connected.IsZero() && o.m.deps.Clock.Now().Sub(s.connected) > min(stable, o.m.cfg.Reconnect.Max) {
			o.attempt = 0 // it was a good one
		}
		o.m.metrics.reconnects.WithLabelValues(o.id, reason).Inc()
	}
	if storeFault(reason) {
		o.m.storage.doubt()
		o.move(StateReconnecting, reason) // first: closing waits for calls of the store
	}
	o.hangUp()
	d := o.backoff()
	o.attempt++
	o.move(StateReconnecting, reason)
	o.log.Info("connecting again", "reason", reason, "attempt", o.attempt, "duration", d)
	o.after(d, o.connect)
}

// again makes another connection at once.
func (o *owner) again() {
	o.hangUp()
	o.connect()
}

// backoff doubles from Min to Max, and spreads over the upper half of it, so that many
// accounts that were cut off together do not come back together.
func (o *owner) backoff() time.Duration {
	r := o.m.cfg.Reconnect
	d := r.Max
	if o.attempt < 32 {
		d = min(r.Min<<o.attempt, r.Max)
	}
	if d <= 0 {
		d = r.Max
	}
	return d/2 + time.Duration(o.m.deps.Rand()*float64(d)/2)
}

// give ends in a state from which only the operator leads on.
func (o *owner) give(state, reason string) {
	o.want = false
	o.hangUp()
	o.move(state, reason)
}
