package simtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// Inbox keeps the events that a client was handed, for tests that wait for one. Its lock may
// guard what else the test keeps of them.
type Inbox struct {
	sync.Mutex
	events  []any
	changed chan struct{}
}

// Put adds an event. It needs the lock.
func (b *Inbox) Put(evt any) {
	b.events = append(b.events, evt)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Events are those so far. It needs the lock.
func (b *Inbox) Events() []any { return b.events }

// Forget drops the events so far.
func (b *Inbox) Forget() {
	b.Lock()
	defer b.Unlock()
	b.events = nil
}

// Wait waits until done, called with the lock held, is true.
func (b *Inbox) Wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	ctx := Within(t, patience)
	for {
		b.Lock()
		if done() {
			b.Unlock()
			return
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(t, "timeout", "waiting for %s", what)
		}
	}
}

// WaitEvent waits for an event of a type that match accepts.
func WaitEvent[E any](t testing.TB, b *Inbox, match func(E) bool) E {
	t.Helper()
	var found E
	b.Wait(t, fmt.Sprintf("%T", found), func() bool {
		for _, evt := range b.events {
			if e, ok := evt.(E); ok && match(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// AnyOf matches every event of its type.
func AnyOf[E any](E) bool { return true }

// Within is the test's context with an end.
func Within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
