package account_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/sdk"
)

// failingStore fails what concerns accounts as long as it is told to.
type failingStore struct {
	*sqlite.Store
	with  atomic.Pointer[error]
	pings atomic.Int64
}

func (f *failingStore) fail(err error) {
	if err == nil {
		f.with.Store(nil)
		return
	}
	f.with.Store(&err)
}

func (f *failingStore) err() error {
	if p := f.with.Load(); p != nil {
		return *p
	}
	return nil
}

func (f *failingStore) Ping(ctx context.Context) error {
	f.pings.Add(1)
	return errors.Join(f.err(), f.Store.Ping(ctx))
}

func (f *failingStore) Account(ctx context.Context, id string) (store.Account, error) {
	if err := f.err(); err != nil {
		return store.Account{}, err
	}
	return f.Store.Account(ctx, id)
}

func (f *failingStore) ListAccounts(ctx context.Context) ([]store.Account, error) {
	if err := f.err(); err != nil {
		return nil, err
	}
	return f.Store.ListAccounts(ctx)
}

func (f *failingStore) UpdateAccount(ctx context.Context, id string, change func(*store.Account)) (store.Account, error) {
	if err := f.err(); err != nil {
		return store.Account{}, err
	}
	return f.Store.UpdateAccount(ctx, id, change)
}

func (f *failingStore) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (store.Lease, error) {
	if err := f.err(); err != nil {
		return store.Lease{}, err
	}
	return f.Store.AcquireLease(ctx, name, owner, ttl)
}

func (f *failingStore) RenewLease(ctx context.Context, l store.Lease, ttl time.Duration) (store.Lease, error) {
	if err := f.err(); err != nil {
		return store.Lease{}, err
	}
	return f.Store.RenewLease(ctx, l, ttl)
}

// patient has a back-off that no test would live to see the end of.
func patient(h *hub) {
	h.cfg.Reconnect = config.ReconnectConfig{Min: time.Hour, Max: time.Hour}
}

func TestAnAccountWaitsForTheStoreAndForNothingElse(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		reason string
	}{
		"away": {errRefused, account.ReasonStoreDown},
		"full": {store.ErrFull, account.ReasonStoreFull},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, patient)
			_, dev := h.pair("a", "15550001")
			friend := h.phone("15550002")
			h.say(friend, "15550001", "0")
			h.waitTexts("0")
			require.NoError(t, dev.WaitDrained(within(t)))
			logins := dev.Logins()

			h.records.fail(tt.err)
			h.setRefuse(func(*sdk.Event) error { return tt.err })
			h.say(friend, "15550001", "1")
			s := h.waitState("a", account.StateReconnecting, tt.reason)
			require.NotEmpty(t, s.Text)
			require.ErrorIs(t, h.Outage(), tt.err)
			// It is shown from memory, its number included.
			rec, err := h.Get(within(t), "a")
			require.NoError(t, err)
			require.Equal(t, tt.reason, rec.Reason)
			require.NotEmpty(t, rec.JID)
			require.ErrorIs(t, h.Connect(within(t), "a"), tt.err, "asking for it does not help")
			h.wait("the end of the connection", func() bool { return !dev.Online() })
			require.Equal(t, logins, dev.Logins(), "it waits, and does not try")
			require.Positive(t, dev.Pending())

			h.setRefuse(nil)
			h.records.fail(nil)
			h.waitTexts("0", "1")
			h.waitState("a", account.StateConnected, "")
			require.NoError(t, h.Outage())
			require.Equal(t, logins+1, dev.Logins())
			h.mu.Lock()
			defer h.mu.Unlock()
			require.Contains(t, h.changes, sdk.AccountChange{State: account.StateReconnecting, Reason: tt.reason}, "what happened is made up for")
		})
	}
}

func TestAnAccountThatNobodyWritesToIsDisconnectedToo(t *testing.T) {
	h := newHub(t, patient)
	_, dev := h.pair("a", "15550001")
	// A doubt that turns out to be none costs a look.
	before := h.records.pings.Load()
	h.doubt <- struct{}{}
	h.wait("the look", func() bool { return h.records.pings.Load() > before })
	h.waitState("a", account.StateConnected, "")

	h.records.fail(errRefused)
	h.doubt <- struct{}{}
	h.waitState("a", account.StateReconnecting, account.ReasonStoreDown)
	h.records.fail(nil)
	h.waitState("a", account.StateConnected, "")
	require.False(t, dev.Removed())
	h.wait("its being written down", func() bool {
		rec, err := h.store.Account(context.Background(), "a")
		return err == nil && rec.State == account.StateConnected
	})
}

// All leases run out while the store is away.
func TestHubsShareTheAccountsOutAgainWhenTheStoreIsBack(t *testing.T) {
	c := newCluster(t)
	a, b := c.join("a"), c.join("b")
	for id, m := range map[string]*account.Manager{"1": a, "2": b, "3": a, "4": b} {
		_, err := m.Create(within(t), store.Account{ID: id})
		require.NoError(t, err)
	}
	c.waitHeld(map[string]int{"a": 2, "b": 2})
	mine := c.one("b")

	c.store.fail(errRefused)
	c.waitHeld(map[string]int{})
	require.Eventually(t, func() bool { return a.Outage() != nil && b.Outage() != nil }, 20*time.Second, 10*time.Millisecond)
	s, err := b.Status(mine)
	require.NoError(t, err)
	require.Equal(t, account.StateReconnecting, s.State)
	require.Equal(t, account.ReasonStoreDown, s.Reason)
	rec, err := b.Get(within(t), mine)
	require.NoError(t, err)
	require.Equal(t, account.ReasonStoreDown, rec.Reason)
	holder, err := b.Holder(within(t), mine)
	require.NoError(t, err)
	require.Equal(t, "b", holder, "it is the one to ask, as far as anybody knows")
	_, err = b.Create(within(t), store.Account{ID: "5"})
	require.ErrorIs(t, err, errRefused)
	// Nobody waits for what cannot be known.
	_, err = b.List(within(t))
	require.ErrorIs(t, err, store.ErrAway)
	_, err = b.Holdings(within(t))
	require.ErrorIs(t, err, store.ErrAway)
	_, err = b.Elsewhere(within(t), "")
	require.ErrorIs(t, err, store.ErrAway)

	c.store.fail(nil)
	c.waitHeld(map[string]int{"a": 2, "b": 2})
	require.Eventually(t, func() bool {
		others, err := b.Elsewhere(context.Background(), "")
		return err == nil && len(others) == 2 && !others[c.one("b")]
	}, 20*time.Second, 10*time.Millisecond)
}
