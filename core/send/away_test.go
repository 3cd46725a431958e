package send

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

// away is a store of which nothing can be read for a while, or that does not answer to what
// it has written.
type away struct {
	Store
	reads, answers atomic.Bool
}

func (a *away) Send(ctx context.Context, id string) (store.Send, error) {
	if a.reads.Load() {
		return store.Send{}, fmt.Errorf("read: %w", store.ErrAway)
	}
	return a.Store.Send(ctx, id)
}

func (a *away) MoveSend(ctx context.Context, m store.SendMove) (store.Send, error) {
	if a.reads.Load() {
		return store.Send{}, fmt.Errorf("move: %w", store.ErrAway)
	}
	return a.Store.MoveSend(ctx, m)
}

func (a *away) InsertSend(ctx context.Context, s store.Send) error {
	err := a.Store.InsertSend(ctx, s)
	if a.answers.Load() {
		return errors.Join(err, fmt.Errorf("insert: %w", store.ErrAway))
	}
	return err
}

// Whoever cannot be told what became of a message must not be told that nothing did.
func TestAMessageWhoseOutcomeCannotBeReadIsUncertain(t *testing.T) {
	f := newFixture(t, Config{})
	db := &away{Store: f.store}
	f.queue.deps.Store = db
	for _, key := range []string{"", "k"} {
		arrived, leave := make(chan struct{}), make(chan struct{})
		w := &wire{answer: func(int, whatsapp.Outgoing) error {
			close(arrived)
			<-leave
			return nil
		}}
		stop := f.run(w)
		let := sync.OnceFunc(func() { close(leave) })
		t.Cleanup(let)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		r := text("x")
		r.Key = key
		type answer struct {
			res Result
			err error
		}
		done := make(chan answer, 1)
		go func() {
			res, err := f.queue.Send(ctx, r)
			done <- answer{res, err}
		}()
		<-arrived
		db.reads.Store(true)
		cancel() // its time is up
		got := <-done
		require.ErrorIs(t, got.err, ErrPending)
		require.ErrorIs(t, got.err, store.ErrAway)
		require.NotEmpty(t, got.res.MessageID)
		db.reads.Store(false)
		let()
		stop()
	}
}

// A caller who is told to try again must not have sent twice.
func TestAMessageThatMayHaveBeenStoredIsNotSentForACallerWhoWasToldThatItWasNot(t *testing.T) {
	f := newFixture(t, Config{})
	db := &away{Store: f.store}
	f.queue.deps.Store = db
	db.answers.Store(true)
	_, err := f.queue.Send(t.Context(), text("told to try again"))
	require.ErrorIs(t, err, store.ErrAway)
	require.NotErrorIs(t, err, ErrPending)
	r := text("kept")
	r.Key = "k"
	_, err = f.queue.Send(t.Context(), r)
	require.ErrorIs(t, err, store.ErrAway)
	db.answers.Store(false)
	w := &wire{}
	f.run(w)
	_, err = f.queue.Send(t.Context(), text("again"))
	require.NoError(t, err)
	require.Equal(t, []string{"kept", "again"}, w.texts())
	require.Equal(t, callerGone, f.queued(store.SendFailed, 1)[0].Reason)
}
