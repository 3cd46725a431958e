package partition

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// On the real clock, so that the race detector sees the keeper's goroutines at work.
func TestTwoHubsShareOnTheRealClock(t *testing.T) {
	db := newLeases()
	join := func(name string) *Keeper {
		db.announce(name, true)
		k, err := New(Config{Instance: name, Lease: 3 * time.Second}, Deps{
			Store: &line{leases: db}, Own: func(int, uint64) {}, Disown: func(context.Context, int) error { return nil },
		})
		require.NoError(t, err)
		require.NoError(t, k.Start(t.Context()))
		t.Cleanup(k.Stop)
		return k
	}
	a := join("a")
	b := join("b")
	require.Eventually(t, func() bool {
		return a.count() == store.Partitions/2 && b.count() == store.Partitions/2
	}, 20*time.Second, 10*time.Millisecond)
	db.announce("b", false)
	b.Stop()
	require.Eventually(t, func() bool { return a.count() == store.Partitions }, 20*time.Second, 10*time.Millisecond)
}
