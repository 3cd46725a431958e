package simulator_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// fakeClock is a clock that stands still until it is moved, with the timers that hang on it.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*fakeTimer
}

type fakeTimer struct {
	at time.Time
	f  func()
}

func newFakeClock() *fakeClock {
	return &fakeClock{now: time.Now().Truncate(time.Second)} // certificates are checked against the real one
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) After(d time.Duration, f func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := &fakeTimer{c.now.Add(d), f}
	c.timers = append(c.timers, timer)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timers = slices.DeleteFunc(c.timers, func(t *fakeTimer) bool { return t == timer })
	}
}

// Advance moves the clock and runs what has become due.
func (c *fakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []*fakeTimer
	c.timers = slices.DeleteFunc(c.timers, func(t *fakeTimer) bool {
		if t.at.After(c.now) {
			return false
		}
		due = append(due, t)
		return true
	})
	c.mu.Unlock()
	for _, t := range due {
		t.f()
	}
}

// newServerWith is newServer with options.
func newServerWith(t testing.TB, opts simulator.Options) *simulator.Server {
	t.Helper()
	opts.Root = simtest.Root()
	s, err := simulator.New(opts)
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		s.Verify(t)
	})
	return s
}

// newServerAt is a server on a clock of the test's own.
func newServerAt(t testing.TB) (*simulator.Server, *fakeClock) {
	t.Helper()
	clock := newFakeClock()
	return newServerWith(t, simulator.Options{Clock: clock.Now, After: clock.After}), clock
}
