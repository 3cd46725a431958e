package account_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/store"
)

// quietStore answers nothing while it is silent, and takes its time to delete.
type quietStore struct {
	account.Store
	silent atomic.Bool
	delay  time.Duration
}

func (q *quietStore) answer(ctx context.Context) error {
	for q.silent.Load() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func (q *quietStore) Account(ctx context.Context, id string) (store.Account, error) {
	if err := q.answer(ctx); err != nil {
		return store.Account{}, err
	}
	return q.Store.Account(ctx, id)
}

func (q *quietStore) UpdateAccount(ctx context.Context, id string, change func(*store.Account)) (store.Account, error) {
	if err := q.answer(ctx); err != nil {
		return store.Account{}, err
	}
	return q.Store.UpdateAccount(ctx, id, change)
}

func (q *quietStore) ListAccounts(ctx context.Context) ([]store.Account, error) {
	if err := q.answer(ctx); err != nil {
		return nil, err
	}
	return q.Store.ListAccounts(ctx)
}

func (q *quietStore) DeleteAccount(ctx context.Context, id string) error {
	if err := q.answer(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(q.delay):
	}
	return q.Store.DeleteAccount(ctx, id)
}

func (q *quietStore) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (store.Lease, error) {
	if err := q.answer(ctx); err != nil {
		return store.Lease{}, err
	}
	return q.Store.AcquireLease(ctx, name, owner, ttl)
}

func (q *quietStore) RenewLease(ctx context.Context, l store.Lease, ttl time.Duration) (store.Lease, error) {
	if err := q.answer(ctx); err != nil {
		return store.Lease{}, err
	}
	return q.Store.RenewLease(ctx, l, ttl)
}

func (q *quietStore) ReleaseLease(ctx context.Context, l store.Lease) error {
	if err := q.answer(ctx); err != nil {
		return err
	}
	return q.Store.ReleaseLease(ctx, l)
}

func (q *quietStore) ListLeases(ctx context.Context, prefix string) ([]store.Lease, error) {
	if err := q.answer(ctx); err != nil {
		return nil, err
	}
	return q.Store.ListLeases(ctx, prefix)
}

func (q *quietStore) Ping(ctx context.Context) error {
	if err := q.answer(ctx); err != nil {
		return err
	}
	return q.Store.Ping(ctx)
}

// link makes an account on a hub, with a phone.
func (c *cluster) link(m *account.Manager, id, number string) *simulator.Device {
	c.t.Helper()
	phone, err := c.sim.AddPhone(number, "Phone "+number)
	require.NoError(c.t, err)
	_, err = m.Create(within(c.t), store.Account{ID: id})
	require.NoError(c.t, err)
	var qr string
	require.Eventually(c.t, func() bool { qr, _ = m.Live(id); return qr != "" }, 20*time.Second, 5*time.Millisecond)
	d, err := phone.LinkQR(within(c.t), qr)
	require.NoError(c.t, err)
	require.Eventually(c.t, func() bool {
		s, err := m.Status(id)
		return err == nil && s.State == account.StateConnected
	}, 20*time.Second, 5*time.Millisecond)
	return d
}

// The account's goroutine waits for the database, which has gone silent, when the lease ends.
func TestAConnectionEndsBeforeItsLeaseWhateverTheAccountWaitsFor(t *testing.T) {
	c := newCluster(t)
	quiet := &quietStore{Store: c.store}
	c.fronts = map[string]account.Store{"a": quiet}
	a := c.join("a")
	d := c.link(a, "acc", "15550001")
	c.join("b")
	require.Equal(t, "acc", c.one("a"))
	quiet.silent.Store(true)
	done := make(chan error, 1)
	go func() { done <- a.Connect(context.Background(), "acc") }()
	c.waitHeld(map[string]int{"b": 1})
	require.Error(t, <-done)
	require.NoError(t, d.WaitOnline(within(t)))
	require.Zero(t, c.sim.Stats().Replaced, "two connections at once")
	quiet.silent.Store(false)
}

// To delete takes longer than a lease lasts.
func TestADeletionKeepsItsLease(t *testing.T) {
	c := newCluster(t)
	quiet := &quietStore{Store: c.store, delay: 3 * time.Second}
	c.fronts = map[string]account.Store{"b": quiet}
	b := c.join("b")
	d := c.link(b, "acc", "15550001")
	c.join("a")
	done := make(chan error, 1)
	go func() { done <- b.Delete(context.Background(), "acc") }()
	for ended := false; !ended; {
		select {
		case err := <-done:
			require.NoError(t, err)
			ended = true
		case <-time.After(20 * time.Millisecond):
			require.Empty(t, c.one("a"))
		}
	}
	require.True(t, d.Removed())
	_, err := c.store.Account(within(t), "acc")
	require.ErrorIs(t, err, store.ErrNotFound)
}

// WhatsApp does not answer for longer than a lease lasts.
func TestALogoutThatNobodyAnswersKeepsItsLease(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits 15 seconds for WhatsApp, which is not there")
	}
	c := newCluster(t)
	a := c.join("a")
	c.link(a, "acc", "15550001")
	c.join("b")
	require.NoError(t, a.Disconnect(within(t), "acc"))
	_, err := c.sim.AddFault(simulator.Fault{Action: simulator.FaultHandshakeHang})
	require.NoError(t, err)
	require.NoError(t, a.Logout(within(t), "acc"), "the keys go all the same")
	require.Equal(t, "acc", c.one("a"))
}

// A hub that has a lease and cannot do what goes with it does not keep the account.
func TestAnAccountThatAHubCannotTakeChargeOfIsForOthers(t *testing.T) {
	c := newCluster(t)
	a := c.join("a")
	c.mu.Lock()
	c.refuse = map[string]error{"a": errors.New("the events cannot be read")}
	c.mu.Unlock()
	require.NoError(t, c.store.CreateAccount(within(t), store.Account{ID: "acc", State: account.StateCreated}))
	require.Never(t, func() bool { return c.held()["a"] > 0 }, 300*time.Millisecond, 20*time.Millisecond)
	require.ErrorIs(t, a.Connect(within(t), "acc"), account.ErrElsewhere)
	_, err := a.Create(within(t), store.Account{ID: "made"})
	require.NoError(t, err)
	require.ErrorIs(t, a.Disconnect(within(t), "made"), account.ErrElsewhere, "and nothing is promised")
	c.join("b")
	require.Eventually(t, func() bool { return c.held()["b"] >= 1 }, 20*time.Second, 20*time.Millisecond)
	c.mu.Lock()
	delete(c.refuse, "a")
	c.mu.Unlock()
	c.waitHeld(map[string]int{"a": 1, "b": 1})
}
