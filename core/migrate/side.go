package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/mongo"
	"github.com/wildcathub/wildcat/core/store/sqlite"
)

// Place says where a database is.
type Place struct {
	// URI is sqlite:FILE, relative to Data, or mongodb://….
	URI string
	// Database is the name of the database on the server. A file needs none.
	Database string
	// Data is the data folder, which holds the file and the device keys; a server needs none.
	Data string
}

// SQLite tells whether the place is a file.
func (p Place) SQLite() bool { return strings.HasPrefix(p.URI, "sqlite:") }

// Side is a database that is open. Close it.
type Side struct {
	// Name is for people, without secrets.
	Name  string
	Store store.Store
	Keys  *devices.Container
	// Shared: hubs may use it at the same time, and say so by their leases.
	Shared bool

	release func() error
}

// Open opens a database, making it if it is not there. A data folder is locked until
// Close, and fails with store.ErrLocked while a hub has it.
func Open(ctx context.Context, p Place) (*Side, error) {
	if !p.SQLite() {
		return openMongo(ctx, p, false)
	}
	release, err := sqlite.Lock(p.Data)
	if err != nil {
		return nil, err
	}
	file := strings.TrimPrefix(p.URI, "sqlite:")
	name := file
	if !filepath.IsAbs(name) {
		name = filepath.Join(p.Data, name)
	}
	side := &Side{Name: name, release: release}
	s, err := sqlite.Open(ctx, sqlite.Config{Path: file, Dir: p.Data}, sqlite.Deps{})
	if err != nil {
		return nil, errors.Join(err, release())
	}
	side.Store = s
	if side.Keys, err = devices.Open(ctx, filepath.Join(p.Data, "devices.db"), devices.Deps{}); err != nil {
		return nil, errors.Join(err, side.Close())
	}
	return side, nil
}

// OpenSource is OpenExisting for one that accounts are read from: where there is none, its error
// wraps ErrEmpty.
func OpenSource(ctx context.Context, p Place) (*Side, error) {
	side, err := OpenExisting(ctx, p)
	if errors.Is(err, mongo.ErrAbsent) {
		err = fmt.Errorf("%w: %w", ErrEmpty, err)
	}
	return side, err
}

// OpenExisting is Open for a database that must be there: none is made.
func OpenExisting(ctx context.Context, p Place) (*Side, error) {
	if !p.SQLite() {
		return openMongo(ctx, p, true)
	}
	path := strings.TrimPrefix(p.URI, "sqlite:")
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.Data, path)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("find the database: %w", err)
	}
	return Open(ctx, p)
}

func openMongo(ctx context.Context, p Place, existing bool) (*Side, error) {
	s, err := mongo.Open(ctx, mongo.Config{URI: p.URI, Database: p.Database, Existing: existing}, mongo.Deps{})
	if err != nil {
		return nil, err
	}
	side := &Side{Name: "MongoDB database " + p.Database, Store: s, Shared: true}
	if side.Keys, err = devices.OpenMongo(ctx, s.Database(), devices.Deps{}); err != nil {
		return nil, errors.Join(err, side.Close())
	}
	return side, nil
}

// Close closes the database and frees the data folder.
func (s *Side) Close() error {
	var errs []error
	if s.Keys != nil {
		errs = append(errs, s.Keys.Close())
	}
	errs = append(errs, s.Store.Close())
	if s.release != nil {
		errs = append(errs, s.release())
	}
	return errors.Join(errs...)
}

// guard keeps others away from a shared database.
type guard struct {
	side    *Side
	lease   store.Lease
	renewed time.Time
}

// renewEvery is how often a lease is prolonged.
const renewEvery = 30 * time.Second

// guards are those of a run.
type guards struct {
	now  func() time.Time
	held []*guard
}

// take claims a shared database, and refuses it if a hub has a lease. The owner's name is
// that of the file on the other side, whose folder's lock proves that a predecessor is dead.
func (m *move) take(ctx context.Context, s *Side) error {
	other := m.from
	if other == s {
		other = m.to
	}
	path, err := filepath.Abs(other.Name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(path))
	return m.claim(ctx, s, "migrate "+hex.EncodeToString(sum[:8]))
}

// claim claims a shared database for an owner, and refuses it if a hub has a lease.
func (g *guards) claim(ctx context.Context, s *Side, owner string) error {
	if !s.Shared {
		return nil
	}
	l, err := s.Store.AcquireLease(ctx, leaseName, owner, leaseTTL)
	if errors.Is(err, store.ErrStale) {
		return fmt.Errorf("%s: %w: another move runs, or was killed less than %s ago", s.Name, ErrInUse, leaseTTL)
	}
	if err != nil {
		return err
	}
	g.held = append(g.held, &guard{side: s, lease: l, renewed: g.now()})
	return alone(ctx, s)
}

// alone refuses a shared database on which a hub has a lease.
func alone(ctx context.Context, s *Side) error {
	held, err := s.Store.ListLeases(ctx, "")
	if err != nil {
		return err
	}
	for _, h := range held {
		if h.Name != leaseName {
			return fmt.Errorf("%s: %w: the hub %s has the lease %s until %s; stop all hubs first",
				s.Name, ErrInUse, h.Owner, h.Name, h.Until.Format(time.TimeOnly))
		}
	}
	return nil
}

// undisturbed refuses to go on if a hub has appeared since the databases were claimed: one
// that looked at them before that, or one that stood still and came back. What it has
// stored may be in one part of the copy and not in another.
func (g *guards) undisturbed(ctx context.Context) error {
	for _, h := range g.held {
		if err := alone(ctx, h.side); err != nil {
			return err
		}
	}
	return nil
}

// touch prolongs the leases from time to time, and looks for hubs then.
func (g *guards) touch(ctx context.Context) error {
	now := g.now()
	for _, h := range g.held {
		if now.Sub(h.renewed) < renewEvery {
			continue
		}
		l, err := h.side.Store.RenewLease(ctx, h.lease, leaseTTL)
		if err != nil {
			return fmt.Errorf("keep others away from %s: %w", h.side.Name, err)
		}
		h.lease, h.renewed = l, now
		if err := alone(ctx, h.side); err != nil {
			return err
		}
	}
	return nil
}

func (g *guards) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var errs []error
	for _, h := range g.held {
		errs = append(errs, h.side.Store.ReleaseLease(ctx, h.lease))
	}
	return errors.Join(errs...)
}
