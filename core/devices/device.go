package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// Device is one device's keys with the guard around them. After any call failed it
// is poisoned: nothing is decrypted any more, and its user goes on with a new one
// from [Container.Device]. The objects of one Device must not outlive it: what a
// failed call left in their caches is unknown.
type Device struct {
	// Store is what a whatsmeow client is made with.
	Store *store.Device

	c      *Container
	log    *slog.Logger
	faults *Faults
	inner  store.DeviceContainer
	g      *guard

	mu       sync.Mutex
	failed   error
	retired  bool
	failures uint64
	notify   func(error)
	steps    steps // see steps.go
	// sessions holds one token: who put it in may read and write sessions, see sending.
	sessions chan struct{}
	// txns are the decryption transactions under way.
	txns  sync.WaitGroup
	spent spent
}

func (c *Container) wrap(dev *store.Device) *Device {
	d := &Device{Store: dev, c: c, log: c.deps.Logger.With("component", "devices"), faults: c.deps.Faults, inner: dev.Container, sessions: make(chan struct{}, 1)}
	d.g = &guard{d: d}
	d.dress()
	return d
}

// dress puts the guard in front of the store's objects. The store fills its own in at
// pairing, when it is saved for the first time, so that this runs twice then.
func (d *Device) dress() {
	dev := d.Store
	if dev.Container != store.DeviceContainer((*keeper)(d)) {
		dev.Container = (*keeper)(d)
	}
	inner, ok := dev.Identities.(store.AllSessionSpecificStores)
	if !ok || inner == store.AllSessionSpecificStores(d.g) {
		return // not paired yet, or dressed already: others may be reading the fields
	}
	d.g.inner, d.g.lids = d.c.backend.Front(inner, *dev.ID), d.c.backend.LIDMap()
	d.g.own = map[string]bool{dev.ID.SignalAddress().String(): true}
	if !dev.LID.IsEmpty() {
		d.g.own[dev.LID.SignalAddress().String()] = true
	}
	dev.Identities, dev.Sessions, dev.PreKeys, dev.SenderKeys = d.g, d.g, d.g, d.g
	dev.AppStateKeys, dev.AppState, dev.Contacts, dev.ChatSettings = d.g, d.g, d.g, d.g
	dev.MsgSecrets, dev.PrivacyTokens, dev.EventBuffer, dev.LIDs = d.g, d.g, d.g, d.g
}

// Failed returns the first failure, or nil.
func (d *Device) Failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Failures counts failed calls: what a caller sees change while it worked was hit by one.
func (d *Device) Failures() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failures
}

// OnFailure sets what is called, once, in a goroutine of the store's user, when the
// device becomes poisoned. It must not block.
func (d *Device) OnFailure(f func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify = f
}

// Retire ends the device's use: nothing is decrypted with it from now on, and when it
// returned nil nothing is under way. A successor that began earlier could find a
// session that has moved on with its message not yet in the buffer, and lose it.
func (d *Device) Retire(ctx context.Context) error {
	d.mu.Lock()
	d.retired = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.txns.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("retire device: %w", ctx.Err())
	}
	if d.Failed() == nil {
		_ = d.g.clearRest(ctx) // what stays is handled once more if it comes again
	}
	return nil
}

// begin starts a decryption transaction, unless the device must not be used any more.
func (d *Device) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usableLocked(); err != nil {
		return err
	}
	d.txns.Add(1)
	return nil
}

func (d *Device) usable() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.usableLocked()
}

func (d *Device) usableLocked() error {
	if d.failed != nil {
		return ErrPoisoned
	}
	if d.retired {
		return fmt.Errorf("device is retired: %w", context.Canceled)
	}
	return nil
}

// note poisons the device if a call of the store failed, and passes err on.
func (d *Device) note(ctx context.Context, method string, err error) error {
	if err == nil || !isFailure(err) {
		return err
	}
	broken := brokenOff(ctx, err)
	if broken && sendOf(ctx) != nil && harmless(method) {
		return err
	}
	d.mu.Lock()
	d.failures++
	first := d.failed == nil
	if first {
		d.failed = fmt.Errorf("%s: %w", method, err)
	}
	notify, retired, failed := d.notify, d.retired, d.failed
	d.mu.Unlock()
	if first {
		d.c.backend.RenewLIDMap()
	}
	if first && !retired {
		level := slog.LevelError
		if broken { // a shutdown: the store is well
			level = slog.LevelDebug
		}
		d.log.Log(ctx, level, "device store failed", "method", method, "err", err)
		if notify != nil {
			notify(failed)
		}
	}
	return err
}

// isFailure tells a failing store from a call that no store could satisfy: a value
// that a constraint forbids would fail for ever, and stop the account for good.
func isFailure(err error) bool {
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Code() {
		case sqlite3.SQLITE_CONSTRAINT_CHECK, sqlite3.SQLITE_CONSTRAINT_NOTNULL:
			return false
		}
	}
	return true
}

// brokenOff says whether it was the caller who ended the call.
func brokenOff(ctx context.Context, err error) bool {
	if ctx.Err() == nil {
		return false
	}
	var se *sqlite.Error
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrTxDone) ||
		errors.As(err, &se) && se.Code() == sqlite3.SQLITE_INTERRUPT
}

// harmless names the calls of a send that leave nothing behind when the sender breaks
// them off: reads, and writes of one statement or transaction. Such a send fails as a whole,
// with its own context's error, and its ciphertexts are thrown away with it. All other
// calls poison even then: what they keep in memory (that a session was migrated, a
// mapping, a contact's name) is believed before it is committed. No call of a
// decryption is part of a send.
func harmless(method string) bool {
	switch method {
	case "GetManySessions", "PutManySessions", "GetSession", "HasSession", "IsTrustedIdentity", "PutIdentity",
		"GetSenderKey", "PutSenderKey", "PutMessageSecret", "GetPrivacyToken", "GetLIDForPN", "GetPNForLID", "GetManyLIDsForPNs":
		return true
	}
	return false
}

// keeper guards saving and deleting the device itself.
type keeper Device

var _ store.DeviceContainer = (*keeper)(nil)

// PutDevice implements store.DeviceContainer.
func (k *keeper) PutDevice(ctx context.Context, dev *store.Device) error {
	d := (*Device)(k)
	if dev.ID == nil {
		return d.inner.PutDevice(ctx, dev) // its own error, not a failing store
	}
	err := d.call(ctx, "PutDevice", func() error { return d.inner.PutDevice(ctx, dev) })
	d.dress()
	return err
}

// DeleteDevice implements store.DeviceContainer.
func (k *keeper) DeleteDevice(ctx context.Context, dev *store.Device) error {
	d := (*Device)(k)
	if dev.ID == nil {
		return d.inner.DeleteDevice(ctx, dev)
	}
	return d.call(ctx, "DeleteDevice", func() error { return d.inner.DeleteDevice(ctx, dev) })
}

// call makes one call of the store, or fails it for a test.
func (d *Device) call(ctx context.Context, method string, f func() error) error {
	if err := d.faults.hit(method); err != nil {
		return d.note(ctx, method, err)
	}
	return d.note(ctx, method, f())
}

func one[T any](ctx context.Context, d *Device, method string, f func() (T, error)) (out T, err error) {
	err = d.call(ctx, method, func() error {
		out, err = f()
		return err
	})
	return out, err
}

// isUser says whether the LID map can be asked about jid: other servers are a
// mistake of the caller's that must not count as a failure.
func isUser(jid types.JID, server string) bool { return jid.Server == server }
