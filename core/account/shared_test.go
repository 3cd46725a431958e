package account_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

// cluster is several managers on one store.
type cluster struct {
	t       *testing.T
	sim     *simulator.Server
	store   *failingStore
	keys    *devices.Container
	network *whatsapp.Network

	mu     sync.Mutex
	owners map[string]string // by account: who was told that it owns it, and not yet that it lost it
	epochs map[string]uint64
	twice  []string
	lost   func(context.Context) error // waits for what is being written; nil: nothing is
	fronts map[string]account.Store    // by hub: what stands between it and the store
	refuse map[string]error            // by hub: why it cannot take charge of any account
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, sim: newSimulator(t, "", "127.0.0.1:0"), owners: map[string]string{}, epochs: map[string]uint64{}}
	dir := t.TempDir()
	records, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir}, sqlite.Deps{})
	require.NoError(t, err)
	c.store = &failingStore{Store: records}
	c.keys, err = devices.Open(t.Context(), filepath.Join(dir, "devices.db"), devices.Deps{})
	require.NoError(t, err)
	c.network, err = whatsapp.Sandbox(within(t), c.sim.URL(), nolog())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.keys.Close())
		require.NoError(t, c.store.Close())
		c.network.Close()
		require.Empty(t, c.twice, "an account had two owners at a time")
	})
	return c
}

// idle sends nothing.
type idle struct{}

func (idle) Run(ctx context.Context, _ string, _ uint64, _ whatsapp.Sender) { <-ctx.Done() }

// join starts a hub.
func (c *cluster) join(name string) *account.Manager {
	c.t.Helper()
	front := c.fronts[name]
	if front == nil {
		front = c.store
	}
	m, err := account.New(account.Config{
		AutoConnect: true, Instance: name, Shared: true, Lease: 1200 * time.Millisecond,
		Reconnect: config.ReconnectConfig{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond},
	}, account.Deps{
		Store: front, Devices: c.keys, Outbox: idle{}, Registerer: prometheus.NewRegistry(),
		NewClient: func(d whatsapp.Deps) (whatsapp.Client, error) {
			d.HTTP, d.Sends = c.network.HTTP, c.store
			return whatsapp.New(d)
		},
		Intake: func(string, uint64) whatsapp.Handler {
			return func(context.Context, *sdk.Event) error { return nil }
		},
		Owned: func(_ context.Context, id string, epoch uint64) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			if err := c.refuse[name]; err != nil {
				return err
			}
			// A hub that makes an account while it looks for free ones is told twice of one lease.
			if other, taken := c.owners[id]; taken && (other != name || c.epochs[id] != epoch) {
				c.twice = append(c.twice, fmt.Sprintf("%s: %s while %s", id, name, other))
			}
			c.owners[id], c.epochs[id] = name, epoch
			return nil
		},
		Lost: func(ctx context.Context, id string) error {
			c.mu.Lock()
			delete(c.owners, id)
			c.mu.Unlock()
			if c.lost != nil {
				return c.lost(ctx)
			}
			return nil
		},
	})
	require.NoError(c.t, err)
	require.NoError(c.t, m.Start(c.t.Context()))
	c.t.Cleanup(func() { c.leave(m) })
	return m
}

func (c *cluster) leave(m *account.Manager) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(c.t, m.Stop(ctx))
}

// held counts the accounts by hub.
func (c *cluster) held() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int{}
	for _, name := range c.owners {
		out[name]++
	}
	return out
}

func (c *cluster) waitHeld(want map[string]int) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		got := c.held()
		if len(got) != len(want) {
			return false
		}
		for name, n := range want {
			if got[name] != n {
				return false
			}
		}
		return true
	}, 20*time.Second, 20*time.Millisecond, "want %v", want)
}

func TestHubsShareTheAccountsOfADatabase(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	var devs []*simulator.Device
	for i := range 4 {
		id, number := fmt.Sprintf("acc%d", i), fmt.Sprintf("1555000%d", i)
		phone, err := c.sim.AddPhone(number, "Phone "+number)
		require.NoError(t, err)
		_, err = a.Create(within(t), store.Account{ID: id})
		require.NoError(t, err)
		var qr string
		require.Eventually(t, func() bool { qr, _ = a.Live(id); return qr != "" }, 20*time.Second, 5*time.Millisecond)
		d, err := phone.LinkQR(within(t), qr)
		require.NoError(t, err)
		devs = append(devs, d)
	}
	c.waitHeld(map[string]int{"a": 4})

	b := c.join("b")
	c.waitHeld(map[string]int{"a": 2, "b": 2})
	third := c.join("c")
	require.Eventually(t, func() bool {
		got := c.held()
		return got["a"]+got["b"]+got["c"] == 4 && got["a"] >= 1 && got["b"] >= 1 && got["c"] >= 1
	}, 20*time.Second, 20*time.Millisecond)

	// Whoever is asked knows who has it, and who has it not says so.
	for i := range 4 {
		id := fmt.Sprintf("acc%d", i)
		for _, m := range []*account.Manager{a, b, third} {
			holder, err := m.Holder(within(t), id)
			require.NoError(t, err)
			rec, err := m.Get(within(t), id)
			require.NoError(t, err)
			require.NotEmpty(t, rec.JID)
			_, err = m.Status(id)
			if err != nil {
				require.ErrorIs(t, err, account.ErrElsewhere)
				require.NotEmpty(t, holder)
			}
		}
	}

	// One that leaves is replaced at once, and all are connected.
	c.leave(third)
	require.Eventually(t, func() bool { got := c.held(); return got["a"] == 2 && got["b"] == 2 }, 20*time.Second, 20*time.Millisecond)
	for _, d := range devs {
		require.NoError(t, d.WaitOnline(within(t)))
		require.False(t, d.Removed())
	}
	for _, d := range devs {
		require.Zero(t, c.sim.Stats().Replaced, "%s: two connections at once", d.JID())
	}
}

func TestAnAccountWhoseQRCodeIsShownStaysWhereItIs(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	qrs := map[string]string{}
	for _, id := range []string{"x", "y"} {
		_, err := a.Create(within(t), store.Account{ID: id})
		require.NoError(t, err)
		require.Eventually(t, func() bool { qrs[id], _ = a.Live(id); return qrs[id] != "" }, 20*time.Second, 5*time.Millisecond)
	}
	c.join("b")
	// Whoever looks at the codes may scan either of them, however often the hubs look at who holds what.
	require.Never(t, func() bool { return c.held()["b"] > 0 }, time.Second, 20*time.Millisecond)
	phone, err := c.sim.AddPhone("15550001", "Phone")
	require.NoError(t, err)
	d, err := phone.LinkQR(within(t), qrs["x"])
	require.NoError(t, err)
	c.waitHeld(map[string]int{"a": 1, "b": 1})
	require.NoError(t, d.WaitOnline(within(t)))
	require.NotEmpty(t, c.one("a"))
	qr, _ := a.Live("y")
	require.NotEmpty(t, qr, "it is the paired one that moves")
}

func TestAnAccountOfAHubThatDiedIsTakenOver(t *testing.T) {
	c := newCluster(t)
	// A hub that is dead: its leases stand, and nobody renews them.
	require.NoError(t, c.store.CreateAccount(within(t), store.Account{ID: "acc", State: account.StateCreated}))
	_, err := c.store.AcquireLease(within(t), "account/acc", "dead", 2*time.Second)
	require.NoError(t, err)
	_, err = c.store.AcquireLease(within(t), "instance/dead", "dead", 2*time.Second)
	require.NoError(t, err)
	m := c.join("a")
	require.Empty(t, c.held())
	holder, err := m.Holder(within(t), "acc")
	require.NoError(t, err)
	require.Equal(t, "dead", holder)
	require.ErrorIs(t, m.Connect(within(t), "acc"), account.ErrElsewhere)
	c.waitHeld(map[string]int{"a": 1})
}

func TestAHubWhoseLeaseIsTakenLetsGo(t *testing.T) {
	c := newCluster(t)
	m := c.join("a")
	_, err := m.Create(within(t), store.Account{ID: "acc"})
	require.NoError(t, err)
	c.waitHeld(map[string]int{"a": 1})
	held, err := c.store.ListLeases(within(t), "account/acc")
	require.NoError(t, err)
	require.Len(t, held, 1)
	require.NoError(t, c.store.ReleaseLease(within(t), held[0]))
	_, err = c.store.AcquireLease(within(t), "account/acc", "other", time.Hour)
	require.NoError(t, err)
	c.waitHeld(map[string]int{})
}

func TestAnAccountThatAnotherHubDeletedIsLetGo(t *testing.T) {
	c := newCluster(t)
	m := c.join("a")
	_, err := m.Create(within(t), store.Account{ID: "acc"})
	require.NoError(t, err)
	c.waitHeld(map[string]int{"a": 1})
	require.NoError(t, c.store.DeleteAccount(within(t), "acc"))
	c.waitHeld(map[string]int{})
}

func TestAccountsMadeOnAnyHubAreSharedOut(t *testing.T) {
	c := newCluster(t)
	a, b := c.join("a"), c.join("b")
	for i := range 6 {
		m := a
		if i > 4 {
			m = b
		}
		id := fmt.Sprintf("acc%d", i)
		_, err := m.Create(within(t), store.Account{ID: id})
		require.NoError(t, err)
		if err = m.Disconnect(within(t), id); !errors.Is(err, account.ErrElsewhere) { // shared out already
			require.NoError(t, err)
		}
	}
	c.waitHeld(map[string]int{"a": 3, "b": 3})
	require.NoError(t, a.Delete(within(t), c.one("a")))
	require.NoError(t, a.Delete(within(t), c.one("a")))
	c.waitHeld(map[string]int{"a": 2, "b": 2})
}

// one names an account that a hub holds.
func (c *cluster) one(hub string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, name := range c.owners {
		if name == hub {
			return id
		}
	}
	return ""
}

// A database that is being moved is claimed after a hub has looked at it and before that
// hub has announced itself.
func TestAHubTakesNothingIfTheDatabaseWasClaimedMeanwhile(t *testing.T) {
	c := newCluster(t)
	require.NoError(t, c.store.CreateAccount(t.Context(), store.Account{ID: "a"}))
	claimed := errors.New("the database is being moved")
	m, err := account.New(account.Config{Instance: "late", Shared: true, Lease: time.Second}, account.Deps{
		Store: c.store, Devices: c.keys, Outbox: idle{}, Registerer: prometheus.NewRegistry(),
		NewClient: func(whatsapp.Deps) (whatsapp.Client, error) { return nil, errors.New("it connects") },
		Intake:    func(string, uint64) whatsapp.Handler { return nil },
		Clear: func(ctx context.Context) error {
			held, err := c.store.ListLeases(ctx, "")
			require.NoError(t, err)
			require.Len(t, held, 1, "it has announced itself, and has no account")
			require.Equal(t, "instance/late", held[0].Name)
			return claimed
		},
	})
	require.NoError(t, err)
	require.ErrorIs(t, m.Start(t.Context()), claimed)
	c.leave(m)
	held, err := c.store.ListLeases(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, held, "whoever has claimed the database goes on undisturbed")
}

// A hub that stood still, or was cut off, for longer than its leases is none that anybody who
// claims the database could see.
func TestAHubWhoseLeasesRanOutTakesNothingOfADatabaseThatWasClaimedMeanwhile(t *testing.T) {
	c := newCluster(t)
	require.NoError(t, c.store.CreateAccount(t.Context(), store.Account{ID: "a"}))
	var claimed atomic.Bool
	var asked atomic.Int32
	m, err := account.New(account.Config{Instance: "sleeper", Shared: true, Lease: 600 * time.Millisecond}, account.Deps{
		Store: c.store, Devices: c.keys, Outbox: idle{}, Registerer: prometheus.NewRegistry(),
		NewClient: func(whatsapp.Deps) (whatsapp.Client, error) { return nil, errors.New("it connects") },
		Intake:    func(string, uint64) whatsapp.Handler { return nil },
		Clear: func(context.Context) error {
			if !claimed.Load() {
				return nil
			}
			asked.Add(1)
			return errors.New("the database is being moved")
		},
	})
	require.NoError(t, err)
	require.NoError(t, m.Start(t.Context()))
	defer c.leave(m)
	leases := func(prefix string) int {
		held, err := c.store.ListLeases(t.Context(), prefix)
		require.NoError(t, err)
		return len(held)
	}
	eventually := func(ok func() bool) { require.Eventually(t, ok, 10*time.Second, time.Millisecond) }
	eventually(func() bool { return leases("account/") == 1 })
	c.store.fail(store.ErrAway)
	eventually(func() bool { return leases("") == 0 })
	claimed.Store(true)
	c.store.fail(nil)
	begun := time.Now()
	eventually(func() bool { return asked.Load() > 0 && leases("") == 0 })
	disturbed := 0
	eventually(func() bool {
		disturbed += leases("")
		return asked.Load() >= 4
	})
	require.Zero(t, disturbed, "whoever has claimed the database goes on undisturbed")
	require.GreaterOrEqual(t, time.Since(begun), 50*time.Millisecond, "it does not ask all the time")
	claimed.Store(false)
	eventually(func() bool { return leases("account/") == 1 })
}

func TestALeaseIsGivenBackWhenNothingIsBeingWritten(t *testing.T) {
	c := newCluster(t)
	busy, through := make(chan struct{}), make(chan struct{})
	c.lost = func(ctx context.Context) error {
		close(busy)
		select {
		case <-through:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m := c.join("a")
	_, err := m.Create(within(t), store.Account{ID: "acc"})
	require.NoError(t, err)
	c.waitHeld(map[string]int{"a": 1})
	left := make(chan struct{})
	go func() {
		defer close(left)
		c.leave(m)
	}()
	<-busy
	_, err = c.store.AcquireLease(within(t), "account/acc", "other", time.Hour)
	require.ErrorIs(t, err, store.ErrStale, "a verdict is being written")
	close(through)
	<-left
	_, err = c.store.AcquireLease(within(t), "account/acc", "other", time.Hour)
	require.NoError(t, err)
}
