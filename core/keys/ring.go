package keys

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wildcathub/wildcat/core/store"
)

// Config says who needs a key.
type Config struct {
	// Disabled: nobody does, whatever keys there are.
	Disabled bool
	// Loopback: only this machine can ask, and nobody needs a key as long as there is none.
	Loopback bool
	// Proxied: others may ask through a proxy on this machine.
	Proxied bool
	// Admin is a key that is configured, with the scope admin; "" if there is none.
	Admin string
	// Shared: other processes may change the keys. They are followed after Start.
	Shared bool
	// Every is how often they are looked at; 0 means 2 s.
	Every time.Duration
}

// Deps is what the program passes in. Logger, Now and Rand may be nil.
type Deps struct {
	Store  store.KV
	Logger *slog.Logger
	Now    func() time.Time
	Rand   io.Reader
}

// Mode says what a request needs.
type Mode int

// The modes.
const (
	// Needed: a request needs a key.
	Needed Mode = iota
	// Open: it needs none, since there is none and only this machine can ask.
	Open
	// Disabled: it needs none, since the operator said so.
	Disabled
)

// String is a word for the log.
func (m Mode) String() string {
	switch m {
	case Open:
		return "open"
	case Disabled:
		return "disabled"
	}
	return "needed"
}

// Ring holds the keys in memory. It answers from there: an outage of the database neither
// slows requests down nor locks anybody out, and keys that were known go on until it is back.
type Ring struct {
	cfg   Config
	deps  Deps
	log   *slog.Logger
	admin *Key // the configured one

	// now is what Check reads; changes makes reading and replacing it one step.
	now     atomic.Pointer[map[string]Key]
	changes sync.Mutex

	used usage

	quit   chan struct{}
	cancel context.CancelFunc // ends what Start began, with the call that it is in
	once   sync.Once
	done   sync.WaitGroup
}

const (
	defaultEvery = 2 * time.Second
	// ioTimeout bounds what the ring does on its own.
	ioTimeout = 10 * time.Second
	// attempts is how often a change is tried that another process comes before.
	attempts = 20
)

// New reads the keys from the database.
func New(ctx context.Context, cfg Config, deps Deps) (*Ring, error) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Rand == nil {
		deps.Rand = rand.Reader
	}
	if cfg.Every <= 0 {
		cfg.Every = defaultEvery
	}
	r := &Ring{cfg: cfg, deps: deps, log: deps.Logger.With("component", "keys"), used: newUsage(deps), quit: make(chan struct{}), cancel: func() {}}
	if cfg.Admin != "" {
		r.admin = &Key{ID: EnvironmentID, Name: "auth.admin_key", Scope: Admin, hash: sha256.Sum256([]byte(cfg.Admin))}
	}
	r.now.Store(&map[string]Key{})
	if err := r.Refresh(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Ring) environment() bool { return r.admin != nil }

// Any says whether there is a key, be it expired.
func (r *Ring) Any() bool { return r.environment() || len(*r.now.Load()) > 0 }

// Mode says what a request needs at this moment. It needs a key, too, where there is none
// and others than this machine can ask: nothing opens the API to them but the operator's word.
func (r *Ring) Mode() Mode {
	switch {
	case r.cfg.Disabled:
		return Disabled
	case r.cfg.Loopback && !r.Any():
		return Open
	}
	return Needed
}

// Check returns what is known of a key, or ErrUnknown or ErrExpired (with the key).
func (r *Ring) Check(key string) (Key, error) {
	hash := sha256.Sum256([]byte(key))
	if r.admin != nil && r.admin.is(hash) {
		return *r.admin, nil
	}
	k, ok := (*r.now.Load())[idOf(key)]
	if !ok || !k.is(hash) {
		return Key{}, ErrUnknown
	}
	now := r.deps.Now()
	if !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) {
		return k, ErrExpired
	}
	r.used.note(k.ID, now)
	return k, nil
}

// Refresh reads the keys from the database. On an error those that were known stay.
func (r *Ring) Refresh(ctx context.Context) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	list, _, err := read(ctx, r.deps.Store)
	if err != nil {
		return err
	}
	r.replace(list)
	return nil
}

func (r *Ring) replace(list []Key) {
	next := make(map[string]Key, len(list))
	for _, k := range list {
		next[k.ID] = k
	}
	r.now.Store(&next)
}

// change applies a function to the stored keys until no other process comes in between.
func (r *Ring) change(ctx context.Context, apply func([]Key) ([]Key, error)) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	for range attempts {
		list, raw, err := read(ctx, r.deps.Store)
		if err != nil {
			return err
		}
		if list, err = apply(list); err != nil {
			return err
		}
		err = write(ctx, r.deps.Store, raw, list)
		if err == nil {
			r.replace(list)
		}
		if !errors.Is(err, store.ErrStale) {
			return err
		}
	}
	return errors.New("change keys: others keep changing them")
}

// Create makes a key and returns it; this is the only time that it can be had. An error that
// is a *Refusal says what is wrong with the request.
func (r *Ring) Create(ctx context.Context, req Request) (k Key, key string, err error) {
	now := r.deps.Now().UTC().Truncate(time.Millisecond)
	if req, err = req.check(now); err != nil {
		return Key{}, "", err
	}
	err = r.change(ctx, func(list []Key) ([]Key, error) {
		id := ""
		for id == "" || slices.ContainsFunc(list, func(k Key) bool { return k.ID == id }) {
			if id, key, err = generate(r.deps.Rand); err != nil {
				return nil, err
			}
		}
		k = Key{
			ID: id, Name: req.Name, Scope: req.Scope, Accounts: req.Accounts, CreatedAt: now, ExpiresAt: req.ExpiresAt,
			hash: sha256.Sum256([]byte(key)),
		}
		return append(list, k), r.mayCreate(list, k)
	})
	if err != nil {
		return Key{}, "", err
	}
	r.log.Info("API key was created", "key", k.ID, "name", k.Name, "scope", string(k.Scope))
	return k, key, nil
}

// Delete revokes a key. It fails with an error that wraps store.ErrNotFound, or is a *Refusal.
func (r *Ring) Delete(ctx context.Context, id string) (k Key, err error) {
	if id == EnvironmentID && r.environment() {
		return Key{}, against("key_from_environment", "this key is not stored: take auth.admin_key out of the configuration (WILDCAT_ADMIN_KEY out of the environment) and start the hub again")
	}
	err = r.change(ctx, func(list []Key) ([]Key, error) {
		i := slices.IndexFunc(list, func(k Key) bool { return k.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("key %s: %w", id, store.ErrNotFound)
		}
		k = list[i]
		left := slices.Delete(slices.Clone(list), i, i+1)
		return left, r.mayDelete(left)
	})
	if err != nil {
		return Key{}, err
	}
	r.log.Info("API key was revoked", "key", k.ID, "name", k.Name)
	if r.Mode() == Open {
		r.log.Warn("there is no API key left: whoever is on this machine may use the API without one")
	}
	return k, nil
}

// List returns all keys, the configured one first and then the oldest. It reads the database.
func (r *Ring) List(ctx context.Context) ([]Key, error) {
	if err := r.Refresh(ctx); err != nil {
		return nil, err
	}
	used, err := r.used.all(ctx)
	if err != nil {
		return nil, err
	}
	var list []Key
	for _, k := range *r.now.Load() {
		k.LastUsed = used[k.ID]
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b Key) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	if r.admin != nil {
		list = slices.Insert(list, 0, *r.admin)
	}
	return list, nil
}
