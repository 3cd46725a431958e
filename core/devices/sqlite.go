package devices

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// pragmas: busy_timeout comes first, since setting the others can meet a lock.
// synchronous is FULL: a session that has moved on in memory only, after the power
// went, could not decrypt what its peer sends next. Transactions begin immediate:
// one that reads first and then writes fails at once when another has written.
const pragmas = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
	"&_pragma=foreign_keys(1)&_txlock=immediate"

// maxConns bounds the connections to the file, each of which has its own page cache.
const maxConns = 4

// sqliteBackend is whatsmeow's own store in a file. A lock on the data folder keeps other
// hubs away from it, so that it needs no fence.
type sqliteBackend struct {
	inner *sqlstore.Container
	db    *dbutil.Database

	mu   sync.Mutex
	lids *sqlstore.CachedLIDMap
}

var _ backend = (*sqliteBackend)(nil)

func openSQLite(ctx context.Context, path string) (*sqliteBackend, error) {
	inner, db, err := OpenStore(ctx, path)
	if err != nil {
		return nil, err
	}
	return &sqliteBackend{inner: inner, db: db, lids: sqlstore.NewCachedLIDMap(db)}, nil
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

// LIDMap implements backend.
func (b *sqliteBackend) LIDMap() store.LIDStore {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lids
}

// RenewLIDMap implements backend.
func (b *sqliteBackend) RenewLIDMap() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lids = sqlstore.NewCachedLIDMap(b.db)
}

// Device implements backend.
func (b *sqliteBackend) Device(ctx context.Context, jid types.JID, _ Owner) (*store.Device, error) {
	return b.inner.GetDevice(ctx, jid)
}

// New implements backend.
func (b *sqliteBackend) New(Owner) *store.Device { return b.inner.NewDevice() }

// Front implements backend.
func (b *sqliteBackend) Front(inner store.AllSessionSpecificStores, jid types.JID) store.AllSessionSpecificStores {
	return newKnown(inner, b.db, jid)
}

// Delete implements backend.
func (b *sqliteBackend) Delete(ctx context.Context, jid types.JID, _ Owner) error {
	return b.inner.DeleteDevice(ctx, &store.Device{ID: &jid})
}

// List implements backend.
func (b *sqliteBackend) List(ctx context.Context) ([]types.JID, error) {
	all, err := b.inner.GetAllDevices(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]types.JID, len(all))
	for i, d := range all {
		out[i] = *d.ID
	}
	return out, nil
}

// Close implements backend.
func (b *sqliteBackend) Close() error { return b.inner.Close() }
