package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/sdk"
)

func TestMain(m *testing.M) {
	// Each of the property's runs meets real back-offs: 30 take seconds, 100 half a minute.
	_ = flag.Set("rapid.checks", "30")
	goleak.VerifyTestMain(m)
}

// echoRule answers every message and notes the order in which it saw them.
type echoRule struct {
	name string
	mu   sync.Mutex
	seen map[string][]uint64
	runs map[string]int
	fail func(ev *sdk.Event) error
	want func(ev *sdk.Event) Verdict
}

func newEcho(name string) *echoRule {
	return &echoRule{name: name, seen: map[string][]uint64{}, runs: map[string]int{}}
}

func (r *echoRule) Name() string             { return r.name }
func (r *echoRule) Match(ev *sdk.Event) bool { return ev.Type == sdk.TypeMessage && !ev.Message.FromMe }

func (r *echoRule) Eval(_ context.Context, ev *sdk.Event) (Verdict, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[ev.Chat] = append(r.seen[ev.Chat], ev.Seq)
	r.runs[ev.ID]++
	if r.fail != nil {
		if err := r.fail(ev); err != nil {
			return Verdict{}, err
		}
	}
	if r.want != nil {
		return r.want(ev), nil
	}
	return Verdict{Actions: []Action{{Kind: ActionReply, Text: "re: " + ev.Message.Text}}}, nil
}

type ruleList []Rule

func (l ruleList) Acquire() InForce { return InForce{Rules: l, Version: "v1"} }

// limited bounds what a list of rules sends.
type limited struct {
	ruleList
	limits ReplyLimits
}

func (l limited) Acquire() InForce { return InForce{Rules: l.ruleList, Replies: l.limits} }

type plainRenderer struct{}

func (plainRenderer) RenderText(to, text string, _ *sdk.Message, _ []string) (string, []byte, error) {
	if to == "" {
		return "", nil, errors.New("no address")
	}
	b, err := json.Marshal(text)
	return to, b, err
}

type endpointList []EndpointRef

func (l endpointList) Match(*sdk.Event) []EndpointRef { return l }

// fixture is a pipeline over a real SQLite file.
type fixture struct {
	t       testing.TB
	path    string
	store   *sqlite.Store
	pipe    *Pipeline
	mu      sync.Mutex
	queued  map[string][]uint64 // per chat, in the order in which the outbox got them
	wakened int
}

func newFixture(t testing.TB, st Store, rules RuleSet, cfg Config) *fixture {
	f := &fixture{t: t, queued: map[string][]uint64{}}
	if st == nil {
		f.path = filepath.Join(t.TempDir(), "w.db")
		f.store = openStore(t, f.path)
		st = f.store
	}
	f.pipe = f.open(st, rules, cfg)
	return f
}

func openStore(t testing.TB, path string) *sqlite.Store {
	s, err := sqlite.Open(context.Background(), sqlite.Config{Path: path}, sqlite.Deps{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (f *fixture) open(st Store, rules RuleSet, cfg Config) *Pipeline {
	p, err := New(cfg, Deps{
		Store: st, Rules: rules, Render: plainRenderer{}, Endpoints: endpointList{{ID: "e1", Name: "one"}, {ID: "e2", Name: "two"}},
		Deliveries: func(ds []store.Delivery, ev *sdk.Event) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if ds[0].Endpoint == "e1" {
				f.queued[ev.Chat] = append(f.queued[ev.Chat], ev.Seq)
			}
		},
		Sends: func(string) { f.mu.Lock(); f.wakened++; f.mu.Unlock() },
	})
	require.NoError(f.t, err)
	require.NoError(f.t, p.Own(context.Background(), "a", 1))
	p.Start()
	f.t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

func text(chat string, i int) *sdk.Event {
	id := fmt.Sprintf("%s-%d", chat, i)
	return &sdk.Event{
		Type: sdk.TypeMessage, Account: "a", Chat: chat, WAID: id, Time: time.Now(),
		Message: &sdk.Message{ID: id, Chat: chat, From: chat, SenderPN: chat, Time: time.Now(), Kind: sdk.KindText, Text: id},
	}
}

func (f *fixture) waitQueued(n int) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		total := 0
		for _, l := range f.queued {
			total += len(l)
		}
		return total >= n
	}, 20*time.Second, time.Millisecond)
}

func inOrder(t require.TestingT, seqs []uint64) {
	for i, s := range seqs {
		require.EqualValues(t, i+1, s)
	}
}

func TestEventsOfAChatAreRuledAndQueuedInOrderWhileChatsRunSideBySide(t *testing.T) {
	rule := newEcho("echo")
	f := newFixture(t, nil, ruleList{rule}, Config{})
	const chats, each = 8, 150 // more than the lane window, so that lanes spill
	var wg sync.WaitGroup
	for c := range chats {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				ev := text(fmt.Sprintf("%d@s.whatsapp.net", c), i)
				if err := f.pipe.Append(context.Background(), ev); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	f.waitQueued(chats * each)
	for _, seqs := range f.queued {
		inOrder(t, seqs)
	}
	rule.mu.Lock()
	defer rule.mu.Unlock()
	for _, seqs := range rule.seen {
		inOrder(t, seqs)
	}
}

func TestTheSameMessageTwiceIsOneEventAndOneAnswer(t *testing.T) {
	rule := newEcho("echo")
	f := newFixture(t, nil, ruleList{rule}, Config{})
	ctx := context.Background()
	require.NoError(t, f.pipe.Append(ctx, text("1@s.whatsapp.net", 0)))
	require.NoError(t, f.pipe.Append(ctx, text("1@s.whatsapp.net", 0)))
	// The same message again, now under the sender's other name.
	again := text("1@s.whatsapp.net", 0)
	again.Chat, again.ChatAlt = "9@lid", "1@s.whatsapp.net"
	again.Message.SenderPN, again.Message.SenderLID = "1@s.whatsapp.net", "9@lid"
	require.NoError(t, f.pipe.Append(ctx, again))
	require.NoError(t, f.pipe.Append(ctx, text("1@s.whatsapp.net", 1)))
	f.waitQueued(2)
	sends, err := f.store.ListSends(ctx, store.SendQuery{Account: "a", State: store.SendQueued, Limit: 10})
	require.NoError(t, err)
	require.Len(t, sends, 2)
	require.Equal(t, ReplyWAID("a", sends[0].EventID, "echo", 0), sends[0].WAID)
	require.Regexp(t, "^3EB0[0-9A-F]{18}$", sends[0].WAID)
	for id, n := range rule.runs {
		require.Equal(t, 1, n, id)
	}
}

func TestWhatACrashLeftUnfinishedIsTakenUpInOrder(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "w.db")
	st := openStore(t, path)
	// A predecessor that stored and never settled: no workers were started.
	f := &fixture{t: t, store: st, queued: map[string][]uint64{}}
	dead, err := New(Config{}, Deps{Store: st, Rules: ruleList{}, Render: plainRenderer{}, Endpoints: endpointList{}})
	require.NoError(t, err)
	require.NoError(t, dead.Own(ctx, "a", 1))
	for i := range 200 {
		require.NoError(t, dead.Append(ctx, text(fmt.Sprintf("%d@s.whatsapp.net", i%3), i)))
	}
	require.NoError(t, dead.Stop(ctx))
	rule := newEcho("echo")
	f.open(st, ruleList{rule}, Config{})
	f.waitQueued(200)
	for _, seqs := range f.queued {
		inOrder(t, seqs)
	}
}

func TestAStoredVerdictIsNeverComputedAgain(t *testing.T) {
	ctx := context.Background()
	st := openStore(t, filepath.Join(t.TempDir(), "w.db"))
	f := &fixture{t: t, store: st, queued: map[string][]uint64{}}
	rule := newEcho("echo")
	p := f.open(st, ruleList{rule}, Config{})
	require.NoError(t, p.Append(ctx, text("1@s.whatsapp.net", 0)))
	f.waitQueued(1)
	evs, err := st.ListEvents(ctx, "a", "", 10)
	require.NoError(t, err)
	// Settle once more, as a process that woke up late would.
	require.NoError(t, p.settle(ctx, evs[0]))
	unruled := evs[0]
	unruled.Verdict = nil
	err = p.settle(ctx, unruled)
	require.NoError(t, err)
	sends, err := st.SendsOfEvent(ctx, evs[0].Event.ID)
	require.NoError(t, err)
	require.Len(t, sends, 1)
}

// flaky fails some calls, after doing them or before.
type flaky struct {
	*sqlite.Store
	mu   sync.Mutex
	next func(op string) (before, after bool)
}

var errOutage = errors.New("outage")

func (s *flaky) fault(op string) (bool, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next(op)
}

func (s *flaky) AppendEvent(ctx context.Context, a store.Append) (store.Appended, error) {
	before, after := s.fault("append")
	if before {
		return store.Appended{}, errOutage
	}
	got, err := s.Store.AppendEvent(ctx, a)
	if after {
		return store.Appended{}, errOutage
	}
	return got, err
}

func (s *flaky) Settle(ctx context.Context, st *store.Settlement) error {
	before, after := s.fault("settle")
	if before {
		return errOutage
	}
	err := s.Store.Settle(ctx, st)
	if after {
		return errOutage
	}
	return err
}

func (s *flaky) UnfinishedEvents(ctx context.Context, c store.ChatRef, after uint64, limit int) ([]store.StoredEvent, error) {
	if before, _ := s.fault("unfinished"); before {
		return nil, errOutage
	}
	return s.Store.UnfinishedEvents(ctx, c, after, limit)
}

func TestOutagesLoseRepeatAndReorderNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		faults := rapid.SliceOfN(rapid.IntRange(0, 9), 40, 40).Draw(rt, "faults")
		path := filepath.Join(t.TempDir(), fmt.Sprintf("w%d.db", time.Now().UnixNano()))
		inner, err := sqlite.Open(ctx, sqlite.Config{Path: path}, sqlite.Deps{})
		require.NoError(rt, err)
		i := 0
		st := &flaky{Store: inner, next: func(string) (bool, bool) {
			if i++; i > len(faults) {
				return false, false
			}
			return faults[i-1] == 0, faults[i-1] == 1
		}}
		f := &fixture{t: t, queued: map[string][]uint64{}}
		rule := newEcho("echo")
		p, err := New(Config{}, Deps{
			Store: st, Rules: ruleList{rule}, Render: plainRenderer{}, Endpoints: endpointList{{ID: "e1", Name: "one"}},
			Deliveries: func(ds []store.Delivery, ev *sdk.Event) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.queued[ev.Chat] = append(f.queued[ev.Chat], ev.Seq)
			},
			Rand: func() float64 { return 0 },
		})
		require.NoError(rt, err)
		require.NoError(rt, p.Own(ctx, "a", 1))
		p.Start()
		const n = 20
		for i := range n {
			// WhatsApp redelivers until it is acknowledged.
			for p.Append(ctx, text(fmt.Sprintf("%d@s.whatsapp.net", i%2), i)) != nil {
			}
		}
		require.Eventually(t, func() bool {
			refs, err := inner.UnfinishedChats(ctx, store.ChatRef{}, 10)
			return err == nil && len(refs) == 0
		}, 20*time.Second, time.Millisecond)
		require.NoError(rt, p.Stop(ctx))
		sends, err := inner.ListSends(ctx, store.SendQuery{Account: "a", State: store.SendQueued, Limit: 100})
		require.NoError(rt, err)
		require.Len(rt, sends, n)
		ds, err := inner.ListDeliveries(ctx, store.DeliveryQuery{Endpoint: "e1", Limit: 100})
		require.NoError(rt, err)
		require.Len(rt, ds, n)
		for chat, seqs := range f.queued {
			for j := 1; j < len(seqs); j++ {
				require.LessOrEqual(rt, seqs[j-1], seqs[j], chat)
			}
		}
		require.NoError(rt, inner.Close())
	})
}

func TestAFailingOrPanickingRuleContributesNothingAndTheOthersGoOn(t *testing.T) {
	broken := newEcho("broken")
	broken.fail = func(*sdk.Event) error { return errors.New("boom") }
	panics := newEcho("panics")
	panics.fail = func(*sdk.Event) error { panic("boom") }
	unsendable := newEcho("unsendable")
	unsendable.want = func(*sdk.Event) Verdict {
		return Verdict{Tags: []string{"no"}, Actions: []Action{{Kind: ActionReply, Text: "x"}, {Kind: ActionSend, To: ""}}}
	}
	good := newEcho("good")
	f := newFixture(t, nil, ruleList{broken, panics, unsendable, good}, Config{})
	require.NoError(t, f.pipe.Append(context.Background(), text("1@s.whatsapp.net", 0)))
	f.waitQueued(1)
	sends, err := f.store.ListSends(context.Background(), store.SendQuery{Account: "a", State: store.SendQueued, Limit: 10})
	require.NoError(t, err)
	require.Len(t, sends, 1)
	require.Equal(t, "good", sends[0].Rule)
}

func TestWhatADisabledRuleSkippedIsToldInTheVerdict(t *testing.T) {
	off := newEcho("off")
	off.fail = func(*sdk.Event) error { return fmt.Errorf("x: %w", &DisabledError{Reason: "it failed"}) }
	f := newFixture(t, nil, ruleList{off, newEcho("good")}, Config{})
	ev := text("1@s.whatsapp.net", 0)
	require.NoError(t, f.pipe.Append(context.Background(), ev))
	f.waitQueued(1)
	se, err := f.store.Event(context.Background(), ev.ID)
	require.NoError(t, err)
	pl, err := decodePlan(se.Verdict)
	require.NoError(t, err)
	require.Equal(t, []ruleRun{{Rule: "off", Result: "disabled", Note: "it failed"}, {Rule: "good", Result: "ok"}}, pl.Rules)
	require.Len(t, pl.Sends, 1)
}

func TestDropRouteAgeAndRateDecideWhatFollows(t *testing.T) {
	route := newEcho("route")
	route.want = func(ev *sdk.Event) Verdict {
		switch ev.Message.Text {
		case "1@s.whatsapp.net-0":
			return Verdict{Routes: []string{"two"}, Tags: []string{"t"}}
		case "1@s.whatsapp.net-1":
			return Verdict{Drop: true}
		default:
			return Verdict{Actions: []Action{{Kind: ActionReply, Text: "r"}}}
		}
	}
	after := newEcho("after")
	after.want = func(*sdk.Event) Verdict { return Verdict{} }
	f := newFixture(t, nil, limited{ruleList{route, after}, ReplyLimits{MaxAge: time.Hour, PerMinute: 2}}, Config{})
	ctx := context.Background()
	for i := range 6 {
		ev := text("1@s.whatsapp.net", i)
		if i == 2 {
			ev.Time = time.Now().Add(-2 * time.Hour)
		}
		require.NoError(t, f.pipe.Append(ctx, ev))
	}
	f.waitQueued(4) // not the routed one, which goes to "two" only, and not the dropped one
	evs, err := f.store.ListEvents(ctx, "a", "", 10)
	require.NoError(t, err)
	ds, err := f.store.ListDeliveries(ctx, store.DeliveryQuery{EventID: evs[0].Event.ID, Limit: 10})
	require.NoError(t, err)
	require.Len(t, ds, 1)
	require.Equal(t, "e2", ds[0].Endpoint)
	ev, err := f.pipe.Event(ctx, evs[0].Event.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"t"}, ev.Event.Tags)
	require.Zero(t, after.runs[evs[1].Event.ID], "a later rule ran after drop")
	sends, err := f.store.ListSends(ctx, store.SendQuery{Account: "a", State: store.SendQueued, Limit: 10})
	require.NoError(t, err)
	require.Len(t, sends, 2, "one was too old, one over the rate")
}

func TestNothingIsWrittenForAnAccountThatIsNotOwned(t *testing.T) {
	f := newFixture(t, nil, ruleList{}, Config{})
	require.NoError(t, f.pipe.Disown(t.Context(), "a"))
	require.ErrorIs(t, f.pipe.Append(context.Background(), text("1@s.whatsapp.net", 0)), ErrNotOwned)
}

func TestIdsAreLengthPrefixedHashes(t *testing.T) {
	require.NotEqual(t, EventID("ab", "c", "", "", ""), EventID("a", "bc", "", "", ""))
	require.Len(t, EventID("a", "b", "c", "d", "e"), 32)
	require.NotEqual(t, ReplyID("e", "r", 1), ReplyID("e", "r", 2))
}

func TestNothingIsWrittenForAnAccountWhoseLeaseHasRunOut(t *testing.T) {
	st := openStore(t, filepath.Join(t.TempDir(), "w.db"))
	var leased atomic.Bool
	leased.Store(true)
	p, err := New(Config{}, Deps{
		Store: st, Rules: ruleList{}, Render: plainRenderer{}, Endpoints: endpointList{},
		Leased: func(account string, epoch uint64) bool { return account == "a" && epoch == 7 && leased.Load() },
	})
	require.NoError(t, err)
	require.NoError(t, p.Own(t.Context(), "a", 7))
	require.NoError(t, p.Append(t.Context(), text("1@s.whatsapp.net", 0)))
	leased.Store(false) // and nobody has told the pipeline
	require.ErrorIs(t, p.Append(t.Context(), text("1@s.whatsapp.net", 1)), ErrNotOwned)
	p.Start() // the lane of what was stored before is not settled either
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	require.Eventually(t, func() bool { return p.lanes.count() == 0 }, 20*time.Second, time.Millisecond)
	all, err := st.ListEvents(t.Context(), "a", "", 10)
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, store.StageStored, all[0].Stage)
}

// slowStore holds up what is written until it is told to go on.
type slowStore struct {
	Store
	begun, goOn chan struct{}
}

func (s *slowStore) Settle(ctx context.Context, st *store.Settlement) error {
	s.begun <- struct{}{}
	<-s.goOn
	return s.Store.Settle(ctx, st)
}

func TestAnAccountIsLetGoWhenNothingOfItIsBeingWritten(t *testing.T) {
	st := &slowStore{Store: openStore(t, filepath.Join(t.TempDir(), "w.db")), begun: make(chan struct{}), goOn: make(chan struct{})}
	p, err := New(Config{}, Deps{Store: st, Rules: ruleList{}, Render: plainRenderer{}, Endpoints: endpointList{}})
	require.NoError(t, err)
	require.NoError(t, p.Own(t.Context(), "a", 1))
	p.Start()
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	require.NoError(t, p.Append(t.Context(), text("1@s.whatsapp.net", 0)))
	<-st.begun
	gone := make(chan error, 1)
	go func() { gone <- p.Disown(t.Context(), "a") }()
	require.Eventually(t, func() bool { return p.owns("a") != nil }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, p.Append(t.Context(), text("1@s.whatsapp.net", 1)), ErrNotOwned)
	require.Never(t, func() bool { return len(gone) > 0 }, 20*time.Millisecond, time.Millisecond, "a verdict is being written")
	close(st.goOn)
	require.NoError(t, <-gone)
	evs, err := st.UnfinishedChats(t.Context(), store.ChatRef{}, 10)
	require.NoError(t, err)
	require.Empty(t, evs, "a successor finds it settled")

	// It does not wait for ever.
	require.NoError(t, p.Own(t.Context(), "a", 2))
	st.goOn = make(chan struct{})
	require.NoError(t, p.Append(t.Context(), text("1@s.whatsapp.net", 2)))
	<-st.begun
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, p.Disown(ctx, "a"), context.DeadlineExceeded)
	close(st.goOn)
}
