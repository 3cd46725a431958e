// Package devices keeps what a linked device needs to speak with WhatsApp: its
// identity, sessions, prekeys and sender keys, in whatsmeow's own SQL store in a file
// of its own. It owns the wrapper that keeps a failing store from looking like a bad
// message: whatsmeow answers a failed decryption with a retry receipt and an
// acknowledgement, so a busy or full disk would lose messages. It does not own
// accounts (package account) nor what is done with messages.
package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/store/sqlstore/upgrades"
	"go.mau.fi/whatsmeow/types"
	waLog "go.mau.fi/whatsmeow/util/log"
	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// Errors that callers tell apart, always wrapped.
var (
	// ErrNotFound: there are no keys for this device.
	ErrNotFound = errors.New("no such device")
	// ErrPoisoned: a call failed earlier, so this device's objects must not be used any
	// more. It wraps context.Canceled, which is the one error after which whatsmeow
	// neither acknowledges a message nor asks for it again.
	ErrPoisoned = fmt.Errorf("device store failed earlier: %w", context.Canceled)
)

// pragmas: busy_timeout comes first, since setting the others can meet a lock.
// synchronous is FULL: a session that has moved on in memory only, after the power
// went, could not decrypt what its peer sends next. Transactions begin immediate:
// one that reads first and then writes fails at once when another has written.
const pragmas = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
	"&_pragma=foreign_keys(1)&_txlock=immediate"

// maxConns bounds the connections to the file, each of which has its own page cache.
const maxConns = 4

// Deps is what the program passes in.
type Deps struct {
	// Logger gets failures of the store. Nil discards.
	Logger *slog.Logger
	// Faults, in tests, fails chosen calls. Nil fails none.
	Faults *Faults
}

// Container is the file with all devices' keys.
type Container struct {
	inner *sqlstore.Container
	db    *dbutil.Database
	deps  Deps

	mu   sync.Mutex
	lids *sqlstore.CachedLIDMap
}

// Open opens the file, creating it with mode 0600.
func Open(ctx context.Context, path string, deps Deps) (*Container, error) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	inner, db, err := OpenStore(ctx, path)
	if err != nil {
		return nil, err
	}
	return &Container{inner: inner, db: db, deps: deps, lids: sqlstore.NewCachedLIDMap(db)}, nil
}

// OpenStore opens whatsmeow's own store in the hub's configuration of it, without the guard:
// for tools, and for benchmarks that compare with whatsmeow alone.
func OpenStore(ctx context.Context, path string) (*sqlstore.Container, *dbutil.Database, error) {
	// SQLite gives its side files the mode of the main one, so it is enough to make that.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open device keys: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, nil, fmt.Errorf("open device keys: %w", err)
	}
	name := (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+name+pragmas)
	if err != nil {
		return nil, nil, fmt.Errorf("open device keys %s: %w", path, err)
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	wrapped, err := dbutil.NewWithDB(db, "sqlite3")
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open device keys %s: %w", path, err), db.Close())
	}
	wrapped.UpgradeTable, wrapped.VersionTable = upgrades.Table, "whatsmeow_version"
	inner := sqlstore.NewWithWrappedDB(wrapped, waLog.Noop)
	if err := inner.Upgrade(ctx); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open device keys %s: %w", path, err), db.Close())
	}
	return inner, wrapped, nil
}

// lidMap is the map of phone numbers and LIDs that devices loaded now share.
func (c *Container) lidMap() *sqlstore.CachedLIDMap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lids
}

// renewLIDMap empties the cache after a failure: the map believes a mapping before it
// is committed, and would never write it again.
func (c *Container) renewLIDMap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lids = sqlstore.NewCachedLIDMap(c.db)
}

// Close closes the file. Devices must be retired before.
func (c *Container) Close() error {
	if err := c.inner.Close(); err != nil {
		return fmt.Errorf("close device keys: %w", err)
	}
	return nil
}

// Device loads a device by its own JID ("123:4@s.whatsapp.net"), or fails with
// ErrNotFound. Each call gives new objects, which is what heals a poisoned device.
func (c *Container) Device(ctx context.Context, jid string) (*Device, error) {
	id, err := types.ParseJID(jid)
	if err != nil {
		return nil, fmt.Errorf("device %q: %w", jid, err)
	}
	dev, err := c.inner.GetDevice(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load device: %w", err)
	}
	if dev == nil {
		return nil, fmt.Errorf("device %s: %w", jid, ErrNotFound)
	}
	return c.wrap(dev), nil
}

// New makes a device that is not paired yet. Nothing is stored before pairing.
func (c *Container) New(context.Context) (*Device, error) {
	return c.wrap(c.inner.NewDevice()), nil
}

// Delete removes a device's keys; success if there are none.
func (c *Container) Delete(ctx context.Context, jid string) error {
	id, err := types.ParseJID(jid)
	if err != nil {
		return fmt.Errorf("device %q: %w", jid, err)
	}
	if err := c.inner.DeleteDevice(ctx, &store.Device{ID: &id}); err != nil {
		return fmt.Errorf("delete device: %w", err)
	}
	return nil
}

// List returns the JIDs of all devices.
func (c *Container) List(ctx context.Context) ([]string, error) {
	all, err := c.inner.GetAllDevices(ctx)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	out := make([]string, len(all))
	for i, d := range all {
		out[i] = d.ID.String()
	}
	return out, nil
}
