// Package devices keeps what a linked device needs to speak with WhatsApp: its
// identity, sessions, prekeys and sender keys, in whatsmeow's own SQL store in a file
// of its own, or on MongoDB (package mongo below it). It owns the wrapper that keeps a failing store from looking like a bad
// message: whatsmeow answers a failed decryption with a retry receipt and an
// acknowledgement, so a busy or full disk would lose messages. It does not own
// accounts (package account) nor what is done with messages.
package devices

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices/mongo"
	"github.com/wildcathub/wildcat/core/devices/rows"
)

// Errors that callers tell apart, always wrapped.
var (
	// ErrNotFound: there are no keys for this device.
	ErrNotFound = errors.New("no such device")
	// ErrFenced: the device was opened under a later lease, or deleted; nothing was
	// written. It poisons the device like every failure.
	ErrFenced = mongo.ErrFenced
	// ErrPoisoned: a call failed earlier, so this device's objects must not be used any
	// more. It wraps context.Canceled, which is the one error after which whatsmeow
	// neither acknowledges a message nor asks for it again.
	ErrPoisoned = fmt.Errorf("device store failed earlier: %w", context.Canceled)
)

// Deps is what the program passes in.
type Deps struct {
	// Logger gets failures of the store. Nil discards.
	Logger *slog.Logger
	// Faults, in tests, fails chosen calls. Nil fails none.
	Faults *Faults
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
}

// Owner says on whose behalf a device is opened, and under which lease. The file of one
// machine needs none of it; several hubs on one database do.
type Owner = mongo.Owner

// backend is where keys are kept. whatsmeow's stores of one device are all the same
// object.
type backend interface {
	// Device loads a device; nil if there is none.
	Device(ctx context.Context, jid types.JID, o Owner) (*store.Device, error)
	New(o Owner) *store.Device
	// Front is put between a device's stores and the guard, once for each load of the device.
	Front(inner store.AllSessionSpecificStores, jid types.JID) store.AllSessionSpecificStores
	Delete(ctx context.Context, jid types.JID, o Owner) error
	List(ctx context.Context) ([]types.JID, error)
	// LIDMap is the map of phone numbers and LIDs that devices loaded now share.
	// RenewLIDMap empties what it remembers, after a failure: it may believe a mapping
	// that was not stored, and would never write it again.
	LIDMap() store.LIDStore
	RenewLIDMap()
	Export(ctx context.Context, jid string, t rows.Table, each func(rows.Row) error) error
	Import(ctx context.Context, jid string, o Owner, t rows.Table, page []rows.Row) error
	Close() error
}

// Container is all devices' keys.
type Container struct {
	backend backend
	deps    Deps
}

// Open opens the file with the keys of one hub's devices, creating it with mode 0600.
func Open(ctx context.Context, path string, deps Deps) (*Container, error) {
	b, err := openSQLite(ctx, path)
	if err != nil {
		return nil, err
	}
	return newContainer(b, deps), nil
}

// OpenMongo keeps the keys in a database that other hubs may use, too. The database's
// client stays the caller's, to be disconnected after Close.
func OpenMongo(ctx context.Context, db *driver.Database, deps Deps) (*Container, error) {
	b, err := mongo.Open(ctx, db, mongo.Deps{Now: deps.Now, Cut: deps.Faults.cut})
	if err != nil {
		return nil, fmt.Errorf("open device keys: %w", err)
	}
	return newContainer(b, deps), nil
}

func newContainer(b backend, deps Deps) *Container {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	return &Container{backend: b, deps: deps}
}

// Close closes the file. Devices must be retired before.
func (c *Container) Close() error {
	if err := c.backend.Close(); err != nil {
		return fmt.Errorf("close device keys: %w", err)
	}
	return nil
}

// Device loads a device by its own JID ("123:4@s.whatsapp.net"), or fails with
// ErrNotFound. Each call gives new objects, which is what heals a poisoned device.
// With an epoch below another's who has opened the device it fails with ErrFenced; a
// device that was opened under a lower epoch fails so from now on when it writes.
func (c *Container) Device(ctx context.Context, jid string, o Owner) (*Device, error) {
	id, err := types.ParseJID(jid)
	if err != nil {
		return nil, fmt.Errorf("device %q: %w", jid, err)
	}
	dev, err := c.backend.Device(ctx, id, o)
	if err != nil {
		return nil, fmt.Errorf("load device: %w", err)
	}
	if dev == nil {
		return nil, fmt.Errorf("device %s: %w", jid, ErrNotFound)
	}
	return c.wrap(dev), nil
}

// New makes a device that is not paired yet. Nothing is stored before pairing.
func (c *Container) New(_ context.Context, o Owner) (*Device, error) {
	return c.wrap(c.backend.New(o)), nil
}

// Delete removes a device's keys; success if there are none. It is fenced, too.
func (c *Container) Delete(ctx context.Context, jid string, o Owner) error {
	id, err := types.ParseJID(jid)
	if err != nil {
		return fmt.Errorf("device %q: %w", jid, err)
	}
	if err := c.backend.Delete(ctx, id, o); err != nil {
		return fmt.Errorf("delete device: %w", err)
	}
	return nil
}

// List returns the JIDs of all devices.
func (c *Container) List(ctx context.Context) ([]string, error) {
	all, err := c.backend.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	out := make([]string, len(all))
	for i, id := range all {
		out[i] = id.String()
	}
	return out, nil
}
