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
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const peer = "15550002@s.whatsapp.net"

// plain renders a text as itself.
type plain struct {
	mu sync.Mutex
	n  int
}

func (*plain) RenderText(to, text string, quote *sdk.Message, _ []string) (string, []byte, error) {
	if to == "nonsense" {
		return "", nil, errors.New("not an address")
	}
	if quote != nil {
		text = quote.Text + " > " + text
	}
	return to, []byte(text), nil
}

func (*plain) Describe(account, waID, to string, payload []byte, at time.Time) (*sdk.Event, error) {
	return &sdk.Event{
		ID: fmt.Sprintf("%032x", []byte(waID)[6:])[:32], Type: sdk.TypeMessage, Account: account, Chat: to, WAID: waID, Time: at,
		Message: &sdk.Message{ID: waID, Chat: to, FromMe: true, Text: string(payload), Time: at, Kind: sdk.KindText},
	}, nil
}

func (p *plain) NewID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	return fmt.Sprintf("3EB0%018d", p.n)
}

// events appends to the store as the pipeline does.
type events struct{ store *sqlite.Store }

func (e events) AppendSent(ctx context.Context, ev *sdk.Event, mark store.SentMark) error {
	_, err := e.store.AppendEvent(ctx, store.Append{Event: ev, Epoch: 1, Sent: &mark})
	return err
}

// wire is a WhatsApp that answers as it is told.
type wire struct {
	mu     sync.Mutex
	sent   []whatsapp.Outgoing
	answer func(n int, m whatsapp.Outgoing) error
}

func (w *wire) Send(ctx context.Context, m whatsapp.Outgoing) (whatsapp.Accepted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, m)
	if w.answer != nil {
		if err := w.answer(len(w.sent), m); err != nil {
			return whatsapp.Accepted{}, err
		}
	}
	return whatsapp.Accepted{At: time.Now()}, ctx.Err()
}

func (w *wire) texts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, m := range w.sent {
		out = append(out, string(m.Payload))
	}
	return out
}

type fixture struct {
	t     *testing.T
	store *sqlite.Store
	queue *Queue
}

func newFixture(t *testing.T, cfg Config) *fixture {
	st, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir()}, sqlite.Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	q, err := New(cfg, Deps{Store: st, Events: events{st}, Render: &plain{}, Rand: func() float64 { return 0 }})
	require.NoError(t, err)
	return &fixture{t: t, store: st, queue: q}
}

// run connects, and disconnects at the end of the test or when stop is called.
func (f *fixture) run(w *wire) (stop func()) { return f.runs(w) }

func (f *fixture) runs(w whatsapp.Sender) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.queue.Run(ctx, "a", 1, w)
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	f.t.Cleanup(stop)
	return stop
}

func (f *fixture) state(id string) store.Send {
	s, err := f.store.Send(context.Background(), id)
	require.NoError(f.t, err)
	return s
}

func (f *fixture) until(id string, want store.SendState) store.Send {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return f.state(id).State == want }, 10*time.Second, time.Millisecond, "never %s", want)
	return f.state(id)
}

func text(s string) Request { return Request{Account: "a", To: peer, Text: s} }

func TestMessagesGoOutInOrderAndOnce(t *testing.T) {
	f := newFixture(t, Config{})
	w := &wire{}
	var want []string
	var last store.Send
	for i := range 70 { // more than a page
		want = append(want, fmt.Sprint("m", i))
		var err error
		last, err = f.queue.Enqueue(t.Context(), text(want[i]))
		require.NoError(t, err)
	}
	f.run(w)
	f.until(last.ID, store.SendSent)
	require.Equal(t, want, w.texts())
	m, err := f.store.Message(t.Context(), "a", last.WAID)
	require.NoError(t, err)
	require.True(t, m.Message.FromMe)
}

func TestACallerGetsTheOutcome(t *testing.T) {
	f := newFixture(t, Config{})
	w := &wire{answer: func(_ int, m whatsapp.Outgoing) error {
		if string(m.Payload) == "bad" {
			return &whatsapp.RefusedError{Code: 403, Reason: "forbidden"}
		}
		return nil
	}}
	f.run(w)
	got, err := f.queue.Send(t.Context(), text("good"))
	require.NoError(t, err)
	require.NotEmpty(t, got.MessageID)
	require.False(t, got.At.IsZero())
	var failed *FailedError
	_, err = f.queue.Send(t.Context(), text("bad"))
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "forbidden", failed.Reason)
	_, err = f.queue.Send(t.Context(), Request{Account: "a", To: "nonsense", Text: "x"})
	require.ErrorContains(t, err, "not an address")
	_, err = f.queue.Send(t.Context(), Request{Account: "a", To: peer, Text: "x", QuoteID: "none"})
	require.ErrorIs(t, err, ErrQuotedNotFound)
}

func TestAnUncertainSendIsRepeatedAsTheSameMessage(t *testing.T) {
	f := newFixture(t, Config{})
	w := &wire{answer: func(n int, _ whatsapp.Outgoing) error {
		if n == 1 {
			return errors.New("connection lost")
		}
		return nil
	}}
	r := text("hello")
	r.Key = "k"
	s, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	f.run(w)
	s = f.until(s.ID, store.SendSent)
	require.Equal(t, 2, s.Attempt)
	require.Len(t, w.sent, 2)
	require.Equal(t, w.sent[0], w.sent[1])
}

func TestAnUncertainSendThatMustNotRepeatIsUnknown(t *testing.T) {
	lost := func(int, whatsapp.Outgoing) error { return errors.New("connection lost") }
	t.Run("no idempotency key", func(t *testing.T) {
		f := newFixture(t, Config{})
		w := &wire{answer: lost}
		f.run(w)
		_, err := f.queue.Send(t.Context(), text("x"))
		require.ErrorIs(t, err, ErrUnknown)
		require.Len(t, w.texts(), 1)
	})
	t.Run("at most once", func(t *testing.T) {
		f := newFixture(t, Config{AtMostOnce: true})
		w := &wire{answer: lost}
		r := text("x")
		r.Key = "k"
		s, err := f.queue.Enqueue(t.Context(), r)
		require.NoError(t, err)
		f.run(w)
		require.Equal(t, "uncertain", f.until(s.ID, store.SendUnknown).Reason)
		require.Len(t, w.texts(), 1)
		// A receipt proves, late, that it went out.
		require.NoError(t, f.queue.Confirm(t.Context(), "a", 1, []string{"unheard of", s.WAID}, time.Now()))
		f.until(s.ID, store.SendSent)
		require.NoError(t, f.queue.Confirm(t.Context(), "a", 1, []string{s.WAID}, time.Now()))
		require.Len(t, w.texts(), 1)
	})
	t.Run("it never ends", func(t *testing.T) {
		f := newFixture(t, Config{MaxUncertain: 2})
		w := &wire{answer: lost}
		r := text("x")
		r.Key = "k"
		s, err := f.queue.Enqueue(t.Context(), r)
		require.NoError(t, err)
		f.run(w)
		require.Equal(t, "unconfirmed", f.until(s.ID, store.SendUnknown).Reason)
		require.Len(t, w.texts(), 2)
	})
}

func TestWhatACrashLeftUncertainIsSettledBeforeAnythingElseGoesOut(t *testing.T) {
	f := newFixture(t, Config{})
	r := text("first")
	r.Key = "k"
	first, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	_, err = f.store.MoveSend(t.Context(), store.SendMove{ID: first.ID, From: store.SendQueued, To: store.SendSending, Epoch: 1, At: time.Now()})
	require.NoError(t, err)
	second, err := f.queue.Enqueue(t.Context(), text("second"))
	require.NoError(t, err)
	w := &wire{}
	f.run(w)
	f.until(second.ID, store.SendSent)
	require.Equal(t, []string{"first", "second"}, w.texts())
}

func TestWhatDidNotLeaveIsQueuedAgain(t *testing.T) {
	f := newFixture(t, Config{})
	w := &wire{answer: func(n int, _ whatsapp.Outgoing) error {
		if n == 1 {
			return fmt.Errorf("%w: not logged in", whatsapp.ErrNotSent)
		}
		return nil
	}}
	f.run(w)
	// No key: it did not leave, so repeating it is no repetition.
	got, err := f.queue.Send(t.Context(), text("x"))
	require.NoError(t, err)
	require.NotEmpty(t, got.MessageID)
}

func TestOneKeyIsOneMessage(t *testing.T) {
	f := newFixture(t, Config{})
	w := &wire{}
	f.run(w)
	r := text("x")
	r.Key = "k"
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Add(1)
		go func() {
			defer wg.Done()
			got, err := f.queue.Send(context.Background(), r)
			if err == nil {
				ids[i] = got.MessageID
			}
		}()
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	require.Len(t, w.texts(), 1)
	r.Text = "y"
	_, err := f.queue.Send(t.Context(), r)
	require.ErrorIs(t, err, ErrKeyReused)
}

func TestAReceiptEndsTheWaitForALostAcknowledgement(t *testing.T) {
	f := newFixture(t, Config{})
	f.queue.ackGrace = 10 * time.Millisecond
	w := &mute{to: make(chan whatsapp.Outgoing, 4)}
	first, err := f.queue.Enqueue(t.Context(), text("one"))
	require.NoError(t, err)
	second, err := f.queue.Enqueue(t.Context(), text("two"))
	require.NoError(t, err)
	f.runs(w)
	for _, s := range []store.Send{first, second} {
		require.Equal(t, s.WAID, (<-w.to).ID, "nobody acknowledges")
		require.NoError(t, f.queue.Confirm(t.Context(), "a", 1, []string{s.WAID}, time.Now()))
	}
	require.Equal(t, 1, f.until(first.ID, store.SendSent).Attempt)
	require.Equal(t, 1, f.until(second.ID, store.SendSent).Attempt)
}

// mute is a WhatsApp that never answers.
type mute struct{ to chan whatsapp.Outgoing }

func (m *mute) Send(ctx context.Context, out whatsapp.Outgoing) (whatsapp.Accepted, error) {
	m.to <- out
	<-ctx.Done()
	return whatsapp.Accepted{}, ctx.Err()
}

func TestAQuoteThatBecomesKnownDoesNotMakeAnotherRequest(t *testing.T) {
	f := newFixture(t, Config{})
	r := text("x")
	r.Key, r.QuoteID, r.Unquoted = "k", "Q1", true
	first, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	r.Unquoted = false
	again, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, first.WAID, again.WAID)
	r.QuoteID = "Q2"
	_, err = f.queue.Enqueue(t.Context(), r)
	require.ErrorIs(t, err, ErrKeyReused)
}

func TestACallerWhoseMessageIsDeletedWithItsAccountCannotKnow(t *testing.T) {
	f := newFixture(t, Config{})
	require.NoError(t, f.store.CreateAccount(t.Context(), store.Account{ID: "a", State: "created"}))
	got := make(chan error, 1)
	w := &mute{to: make(chan whatsapp.Outgoing, 1)}
	stop := f.runs(w)
	go func() {
		r, err := f.queue.Send(context.Background(), text("x"))
		if r.MessageID == "" {
			err = errors.New("no id")
		}
		got <- err
	}()
	out := <-w.to
	require.NoError(t, f.store.DeleteAccount(t.Context(), "a"))
	stop()
	snd, _ := f.store.SendByWAID(t.Context(), "a", out.ID)
	require.Empty(t, snd.ID)
	f.queue.mu.Lock()
	for id := range f.queue.waiters {
		go f.queue.settled(id) // as any change would
	}
	f.queue.mu.Unlock()
	require.ErrorIs(t, <-got, ErrUnknown)
}

func TestWhatBecameOfAKeyIsToldWithoutAConnection(t *testing.T) {
	f := newFixture(t, Config{})
	r := text("x")
	r.Key = "k"
	_, err := f.queue.Ask(t.Context(), r)
	require.ErrorIs(t, err, store.ErrNotFound)
	s, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	got, err := f.queue.Ask(t.Context(), r)
	require.ErrorIs(t, err, ErrPending)
	require.Equal(t, s.WAID, got.MessageID)
	other := r
	other.Text = "y"
	_, err = f.queue.Ask(t.Context(), other)
	require.ErrorIs(t, err, ErrKeyReused)

	w := &wire{}
	f.run(w)
	sent := f.until(s.ID, store.SendSent)
	got, err = f.queue.Ask(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, Result{MessageID: s.WAID, At: sent.SentAt}, got)
	require.Len(t, w.texts(), 1)
}

func TestACallerThatGoesAwayTakesItsMessageWithIt(t *testing.T) {
	f := newFixture(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := f.queue.Send(ctx, text("x")) // nothing is connected
	require.ErrorIs(t, err, ErrWithdrawn)
	r := text("kept")
	r.Key = "k"
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = f.queue.Send(ctx, r)
	require.ErrorIs(t, err, ErrPending)
	w := &wire{}
	f.run(w)
	got, err := f.queue.Send(t.Context(), r)
	require.NoError(t, err)
	require.NotEmpty(t, got.MessageID)
	require.Equal(t, []string{"kept"}, w.texts())
}

func TestASupersededOwnerSendsNothing(t *testing.T) {
	f := newFixture(t, Config{})
	r := text("x")
	r.Key = "k"
	s, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	_, err = f.store.MoveSend(t.Context(), store.SendMove{ID: s.ID, From: store.SendQueued, To: store.SendSending, Epoch: 9, At: time.Now()})
	require.NoError(t, err)
	w := &wire{}
	stop := f.run(w) // epoch 1
	other, err := f.queue.Enqueue(t.Context(), text("other"))
	require.NoError(t, err)
	f.until(other.ID, store.SendSent)
	stop()
	require.Equal(t, []string{"other"}, w.texts())
	require.Equal(t, store.SendSending, f.state(s.ID).State)
}

func TestWhatNeverLeavesIsFailedInTheEndAndSpendsNoAttempt(t *testing.T) {
	f := newFixture(t, Config{MaxUnsent: 3, MaxUncertain: 2})
	w := &wire{answer: func(_ int, m whatsapp.Outgoing) error {
		if string(m.Payload) == "never" {
			return fmt.Errorf("%w: no devices", whatsapp.ErrNotSent)
		}
		return nil
	}}
	r := text("never")
	r.Key = "k"
	s, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	behind, err := f.queue.Enqueue(t.Context(), text("behind"))
	require.NoError(t, err)
	f.run(w)
	f.until(behind.ID, store.SendSent)
	got := f.until(s.ID, store.SendFailed)
	require.Equal(t, "unsendable", got.Reason)
	require.Zero(t, got.Attempt)
	require.Equal(t, []string{"never", "never", "never", "behind"}, w.texts())
}

// flaky fails to record an acceptance, at first.
type flaky struct {
	events
	mu   sync.Mutex
	left int
}

func (f *flaky) AppendSent(ctx context.Context, ev *sdk.Event, mark store.SentMark) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left >= 0 {
		return errors.New("database is locked")
	}
	return f.events.AppendSent(ctx, ev, mark)
}

func TestAnAcceptedMessageIsNotRepeatedWhenItCannotBeRecorded(t *testing.T) {
	f := newFixture(t, Config{})
	f.queue.deps.Events = &flaky{events: events{f.store}, left: 2}
	w := &wire{}
	f.run(w)
	got, err := f.queue.Send(t.Context(), text("x"))
	require.NoError(t, err)
	require.NotEmpty(t, got.MessageID)
	require.Len(t, w.texts(), 1)
}

func TestRequestsOfADeadProcessWithoutAKeyAreWithdrawn(t *testing.T) {
	f := newFixture(t, Config{})
	old, err := f.queue.Enqueue(t.Context(), text("old"))
	require.NoError(t, err)
	r := text("kept")
	r.Key = "k"
	_, err = f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	f.queue.started = time.Now().Add(time.Second) // the next process
	w := &wire{}
	f.run(w)
	require.Equal(t, "caller_gone", f.until(old.ID, store.SendFailed).Reason)
	require.Eventually(t, func() bool { return len(w.texts()) == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, []string{"kept"}, w.texts())
}

func TestDiscardFailsWhatWaitsAndWhatIsUncertain(t *testing.T) {
	f := newFixture(t, Config{})
	var ids []string
	for i := range 40 {
		s, err := f.queue.Enqueue(t.Context(), text(fmt.Sprint(i)))
		require.NoError(t, err)
		ids = append(ids, s.ID)
	}
	_, err := f.store.MoveSend(t.Context(), store.SendMove{ID: ids[0], From: store.SendQueued, To: store.SendSending, Epoch: 1, At: time.Now()})
	require.NoError(t, err)
	require.NoError(t, f.queue.Discard(t.Context(), "a", 1, "other_number"))
	for _, id := range ids {
		require.Equal(t, store.SendFailed, f.state(id).State)
	}
}

func TestNothingIsSentForAnAccountWhoseLeaseHasRunOut(t *testing.T) {
	f := newFixture(t, Config{})
	var leased atomic.Bool
	leased.Store(true)
	refused := make(chan struct{}, 100)
	f.queue.deps.Leased = func(account string, epoch uint64) bool {
		if account == "a" && epoch == 1 && leased.Load() {
			return true
		}
		refused <- struct{}{}
		return false
	}
	w := &wire{answer: func(int, whatsapp.Outgoing) error {
		leased.Store(false) // from the first message on
		return nil
	}}
	r := text("first")
	r.Key = "1"
	first, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	r = text("second")
	r.Key = "2"
	second, err := f.queue.Enqueue(t.Context(), r)
	require.NoError(t, err)
	stop := f.run(w)
	f.until(first.ID, store.SendSent)
	<-refused
	stop()
	require.Equal(t, []string{"first"}, w.texts())
	require.Equal(t, store.SendQueued, f.state(second.ID).State, "it is the next owner's")
}
