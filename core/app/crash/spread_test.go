package crash

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/scenario"
	"github.com/wildcathub/wildcat/core/store"
)

// TestTheDeliveriesOfOneAccountAreMadeByAllHubs: of two hubs one holds the only account, and both
// deliver its events. The other is killed in the middle of traffic, and what was its to deliver
// is delivered by the one that is left, each chat in order.
func TestTheDeliveriesOfOneAccountAreMadeByAllHubs(t *testing.T) {
	uri := mongoURI(t)
	if testing.Short() {
		t.Skip("the hubs are processes of their own: this test under the race detector shows nothing more")
	}
	ctx := t.Context()
	p, err := built()
	require.NoError(t, err)
	w, err := newWorld(ctx, t, p, place{database: newDatabase(t, uri), hubs: 2, accounts: 1, lease: shortLease, phones: 30})
	require.NoError(t, err)
	holder, other, err := w.holder(ctx)
	require.NoError(t, err)
	rest := scenario.NewHub(holder.process.URL)
	require.NoError(t, scenario.Until(ctx, patience, func() error {
		return delivers(ctx, rest, map[string]int{holder.process.URL: store.Partitions / 2, other.process.URL: store.Partitions / 2})
	}))
	require.NoError(t, w.ask(ctx, 3*batch))
	require.NoError(t, scenario.Until(ctx, patience, func() error { return w.check(ctx, rest) }))
	for who, h := range map[string]*hub{"holds the account": holder, "does not": other} {
		n, err := scenario.NewHub(h.process.URL).Metric(ctx, "wildcat_delivery_attempts_total")
		require.NoError(t, err)
		t.Logf("the hub that %s made %.0f attempts", who, n)
		require.GreaterOrEqual(t, n, 10.0, "the hub that %s", who)
	}
	told, err := rest.Metric(ctx, `wildcat_nudges_total{result="ok"}`)
	require.NoError(t, err)
	require.Positive(t, told)

	require.NoError(t, w.ask(ctx, batch))
	other.kill()
	killed := time.Now()
	require.NoError(t, w.ask(ctx, batch))
	require.NoError(t, scenario.Until(ctx, 20*time.Second, func() error {
		return delivers(ctx, rest, map[string]int{holder.process.URL: store.Partitions})
	}))
	t.Logf("its partitions were taken over after %s", time.Since(killed).Round(10*time.Millisecond))
	require.NoError(t, scenario.Until(ctx, patience, func() error { return w.check(ctx, rest) }))
	t.Logf("all was delivered after %s", time.Since(killed).Round(10*time.Millisecond))
	require.NoError(t, errors.Join(w.checkLeases(ctx), w.stopAll()))
}

// delivers says why hubs do not make the deliveries of so many partitions each.
func delivers(ctx context.Context, rest *scenario.Hub, want map[string]int) error {
	list, err := rest.Hubs(ctx)
	if err != nil {
		return err
	}
	got := map[string]int{}
	for _, h := range list {
		got[h.URL] = len(h.Partitions)
	}
	for url, n := range want {
		if got[url] != n {
			return fmt.Errorf("%s has %d partitions of %d: %v", url, got[url], n, got)
		}
	}
	return nil
}
