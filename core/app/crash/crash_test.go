package crash

import (
	"bytes"
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

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w.Len() > 8<<20 {
		l.w.Reset()
	}
	return l.w.Write(b)
}

func envInt(t *testing.T, name string, def int) int {
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// build builds the hub with crash points, and the example connector. extra goes to go build.
func build(ctx context.Context, t *testing.T, extra ...string) (exe, connector string) {
	source, err := scenario.SourceDir(ctx)
	require.NoError(t, err)
	dir := t.TempDir()
	exe, err = scenario.Build(ctx, source, "./cmd/wildcat", filepath.Join(dir, "wildcat"), append([]string{"-tags", "crashpoints"}, extra...)...)
	require.NoError(t, err)
	connector, err = scenario.BuildConnector(ctx, source, dir)
	require.NoError(t, err)
	return exe, connector
}

// story plays rounds: in each, the hub takes up what the one before left, gets a
// batch of questions, and dies at the round's point. In the end all must be as promised.
func story(ctx context.Context, t *testing.T, exe, connector string, rounds []string, seed uint64) (map[string]int, error) {
	w, err := newWorld(ctx, t, exe, connector)
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
		if (i+1)%10 == 0 {
			if err := w.verify(ctx); err != nil {
				return kills, fmt.Errorf("after round %d (%s, seed %d): %w", i+1, point, seed, err)
			}
		}
	}
	if err := w.verify(ctx); err != nil {
		return kills, fmt.Errorf("after the last round (seed %d): %w", seed, err)
	}
	return kills, nil
}

// round starts the hub, asks, and sees it die. With no point it is killed after delay.
func (w *world) round(ctx context.Context, at string, delay time.Duration) (died bool, err error) {
	before := w.killed()
	p, err := w.start(ctx, at)
	if err != nil {
		if w.killed() > before {
			return true, w.ask(ctx) // it died while it took up what was left; the phones write all the same
		}
		return false, err
	}
	if err := w.ask(ctx); err != nil {
		p.Kill()
		return false, err
	}
	if at == "" {
		time.Sleep(delay) // the moment of the kill is what is random here
		p.Kill()
		return true, nil
	}
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-p.Done():
		return true, nil
	case <-timer.C: // the point was not reached so often
		p.Kill()
		return false, nil
	}
}

func TestCrashStory(t *testing.T) {
	ctx := t.Context()
	n := envInt(t, "WILDCAT_CRASH_ROUNDS", len(points)+2)
	seed := uint64(envInt(t, "WILDCAT_CRASH_SEED", 1))
	exe, connector := build(ctx, t)
	var rounds []string
	all := append(append([]string(nil), points...), random, random)
	for len(rounds) < n {
		rounds = append(rounds, all[len(rounds)%len(all)])
	}
	kills, err := story(ctx, t, exe, connector, rounds, seed)
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
	for name := range faults {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			f := faults[name]
			exe, connector := build(ctx, t, "-overlay", overlay(ctx, t, f))
			var rounds []string
			for range 4 {
				rounds = append(rounds, f.points...)
			}
			_, err := story(ctx, t, exe, connector, rounds, 1)
			require.Error(t, err, "the story passed with a hub that is broken on purpose")
			var exit interface{ ExitCode() int }
			require.False(t, errors.As(err, &exit), "the broken hub did not run: %v", err)
			t.Logf("seen: %v", err)
		})
	}
}
