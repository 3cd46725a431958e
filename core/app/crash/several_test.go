package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/scenario"
)

const (
	// shortLease is the shortest that a configuration may name: a dead hub's accounts wait for it.
	shortLease = 3 * time.Second
	// reach is how long a hub may take to come to its point, once it has questions.
	reach = 8 * time.Second
)

// TestCrashStoryWithSeveralHubs is the crash story on one database with two hubs, or as many as
// WILDCAT_CRASH_HUBS says.
func TestCrashStoryWithSeveralHubs(t *testing.T) {
	uri, hubs := mongoURI(t), envInt(t, "WILDCAT_CRASH_HUBS", 2)
	if hubs < 2 {
		t.Skip("one hub was asked for")
	}
	if testing.Short() {
		t.Skip("the hubs are processes of their own: this test under the race detector shows nothing more")
	}
	ctx := t.Context()
	seed := uint64(envInt(t, "WILDCAT_CRASH_SEED", 1)) //nolint:gosec // any will do
	n := envInt(t, "WILDCAT_CRASH_ROUNDS", len(points)+1)
	p, err := built()
	require.NoError(t, err)
	s, err := newSeveral(ctx, t, p, newDatabase(t, uri), hubs, seed)
	require.NoError(t, err)
	err = s.play(ctx, n)
	for _, p := range append(slices.Clone(points), random) {
		t.Logf("%-14s %d kills", p, s.kills[p])
	}
	t.Logf("%d times others took the accounts of the dead over, %d times the dead came back before", s.takeovers, s.returns)
	require.NoError(t, err, "seed %d", seed)
	for _, p := range append(slices.Clone(points), random) {
		require.NotZero(t, s.kills[p], "no kill at %s: the story did not prove anything there", p)
	}
	require.NotZero(t, s.takeovers, "nothing was taken over")
	require.NotZero(t, s.returns, "no hub came back before its accounts were taken over")
}

// several plays rounds with several hubs. In each, one of them, picked at random, dies at the
// round's point or at a random moment while it holds an account that is written to.
type several struct {
	w   *world
	rng *rand.Rand
	// patient waits for others to take over in every other round, and not only in some.
	patient            bool
	kills              map[string]int
	takeovers, returns int
}

func newSeveral(ctx context.Context, t *testing.T, p programs, at database, hubs int, seed uint64) (*several, error) {
	w, err := newWorld(ctx, t, p, place{database: at, hubs: hubs, accounts: hubs, lease: shortLease})
	return &several{
		w: w, rng: rand.New(rand.NewPCG(seed, uint64(hubs))), //nolint:gosec // repeatable on purpose
		kills: map[string]int{}, patient: os.Getenv("WILDCAT_CRASH_ROUNDS") != "",
	}, err
}

func (s *several) play(ctx context.Context, n int) error {
	rounds := append(slices.Clone(points), random)
	for i := range max(n, len(rounds)) {
		point := rounds[i%len(rounds)]
		if err := s.round(ctx, point, s.waits(i)); err != nil {
			return fmt.Errorf("round %d (%s): %w", i+1, point, err)
		}
		if (i+1)%10 == 0 {
			if err := s.w.verify(ctx); err != nil {
				return fmt.Errorf("after round %d (%s): %w", i+1, point, err)
			}
		}
	}
	// How often a point is passed before the questions are used up is not known beforehand.
	for _, point := range rounds {
		for range 3 {
			if s.kills[point] > 0 {
				break
			}
			if err := s.round(ctx, point, false); err != nil {
				return fmt.Errorf("round again (%s): %w", point, err)
			}
		}
	}
	return s.end(ctx)
}

// end checks everything once more, and that no account had two connections at a time.
func (s *several) end(ctx context.Context) error {
	if err := s.w.verify(ctx); err != nil {
		return fmt.Errorf("after the last round: %w", err)
	}
	replaced, err := s.w.sandbox.Replaced(ctx)
	if err == nil && replaced > 0 {
		err = fmt.Errorf("%d connections were replaced by another of the same account", replaced)
	}
	return errors.Join(err, s.w.stopAll(), s.w.checkLeases(ctx))
}

// waits says whether others are to take over before the dead comes back.
func (s *several) waits(round int) bool {
	if s.patient {
		return round%2 == 0
	}
	return round%4 == 0
}

// round lets one hub die, which has an account then, and sees to it that its accounts go on.
func (s *several) round(ctx context.Context, point string, wait bool) error {
	w := s.w
	victim := w.hubs[s.rng.IntN(len(w.hubs))]
	at := ""
	if point != random {
		at = fmt.Sprintf("%s:%d", point, 1+s.rng.IntN(batch/4))
	}
	before := w.killed()
	if at != "" || victim.process == nil {
		// Stopped in an orderly way, if it runs: its accounts move on at once.
		if err := victim.stop(); err != nil {
			return err
		}
		if err := w.start(ctx, victim, at); err != nil && w.killed() == before {
			return err
		}
	}
	for _, h := range w.hubs {
		if h != victim && h.process == nil {
			if err := w.start(ctx, h, ""); err != nil {
				return err
			}
		}
	}
	if err := s.holds(ctx, victim); err != nil {
		return err
	}
	if err := w.ask(ctx, batch*len(w.hubs)/2); err != nil {
		return err
	}
	switch {
	case victim.process == nil: // it died while it took up what was left
	case at == "":
		time.Sleep(time.Duration(s.rng.IntN(400)) * time.Millisecond) // the moment of the kill is what is random here
		victim.kill()
		s.kills[random]++
	default:
		victim.dies(reach)
	}
	if w.killed() > before {
		s.kills[point]++
	}
	if !wait {
		s.returns++
		return nil
	}
	s.takeovers++
	return s.takenOver(ctx, victim)
}

// holds waits until a hub holds an account, or died of what it took up.
func (s *several) holds(ctx context.Context, h *hub) error {
	return scenario.Until(ctx, patience, func() error {
		if h.process == nil {
			return nil
		}
		select {
		case <-h.process.Done():
			h.dead()
			return nil
		default:
		}
		holders, err := s.w.holders(ctx)
		if err == nil && !slices.Contains(holders, h.process.URL) {
			err = errors.New("the hub holds no account")
		}
		return err
	})
}

// takenOver waits until others hold all accounts.
func (s *several) takenOver(ctx context.Context, dead *hub) error {
	urls := map[string]bool{}
	for _, h := range s.w.hubs {
		if h != dead {
			urls[h.process.URL] = true
		}
	}
	return scenario.Until(ctx, patience, func() error {
		holders, err := s.w.holders(ctx)
		for i, at := range holders {
			if err == nil && !urls[at] {
				err = fmt.Errorf("account %s is held by %q, which is not one of those that live", s.w.accounts[i], at)
			}
		}
		return err
	})
}

// holders are the URLs of the hubs that hold the accounts, "" for none.
func (w *world) holders(ctx context.Context) ([]string, error) {
	rest := w.rest()
	if rest == nil {
		return nil, errors.New("no hub runs")
	}
	out := make([]string, len(w.accounts))
	for i, a := range w.accounts {
		var err error
		if out[i], err = rest.Holder(ctx, a); err != nil {
			return nil, err
		}
	}
	return out, nil
}
