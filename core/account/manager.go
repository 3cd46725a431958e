// Package account owns the life of each account: one goroutine that holds its lease,
// makes its connections one after the other, and moves its state machine by what they
// signal. It decides when to connect and when to stop trying; what goes over a
// connection belongs to packages whatsapp, pipeline and send.
package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

// Config is what the operator chose.
type Config struct {
	// AutoConnect connects at Start what was connected.
	AutoConnect bool
	// Reconnect bounds the back-off between connections.
	Reconnect config.ReconnectConfig
	// Instance names this process as an owner of leases; "" makes a random name.
	Instance string
	// Shared says that other hubs use the same database. Each then holds a part of the
	// accounts only, under leases that are short.
	Shared bool
	// Lease is how long an account stays a hub's that died. 0 means 90 s, or 12 s if the
	// database is shared.
	Lease time.Duration
}

// Store is what the manager needs of the store.
type Store interface {
	store.Accounts
	store.Leases
	// Ping fails if nothing can be written.
	Ping(ctx context.Context) error
}

// Devices keeps the keys, as *devices.Container does.
type Devices interface {
	// Device fails with devices.ErrNotFound if there are no keys for the JID.
	Device(ctx context.Context, jid string, o devices.Owner) (*devices.Device, error)
	New(ctx context.Context, o devices.Owner) (*devices.Device, error)
	// Delete is a success if there are none.
	Delete(ctx context.Context, jid string, o devices.Owner) error
}

// Outbox sends an account's messages while a connection is up, as *send.Queue does.
type Outbox interface {
	// Run returns when ctx ends.
	Run(ctx context.Context, account string, epoch uint64, s whatsapp.Sender)
}

// Deps is what the program passes in. The functions may be nil unless said otherwise,
// are called from the account's goroutine, and must not block.
type Deps struct {
	Store Store
	// Doubt yields when the store may have failed; nil: only the accounts' own calls tell.
	Doubt   <-chan struct{}
	Devices Devices
	// NewClient makes a connection's client; the account sets all but HTTP and Sends. Needed.
	NewClient func(whatsapp.Deps) (whatsapp.Client, error)
	// Clear fails if no hub may use the database now. Of several hubs each asks it after it
	// has announced itself, and before it takes an account: whoever wants the database for
	// himself either sees the announcement, or is seen.
	Clear func(ctx context.Context) error
	// Intake gives the handler of an account's events. Needed.
	Intake func(account string, epoch uint64) whatsapp.Handler
	Outbox Outbox
	// Owned is told that this process owns an account from now on, under this epoch;
	// nothing connects before it returned nil. Lost: that it does not any more, told
	// when nothing of the account runs; it returns when nothing of it is being written, or
	// when ctx ends.
	Owned func(ctx context.Context, account string, epoch uint64) error
	Lost  func(ctx context.Context, account string) error
	// Changed is told every change of state.
	Changed func(account string, epoch uint64, change sdk.AccountChange)
	// Connected is told that an account is ready, in a goroutine of its own whose ctx
	// ends with the connection.
	Connected func(ctx context.Context, account string)
	// QR is told each pairing string as it is to be shown. It is a secret.
	QR         func(account, code string)
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// Clock and Rand (from [0,1), for jitter); nil means the real ones.
	Clock Clock
	Rand  func() float64
}

// Clock is time, to be replaced in tests.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

type realClock struct{}

func (realClock) Now() time.Time                         { return time.Now() }
func (realClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// ErrStopped says that the manager does not run.
var ErrStopped = errors.New("accounts are not running")

// maxDials bounds how many connections are made at once: a start with a hundred
// accounts would otherwise look like an attack, and starve itself.
const maxDials = 8

// Manager is all accounts.
type Manager struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	dials   chan struct{}
	tenures tenures

	storage *storage

	adopting chan struct{} // has one place: one account at a time is made this hub's

	mu      sync.Mutex
	running bool
	owners  map[string]*owner
	parked  map[string]parked
	share   *share // while running, if the database is shared
}

// New makes a manager; nothing happens before Start.
func New(cfg Config, deps Deps) (*Manager, error) {
	if deps.Store == nil || deps.Devices == nil || deps.NewClient == nil || deps.Intake == nil || deps.Outbox == nil {
		return nil, errors.New("account: store, devices, client, intake and outbox are needed")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Clock == nil {
		deps.Clock = realClock{}
	}
	if deps.Rand == nil {
		deps.Rand = rand.Float64
	}
	if deps.Registerer == nil {
		deps.Registerer = prometheus.NewRegistry()
	}
	if cfg.Instance == "" {
		cfg.Instance = fmt.Sprintf("%016x", rand.Uint64())
	}
	if cfg.Reconnect.Min <= 0 {
		cfg.Reconnect.Min = time.Second
	}
	if cfg.Reconnect.Max < cfg.Reconnect.Min {
		cfg.Reconnect.Max = max(cfg.Reconnect.Min, 2*time.Minute)
	}
	m := &Manager{
		cfg: cfg, deps: deps, log: deps.Logger.With("component", "account"),
		dials: make(chan struct{}, maxDials), owners: map[string]*owner{}, parked: map[string]parked{},
		adopting: make(chan struct{}, 1), tenures: tenures{by: map[string]store.Lease{}},
	}
	var err error
	if m.metrics, err = newMetrics(deps.Registerer); err != nil {
		return nil, err
	}
	m.storage = newStorage(m)
	return m, nil
}

// Start loads all accounts, takes their leases and begins to connect those that were
// connected. It waits for no connection.
func (m *Manager) Start(ctx context.Context) error {
	if m.cfg.Shared {
		return m.startShared(ctx)
	}
	all, err := m.deps.Store.ListAccounts(ctx)
	if err != nil {
		return fmt.Errorf("start accounts: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running {
		return errors.New("start accounts: started twice")
	}
	m.running = true
	m.storage.start(m.deps.Doubt)
	for _, rec := range all {
		o, err := m.own(ctx, rec, store.Lease{})
		if err != nil {
			return fmt.Errorf("start accounts: %w", err)
		}
		m.owners[rec.ID] = o
		go o.run(m.cfg.AutoConnect && rec.Connect)
	}
	return nil
}

func (m *Manager) startShared(ctx context.Context) error {
	m.mu.Lock()
	if m.running {
		m.mu.Unlock()
		return errors.New("start accounts: started twice")
	}
	m.running = true
	m.storage.start(m.deps.Doubt)
	m.mu.Unlock()
	s, err := m.startSharing(ctx)
	if err != nil {
		return fmt.Errorf("start accounts: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.share = s
	return nil
}

// Stop closes all connections and gives the leases back. Safe without Start, and twice.
func (m *Manager) Stop(ctx context.Context) error {
	m.mu.Lock()
	owners, share := m.owners, m.share
	started := m.running
	m.owners, m.share, m.running = map[string]*owner{}, nil, false
	m.mu.Unlock()
	if started {
		defer m.storage.stop()
	}
	if share != nil {
		share.stop()
	}
	for _, o := range owners {
		o.stop()
	}
	for _, o := range owners {
		select {
		case <-o.done:
		case <-ctx.Done():
			return fmt.Errorf("stop accounts: %w", ctx.Err())
		}
	}
	return nil
}

// Create stores an account (ID, Name and Collection are set) and begins to connect it.
// Errors wrap store.ErrExists if the id is taken.
func (m *Manager) Create(ctx context.Context, a store.Account) (store.Account, error) {
	if err := m.storage.outage(); err != nil {
		return store.Account{}, fmt.Errorf("create account: %w", err)
	}
	m.mu.Lock()
	running := m.running
	m.mu.Unlock()
	if !running {
		return store.Account{}, ErrStopped
	}
	now := m.deps.Clock.Now().UTC()
	a.State, a.Reason, a.Connect, a.CreatedAt, a.UpdatedAt = StateCreated, "", true, now, now
	if err := m.deps.Store.CreateAccount(ctx, a); err != nil {
		return store.Account{}, fmt.Errorf("create account: %w", err)
	}
	if !m.cfg.Shared {
		o, err := m.own(ctx, a, store.Lease{})
		if err == nil {
			m.install(o, true)
		}
		return a, err
	}
	// Another hub may have found it, and taken it. If this one fails, whoever is first takes it.
	if err := m.adopt(ctx, a, true); err != nil && !errors.Is(err, store.ErrStale) {
		m.log.Warn("account was made, and is not taken yet", "account", a.ID, "err", err)
	}
	return a, nil
}

// install makes an account this hub's. The lock is not held while the account is taken:
// whoever asks for a state does not wait for the store.
func (m *Manager) install(o *owner, connect bool) {
	m.mu.Lock()
	running, taken := m.running, m.owners[o.id] != nil
	if running && !taken {
		delete(m.parked, o.id)
		m.owners[o.id] = o
		go o.run(connect)
	}
	m.mu.Unlock()
	if !running {
		o.leave()
	}
	// What is taken was made or taken here meanwhile, under the same lease.
}

func (m *Manager) find(id string) (*owner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running {
		return nil, ErrStopped
	}
	o, ok := m.owners[id]
	if !ok && m.cfg.Shared {
		return nil, fmt.Errorf("account %s: %w", id, ErrElsewhere)
	}
	if !ok {
		return nil, fmt.Errorf("account %s: %w", id, store.ErrNotFound)
	}
	return o, nil
}

// Get returns an account's record, with the state of this moment. It never waits for
// WhatsApp; while the store fails it answers from memory, as far as the account was this hub's.
// Errors wrap store.ErrNotFound.
func (m *Manager) Get(ctx context.Context, id string) (store.Account, error) {
	err := m.storage.outage()
	var rec store.Account
	if err == nil {
		// What is in memory need not wait longer for what is in the store.
		tctx, cancel := context.WithTimeout(ctx, probeTimeout)
		if rec, err = m.deps.Store.Account(tctx, id); err != nil && tctx.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", store.ErrAway, err)
		}
		cancel()
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		if known, ok := m.remembered(id); ok {
			rec, err = known, nil
		}
	}
	if err != nil {
		return store.Account{}, fmt.Errorf("get account: %w", err)
	}
	return m.fresh(rec), nil
}

// List returns all accounts, ordered by id, with the states of this moment. While the store is
// known to fail it fails at once.
func (m *Manager) List(ctx context.Context) ([]store.Account, error) {
	if err := m.unreadable(); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	all, err := m.deps.Store.ListAccounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	for i, rec := range all {
		all[i] = m.fresh(rec)
	}
	return all, nil
}

// fresh puts the state of this moment into a record, whose own may lag behind.
func (m *Manager) fresh(rec store.Account) store.Account {
	if s, err := m.Status(rec.ID); err == nil {
		rec.State, rec.Reason = s.State, s.Reason
	}
	return rec
}

// Status is an account's state at this moment.
type Status struct {
	State  string
	Reason string
	// Text says for people what Reason means; may be "".
	Text string
	// QR is the pairing string to show while pairing, else "". It is a secret.
	QR string
	// Held: a connection is up, coming up or waited for.
	Held bool
	// Since is when the state began.
	Since time.Time
	// Epoch is that of the account's lease; 0 if it is not held.
	Epoch uint64
}

// Status returns an account's state. It never waits. Errors wrap store.ErrNotFound.
func (m *Manager) Status(id string) (Status, error) {
	o, err := m.find(id)
	if errors.Is(err, ErrElsewhere) {
		if s, ok := m.parkedStatus(id); ok {
			return s, nil
		}
	}
	if err != nil {
		return Status{}, err
	}
	return o.snapshot(), nil
}

// Live says whether a connection is held, and the pairing string while one is shown.
func (m *Manager) Live(id string) (qr string, held bool) {
	s, err := m.Status(id)
	if err != nil {
		return "", false
	}
	return s.QR, s.Held
}

// Connect begins to connect and returns; a success when a connection is held.
func (m *Manager) Connect(ctx context.Context, id string) error {
	return m.ask(ctx, id, "connect", (*owner).connectNow)
}

// Disconnect closes the connection and keeps the pairing; a success when there is none.
func (m *Manager) Disconnect(ctx context.Context, id string) error {
	return m.ask(ctx, id, "disconnect", (*owner).disconnectNow)
}

// Logout unlinks the device from the phone and removes its keys, connecting for that if
// need be. If WhatsApp cannot be reached within some seconds only the keys are removed,
// and the phone goes on listing the device.
func (m *Manager) Logout(ctx context.Context, id string) error {
	return m.ask(ctx, id, "log out", (*owner).logoutNow)
}

// Delete logs out as Logout does, as far as that is possible, and removes the account with everything
// that belongs to it.
func (m *Manager) Delete(ctx context.Context, id string) error {
	o, err := m.find(id)
	if err != nil {
		return err
	}
	if err := m.ask(ctx, id, "delete", (*owner).deleteNow); err != nil {
		return err
	}
	o.stop()
	<-o.done
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owners[id] == o {
		delete(m.owners, id)
	}
	return nil
}

// ended is why an account's goroutine ended that was asked for something: among several hubs
// the account may have moved on, and the caller is to ask again.
func (m *Manager) ended(alone error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cfg.Shared && m.running {
		return ErrElsewhere
	}
	return alone
}

// ask has the account's goroutine do something, and waits for it or for ctx.
func (m *Manager) ask(ctx context.Context, id, what string, do func(*owner) error) error {
	o, err := m.find(id)
	if err != nil {
		return err
	}
	if m.cfg.Shared && m.Tenure(id) == 0 { // its lease has run out, and its goroutine is about to end
		return fmt.Errorf("%s account %s: %w", what, id, ErrElsewhere)
	}
	c := command{do: do, reply: make(chan error, 1)}
	select {
	case o.commands <- c:
	case <-o.done:
		return fmt.Errorf("%s account %s: %w", what, id, m.ended(store.ErrNotFound))
	case <-ctx.Done():
		return fmt.Errorf("%s account %s: %w", what, id, ctx.Err())
	}
	select {
	case err = <-c.reply:
	case <-o.done:
		select {
		case err = <-c.reply:
		default:
			err = m.ended(ErrStopped)
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s account %s: %w", what, id, err)
	}
	return nil
}
