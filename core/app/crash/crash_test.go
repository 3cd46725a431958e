package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/scenario"
)

// points are the named places of the protocols, in the order of a message's way.
var points = []string{
	"after_append", "after_verdict", "after_sends", "mid_fanout", "before_stage", "after_sending", "after_accept", "before_flush",
}

// random stands for a SIGKILL at a random moment.
const random = "random"

func envInt(t *testing.T, name string, def int) int {
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// programs are the hub with crash points, and the example connector.
type programs struct{ exe, connector string }

// built builds what the stories have in common once, into a folder that TestMain removes.
var built = sync.OnceValues(func() (programs, error) { return build(context.Background(), folder()) })

var folder = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "wildcat-crash-")
	if err != nil {
		panic(err)
	}
	return dir
})

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(folder())
	os.Exit(code)
}

// build builds into a folder; extra goes to go build.
func build(ctx context.Context, dir string, extra ...string) (p programs, err error) {
	source, err := scenario.SourceDir(ctx)
	if err != nil {
		return p, err
	}
	if p.exe, err = scenario.Build(ctx, source, "./cmd/wildcat", filepath.Join(dir, "wildcat"), append([]string{"-tags", "crashpoints"}, extra...)...); err != nil {
		return p, err
	}
	p.connector, err = scenario.BuildConnector(ctx, source, dir)
	return p, err
}

// alone plays rounds with one hub: in each, it takes up what the one before left, gets a
// batch of questions, and dies at the round's point. In the end all must be as promised.
func alone(ctx context.Context, t *testing.T, p programs, rounds []string, seed uint64) (map[string]int, error) {
	w, err := newWorld(ctx, t, p, place{database: newDatabase(t, os.Getenv("WILDCAT_CRASH_DATABASE")), hubs: 1, accounts: 1})
	if err == nil {
		err = w.stopAll()
	}
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	kills := map[string]int{}
	for i, point := range rounds {
		before := w.killed()
		at := ""
		if point != random {
			at = fmt.Sprintf("%s:%d", point, 1+rng.IntN(batch*3/4))
		}
		died, err := w.round(ctx, at, time.Duration(rng.IntN(400))*time.Millisecond)
		if err != nil {
			return kills, fmt.Errorf("round %d (%s, seed %d): %w", i+1, at+point, seed, err)
		}
		switch {
		case point == random:
			kills[random]++
		case died && w.killed() > before:
			kills[point]++
		}
		if (i+1)%10 == 0 || i+1 == len(rounds) {
			if err := errors.Join(w.verify(ctx), w.stopAll()); err != nil {
				return kills, fmt.Errorf("after round %d (%s, seed %d): %w", i+1, point, seed, err)
			}
		}
	}
	return kills, nil
}

// round starts the hub, asks, and sees it die. With no point it is killed after delay.
func (w *world) round(ctx context.Context, at string, delay time.Duration) (died bool, err error) {
	before, h := w.killed(), w.hubs[0]
	if err := w.start(ctx, h, at); err != nil {
		if w.killed() > before {
			return true, w.ask(ctx, batch) // it died while it took up what was left; the phones write all the same
		}
		return false, err
	}
	if err := w.ask(ctx, batch); err != nil {
		h.kill()
		return false, err
	}
	if at == "" {
		time.Sleep(delay) // the moment of the kill is what is random here
		h.kill()
		return true, nil
	}
	return h.dies(20 * time.Second), nil
}

// dies waits for the hub to kill itself, and kills it if the point was not reached so often.
func (h *hub) dies(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-h.process.Done():
		h.dead()
		return true
	case <-timer.C:
		h.kill()
		return false
	}
}

func TestCrashStory(t *testing.T) {
	ctx := t.Context()
	n := envInt(t, "WILDCAT_CRASH_ROUNDS", len(points)+2)
	seed := uint64(envInt(t, "WILDCAT_CRASH_SEED", 1))
	p, err := built()
	require.NoError(t, err)
	var rounds []string
	all := append(append([]string(nil), points...), random, random)
	for len(rounds) < n {
		rounds = append(rounds, all[len(rounds)%len(all)])
	}
	kills, err := alone(ctx, t, p, rounds, seed)
	for _, p := range append(append([]string(nil), points...), random) {
		t.Logf("%-14s %d kills", p, kills[p])
	}
	require.NoError(t, err)
	for _, p := range all {
		require.NotZero(t, kills[p], "no kill at %s: the story did not prove anything there", p)
	}
}

// TestCrashStorySeesDeliberateFaults builds hubs with one deliberate fault each, and
// the story must fail for every one of them.
func TestCrashStorySeesDeliberateFaults(t *testing.T) {
	if os.Getenv("WILDCAT_CRASH_ROUNDS") == "" {
		t.Skip("deliberate faults take minutes: make crash runs them")
	}
	ctx := t.Context()
	names := make([]string, 0, len(faults))
	engine := "sqlite"
	if os.Getenv("WILDCAT_CRASH_DATABASE") != "" {
		engine = "mongo"
	}
	for name, f := range faults {
		if f.engine == "" || f.engine == engine {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			f := faults[name]
			p, err := build(ctx, t.TempDir(), "-overlay", overlay(ctx, t, f))
			require.NoError(t, err)
			var rounds []string
			for range 4 {
				rounds = append(rounds, f.points...)
			}
			_, err = alone(ctx, t, p, rounds, 1)
			require.Error(t, err, "the story passed with a hub that is broken on purpose")
			var exit interface{ ExitCode() int }
			require.False(t, errors.As(err, &exit), "the broken hub did not run: %v", err)
			t.Logf("seen: %v", err)
		})
	}
}
