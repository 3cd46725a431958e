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
	if testing.Short() {
		t.Skip("the hubs are processes of their own: this test under the race detector shows nothing more")
	}
	lease, length := shortLease, time.Duration(0)
	if os.Getenv("WILDCAT_CRASH_ROUNDS") != "" {
		lease, length = 12*time.Second, 30*time.Second
	}
	p, err := built()
	require.NoError(t, err)
	require.NoError(t, pause(t.Context(), t, p, newDatabase(t, uri), lease, length))
}

// TestSeveralHubsSeeDeliberateFaults builds hubs that break the rules of leases, each in one way,
// and the stories must fail for every one of them.
func TestSeveralHubsSeeDeliberateFaults(t *testing.T) {
	if os.Getenv("WILDCAT_CRASH_ROUNDS") == "" {
		t.Skip("deliberate faults take minutes: make crash runs them")
	}
	uri := mongoURI(t)
	for name, f := range leaseFaults {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			p, err := build(ctx, t.TempDir(), "-overlay", overlay(ctx, t, f))
			require.NoError(t, err)
			if f.paused {
				err = pause(ctx, t, p, newDatabase(t, uri), shortLease, 0)
			} else {
				var s *several
				s, err = newSeveral(ctx, t, p, newDatabase(t, uri), 2, 1)
				require.NoError(t, err)
				err = s.play(ctx, 0)
			}
			require.Error(t, err, "the story passed with a hub that is broken on purpose")
			var exit interface{ ExitCode() int }
			require.False(t, errors.As(err, &exit), "the broken hub did not run: %v", err)
			t.Logf("seen: %v", err)
		})
	}
}

// pause tells the story of a hub that is stopped, for at least so long, and woken.
func pause(ctx context.Context, t *testing.T, p programs, at database, lease, length time.Duration) error {
	w, err := newWorld(ctx, t, p, place{database: at, hubs: 2, accounts: 1, lease: lease})
	if err != nil {
		return err
	}
	sleeper, other, err := w.holder(ctx)
	if err != nil {
		return err
	}
	// In the middle of traffic: some are answered, the others on their way.
	err = errors.Join(w.ask(ctx, 3*batch), w.answers(ctx, batch/2, patience), syscall.Kill(sleeper.process.PID(), syscall.SIGSTOP))
	asleep := time.Now()
	if err = errors.Join(err, w.ask(ctx, batch)); err != nil {
		return err
	}
	rest := scenario.NewHub(other.process.URL)
	if err := scenario.Until(ctx, 20*time.Second, func() error { return held(ctx, rest, w.accounts[0], other) }); err != nil {
		return err
	}
	t.Logf("taken over after %s", time.Since(asleep).Round(10*time.Millisecond))
	if err := w.answers(ctx, len(w.asked), patience); err != nil {
		return err
	}
	t.Logf("all answered after %s", time.Since(asleep).Round(10*time.Millisecond))
	if left := length - time.Since(asleep); left > 0 {
		time.Sleep(left) // the length of the pause is what is tried here
	}
	return w.wake(ctx, sleeper, other)
}

// wake wakes the hub that was stopped, in the middle of traffic, too.
func (w *world) wake(ctx context.Context, sleeper, other *hub) error {
	rest := scenario.NewHub(other.process.URL)
	replaced, err := w.sandbox.Replaced(ctx)
	if err == nil && replaced > 1 {
		err = fmt.Errorf("%d connections were replaced: by the one that took over there is one", replaced)
	}
	if err != nil {
		return err
	}
	before, err := w.database.rows(ctx)
	if err = errors.Join(err, w.ask(ctx, 2*batch)); err != nil {
		return err
	}
	awake := time.Now()
	if err := syscall.Kill(sleeper.process.PID(), syscall.SIGCONT); err != nil {
		return err
	}
	if err := scenario.Until(ctx, patience/4, func() error { return said(sleeper, awake, msgGone) }); err != nil {
		return err
	}
	if err := errors.Join(w.ask(ctx, batch), w.verify(ctx), held(ctx, rest, w.accounts[0], other), w.stale(ctx, before, sleeper, awake)); err != nil {
		return err
	}
	for _, l := range ofAccounts(sleeper.lives[len(sleeper.lives)-1].since(awake)) {
		if l.Msg == msgTaken || l.Msg == msgRenewed || l.connects() {
			return fmt.Errorf("it acted for the account after it was woken: %+v", l)
		}
	}
	after, err := w.sandbox.Replaced(ctx)
	if err == nil && after != replaced {
		err = fmt.Errorf("%d connections were replaced after it was woken", after-replaced)
	}
	state, serr := w.database.accountState(ctx, w.accounts[0])
	if serr == nil && state != "connected" {
		serr = fmt.Errorf("the record says that the account is %s: the one that was woken wrote it", state)
	}
	return errors.Join(err, serr, w.stopAll())
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
	for _, l := range ofAccounts(h.lives[len(h.lives)-1].since(since)) {
		if l.Msg == msg {
			return nil
		}
	}
	return errors.New("the hub did not say: " + msg)
}

// stale looks for what was written, since before was read, under a lease that the sleeper had
// when it was stopped.
func (w *world) stale(ctx context.Context, before []row, sleeper *hub, awake time.Time) error {
	rows, err := w.database.rows(ctx)
	if err != nil {
		return err
	}
	lives := w.lives()
	all, err := tenures(lives, w.lease)
	if err != nil {
		return err
	}
	type key struct {
		account string
		epoch   uint64
	}
	old := map[key]bool{}
	for _, t := range all {
		if lives[t.life] == sleeper.lives[len(sleeper.lives)-1] && t.asked.Before(awake) {
			old[key{t.account, t.epoch}] = true
		}
	}
	known := make(map[string]string, len(before))
	for _, r := range before {
		known[r.coll+r.id] = r.mark
	}
	count := map[string]int{} // by what wrote, and of what kind
	for _, r := range rows {
		kind := "account"
		if r.coll == "deliveries" {
			kind = "partition"
		}
		switch {
		case r.epoch == 0:
		case !old[key{r.account, r.epoch}]:
			count["the new "+kind]++
		case known[r.coll+r.id] != r.mark:
			return fmt.Errorf("%s was written under epoch %d of %s after another hub had taken that over", r.what, r.epoch, r.account)
		default:
			count["the old "+kind]++
		}
	}
	for _, who := range []string{"the old account", "the new account", "the old partition", "the new partition"} {
		if count[who] == 0 {
			return fmt.Errorf("no row was written under %s's lease, which proves nothing: %v", who, count)
		}
	}
	return nil
}
