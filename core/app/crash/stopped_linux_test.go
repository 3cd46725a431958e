package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/scenario"
)

// TestAHubThatWasStoppedAndWokenWritesNothingStale stops the hub that holds an account in the
// middle of traffic, as a virtual machine that is paused, and wakes it when another has taken
// the account over and answers. `make crash` stops it for 30 s, under the leases of the default
// configuration; the short form for as long as it takes, under the shortest.
func TestAHubThatWasStoppedAndWokenWritesNothingStale(t *testing.T) {
	uri := mongoURI(t)
	lease, stopped := shortLease, time.Duration(0)
	if os.Getenv("WILDCAT_CRASH_ROUNDS") != "" {
		lease, stopped = 12*time.Second, 30*time.Second
	}
	ctx := t.Context()
	p, err := built()
	require.NoError(t, err)
	w, err := newWorld(ctx, t, p, place{database: newDatabase(t, uri), hubs: 2, accounts: 1, lease: lease})
	require.NoError(t, err)
	account := w.accounts[0]
	sleeper, other, err := w.holder(ctx)
	require.NoError(t, err)

	// In the middle of traffic: some are answered, the others on their way.
	require.NoError(t, w.ask(ctx, 3*batch))
	require.NoError(t, w.answers(ctx, batch/2, patience))
	require.NoError(t, syscall.Kill(sleeper.process.PID(), syscall.SIGSTOP))
	asleep := time.Now()
	require.NoError(t, w.ask(ctx, batch))
	rest := scenario.NewHub(other.process.URL)
	require.NoError(t, scenario.Until(ctx, 20*time.Second, func() error { return held(ctx, rest, account, other) }))
	t.Logf("taken over after %s", time.Since(asleep).Round(10*time.Millisecond))
	require.NoError(t, w.answers(ctx, len(w.asked), 20*time.Second))
	t.Logf("all answered after %s", time.Since(asleep).Round(10*time.Millisecond))
	if left := stopped - time.Since(asleep); left > 0 {
		time.Sleep(left) // the length of the pause is what is tried here
	}

	// It wakes in the middle of traffic, too.
	replaced, err := w.sandbox.Replaced(ctx)
	require.NoError(t, err)
	require.LessOrEqual(t, replaced, 1, "the server replaces the connection of the one that sleeps, and no other")
	before, err := w.database.rows(ctx)
	require.NoError(t, err)
	require.NoError(t, w.ask(ctx, 2*batch))
	awake := time.Now()
	require.NoError(t, syscall.Kill(sleeper.process.PID(), syscall.SIGCONT))
	require.NoError(t, scenario.Until(ctx, patience, func() error { return said(sleeper, awake, msgGone) }))
	require.NoError(t, w.ask(ctx, batch))
	require.NoError(t, w.verify(ctx))
	require.NoError(t, held(ctx, rest, account, other), "the account has moved again")

	require.NoError(t, stale(w, before))
	for _, l := range sleeper.lives[len(sleeper.lives)-1].since(awake) {
		require.NotContains(t, []string{msgTaken, msgRenewed, msgChanged}, l.Msg, "it acted for the account after it was woken: %+v", l)
	}
	after, err := w.sandbox.Replaced(ctx)
	require.NoError(t, err)
	require.Equal(t, replaced, after, "the one that was woken threw the other out")
	state, err := w.database.accountState(ctx, account)
	require.NoError(t, err)
	require.Equal(t, "connected", state, "the one that was woken wrote the record of the account")
	require.NoError(t, w.stopAll())
}

// holder returns the hub that holds the account, and the one that does not.
func (w *world) holder(ctx context.Context) (h, other *hub, err error) {
	at, err := w.holders(ctx)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(w.hubs, func(h *hub) bool { return h.process != nil && h.process.URL == at[0] })
	if i < 0 {
		return nil, nil, fmt.Errorf("no hub holds the account: %q", at[0])
	}
	return w.hubs[i], w.hubs[1-i], nil
}

// held says why a hub does not hold an account.
func held(ctx context.Context, rest *scenario.Hub, account string, h *hub) error {
	at, err := rest.Holder(ctx, account)
	if err == nil && at != h.process.URL {
		err = fmt.Errorf("the account is held by %q", at)
	}
	return err
}

// answers waits until the phones show n answers.
func (w *world) answers(ctx context.Context, n int, within time.Duration) error {
	return scenario.Until(ctx, within, func() error {
		got, err := w.answered(ctx)
		if err == nil && got < n {
			err = fmt.Errorf("%d of %d answers", got, n)
		}
		return err
	})
}

// said says that a hub's log does not have a message since a moment.
func said(h *hub, since time.Time, msg string) error {
	for _, l := range h.lives[len(h.lives)-1].since(since) {
		if l.Msg == msg {
			return nil
		}
	}
	return errors.New("the hub did not say: " + msg)
}

// stale looks for what was written under an epoch that had been taken over by then.
func stale(w *world, before []row) error {
	rows, err := w.database.rows(context.Background())
	if err != nil {
		return err
	}
	all, err := tenures(w.lives(), w.lease)
	if err != nil {
		return err
	}
	newest := all[len(all)-1].epoch
	known := make(map[string]string, len(before))
	for _, r := range before {
		known[r.coll+r.id] = r.mark
	}
	old, fresh := 0, 0
	for _, r := range rows {
		switch {
		case r.epoch == newest:
			fresh++
		case r.epoch == 0:
		case known[r.coll+r.id] != r.mark:
			return fmt.Errorf("%s was written under epoch %d while epoch %d was another hub's", r.what, r.epoch, newest)
		default:
			old++
		}
	}
	if old == 0 || fresh == 0 {
		return fmt.Errorf("%d rows of the old epoch and %d of the new one prove nothing", old, fresh)
	}
	return nil
}
