package account_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

// cut is a store that can be cut off, as by a network.
type cut struct {
	*sqlite.Store
	off atomic.Bool
}

var errCut = errors.New("cut off")

func (c *cut) RenewLease(ctx context.Context, l store.Lease, ttl time.Duration) (store.Lease, error) {
	if c.off.Load() {
		return store.Lease{}, errCut
	}
	return c.Store.RenewLease(ctx, l, ttl)
}

func (c *cut) ReleaseLease(ctx context.Context, l store.Lease) error {
	if c.off.Load() {
		return errCut
	}
	return c.Store.ReleaseLease(ctx, l)
}

func (c *cut) ListAccounts(ctx context.Context) ([]store.Account, error) {
	if c.off.Load() {
		return nil, errCut
	}
	return c.Store.ListAccounts(ctx)
}

// noKeys has none: the accounts are not connected.
type noKeys struct{ account.Devices }

// TestALeaseEndsForItsHolderBeforeAnotherHasIt asks both hubs all the time who may act.
func TestALeaseEndsForItsHolderBeforeAnotherHasIt(t *testing.T) {
	dir := t.TempDir()
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: dir}, sqlite.Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	require.NoError(t, st.CreateAccount(within(t), store.Account{ID: "acc"}))
	epochs := make(chan uint64, 10)
	join := func(name string, s account.Store) *account.Manager {
		m, err := account.New(account.Config{Instance: name, Shared: true, Lease: 600 * time.Millisecond}, account.Deps{
			Store: s, Devices: noKeys{}, Outbox: idle{}, Registerer: prometheus.NewRegistry(),
			NewClient: func(whatsapp.Deps) (whatsapp.Client, error) { return nil, devices.ErrNotFound },
			Intake:    func(string, uint64) whatsapp.Handler { return nil },
			Owned: func(_ context.Context, _ string, epoch uint64) error {
				epochs <- epoch
				return nil
			},
			Changed: func(string, uint64, sdk.AccountChange) {},
		})
		require.NoError(t, err)
		require.NoError(t, m.Start(t.Context()))
		t.Cleanup(func() { require.NoError(t, m.Stop(context.Background())) })
		return m
	}
	far := &cut{Store: st}
	a := join("a", far)
	first := <-epochs
	require.True(t, a.Leased("acc", first))
	require.False(t, a.Leased("acc", first+1), "it holds no such epoch")
	require.Equal(t, first, a.Tenure("acc"))
	require.Zero(t, a.Tenure("other"))
	require.False(t, a.Leased("other", first))
	b := join("b", st)
	require.False(t, b.Leased("acc", first))
	require.Zero(t, b.Tenure("acc"))

	far.off.Store(true)
	require.Eventually(t, func() bool {
		// b is asked first: what a says of an earlier moment would prove nothing.
		if !b.Leased("acc", first+1) {
			return false
		}
		require.False(t, a.Leased("acc", first), "both may act")
		return true
	}, 20*time.Second, time.Millisecond)
	require.Equal(t, first+1, <-epochs)
	far.off.Store(false)
	holder, err := a.Holder(within(t), "acc")
	require.NoError(t, err)
	require.Equal(t, "b", holder)
}
