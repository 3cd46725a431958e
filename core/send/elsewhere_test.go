package send

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

// holder is who holds an account among the queues of a test.
type holder struct {
	mu    sync.Mutex
	queue *Queue
	epoch uint64
}

func (h *holder) move(q *Queue, epoch uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queue, h.epoch = q, epoch
}

func (h *holder) tenure(q *Queue) func(string) uint64 {
	return func(string) uint64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.queue == q {
			return h.epoch
		}
		return 0
	}
}

// hubs are two queues on one store, of which the first holds the account under epoch 1.
func hubs(t *testing.T) (f *fixture, other *Queue, h *holder) {
	f = newFixture(t, Config{})
	other, err := New(Config{}, Deps{Store: f.store, Events: f.queue.deps.Events, Render: &plain{n: 1000}, Rand: func() float64 { return 0 }})
	require.NoError(t, err)
	h = &holder{}
	for _, q := range []*Queue{f.queue, other} {
		q.every, q.deps.Tenure = time.Millisecond, h.tenure(q)
	}
	h.move(f.queue, 1)
	return f, other, h
}

// connect runs an account on one of several queues.
func connect(t *testing.T, q *Queue, epoch uint64, w *wire) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.Run(ctx, "a", epoch, w)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// asked is a send under way.
func asked(t *testing.T, q *Queue, r Request) <-chan error {
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	go func() {
		_, err := q.Send(ctx, r)
		done <- err
	}()
	return done
}

// queued waits for n sends in a state and returns them.
func (f *fixture) queued(state store.SendState, n int) []store.Send {
	f.t.Helper()
	var list []store.Send
	require.Eventually(f.t, func() bool {
		var err error
		list, err = f.store.ListSends(context.Background(), store.SendQuery{Account: "a", State: state, Limit: 100})
		return err == nil && len(list) == n
	}, 10*time.Second, time.Millisecond, "never %d %s", n, state)
	return list
}

func TestOnlyTheHolderTakesAMessage(t *testing.T) {
	f, other, h := hubs(t)
	r := text("x")
	for _, r.Key = range []string{"", "k"} {
		_, err := other.Send(t.Context(), r)
		require.ErrorIs(t, err, ErrElsewhere)
	}
	h.move(nil, 0) // nobody holds it
	_, err := f.queue.Send(t.Context(), text("y"))
	require.ErrorIs(t, err, ErrElsewhere)
	f.queued("", 0)
}

func TestAMessageThatWaitsForAnAccountThatMovesAwayIsNotSentAndItsCallerIsTold(t *testing.T) {
	f, other, h := hubs(t)
	done := asked(t, f.queue, text("x")) // nothing is connected
	f.queued(store.SendQueued, 1)
	h.move(other, 2)
	require.ErrorIs(t, <-done, ErrElsewhere)
	w := &wire{}
	connect(t, other, 2, w)
	require.NoError(t, <-asked(t, other, text("y")))
	require.Equal(t, []string{"y"}, w.texts())
}

func TestACallerWithAKeyIsAnsweredOnceTheNewHolderHasSent(t *testing.T) {
	f, other, h := hubs(t)
	r := text("x")
	r.Key = "k"
	done := asked(t, f.queue, r)
	f.queued(store.SendQueued, 1)
	h.move(other, 2)
	w := &wire{}
	connect(t, other, 2, w)
	require.NoError(t, <-done)
	require.Equal(t, []string{"x"}, w.texts())
}

func TestWhatWasOnTheWireWhenTheAccountMovedIsAnsweredByWhatTheNewHolderFinds(t *testing.T) {
	f, other, h := hubs(t)
	leave := make(chan struct{})
	w := &wire{answer: func(int, whatsapp.Outgoing) error {
		<-leave
		return context.Canceled
	}}
	stop := connect(t, f.queue, 1, w)
	done := asked(t, f.queue, text("x"))
	snd := f.queued(store.SendSending, 1)[0]
	h.move(other, 2)
	close(leave)
	stop()
	require.NoError(t, other.Confirm(t.Context(), "a", 2, []string{snd.WAID}, time.Now()))
	require.NoError(t, <-done)
}

func TestAfterATakeoverRequestsWithoutAKeyAreWithdrawn(t *testing.T) {
	f, other, h := hubs(t)
	// The holder dies with its callers: nobody withdraws what they asked for.
	for _, s := range []string{"one", "two"} {
		_, err := f.queue.enqueue(t.Context(), text(s), 1)
		require.NoError(t, err)
	}
	r := text("kept")
	r.Key = "k"
	_, err := f.queue.enqueue(t.Context(), r, 1)
	require.NoError(t, err)
	h.move(other, 2)
	w := &wire{}
	connect(t, other, 2, w)
	for _, snd := range f.queued(store.SendFailed, 2) {
		require.Equal(t, callerGone, snd.Reason)
	}
	f.queued(store.SendSent, 1)
	require.Equal(t, []string{"kept"}, w.texts())
}

func TestAHubThatStartedLaterSendsForCallersOfItsOwnEpochOnly(t *testing.T) {
	f, other, h := hubs(t)
	other.started = time.Now().Add(-time.Hour) // it ran long before
	_, err := f.queue.enqueue(t.Context(), text("dead caller"), 1)
	require.NoError(t, err)
	h.move(other, 2)
	done := asked(t, other, text("waits"))
	f.queued(store.SendQueued, 2)
	w := &wire{}
	connect(t, other, 2, w)
	require.NoError(t, <-done)
	require.Equal(t, []string{"waits"}, w.texts())
}

func TestACallerWhoseTimeIsUpIsToldWhatHasBecomeOfItsMessage(t *testing.T) {
	f := newFixture(t, Config{})
	snd, err := f.queue.Enqueue(t.Context(), text("x"))
	require.NoError(t, err)
	w := &wire{}
	stop := f.run(w)
	f.until(snd.ID, store.SendSent)
	stop()
	got, err := f.queue.abandon(t.Context(), snd)
	require.NoError(t, err)
	require.Equal(t, snd.WAID, got.MessageID)
	require.False(t, got.At.IsZero())
}
