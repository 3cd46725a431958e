package pipeline

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/sdk"
)

// outage fails the first calls of two methods.
type outage struct {
	*sqlite.Store
	settles, aliases atomic.Int32
}

func (o *outage) Settle(ctx context.Context, s *store.Settlement) error {
	if o.settles.Add(-1) >= 0 {
		return errOutage
	}
	return o.Store.Settle(ctx, s)
}

func (o *outage) ResolveAlias(ctx context.Context, account string, forms ...string) (store.Alias, error) {
	if forms[0] == "boss@s.whatsapp.net" && o.aliases.Add(-1) >= 0 {
		return store.Alias{}, errOutage
	}
	return o.Store.ResolveAlias(ctx, account, forms...)
}

func (f *fixture) untilDone(st store.Events, id string) store.StoredEvent {
	f.t.Helper()
	var se store.StoredEvent
	require.Eventually(f.t, func() bool {
		var err error
		se, err = st.Event(context.Background(), id)
		return err == nil && se.Stage == store.StageDone
	}, 20*time.Second, time.Millisecond)
	return se
}

func TestTryingAgainToStoreAVerdictTakesNoMoreOfTheReplyAllowance(t *testing.T) {
	o := &outage{Store: openStore(t, t.TempDir()+"/w.db")}
	o.settles.Store(4)
	rule := newEcho("echo")
	f := newFixture(t, o, limited{ruleList{rule}, ReplyLimits{PerMinute: 1}}, Config{})
	ev := text("1@s.whatsapp.net", 0)
	require.NoError(t, f.pipe.Append(context.Background(), ev))
	f.untilDone(o, ev.ID)
	sends, err := o.SendsOfEvent(context.Background(), ev.ID)
	require.NoError(t, err)
	require.Len(t, sends, 1)
	require.Equal(t, 1, rule.runs[ev.ID], "the rules ran again although there was a verdict")
}

func TestAnOutageIsNotTheFaultOfTheRuleThatMetIt(t *testing.T) {
	o := &outage{Store: openStore(t, t.TempDir()+"/w.db")}
	o.aliases.Store(2)
	rule := newEcho("echo")
	rule.want = func(*sdk.Event) Verdict {
		return Verdict{Actions: []Action{{Kind: ActionReply, Text: "ok"}, {Kind: ActionSend, To: "boss@s.whatsapp.net", Text: "look"}}}
	}
	f := newFixture(t, o, ruleList{rule}, Config{})
	ev := text("1@s.whatsapp.net", 0)
	require.NoError(t, f.pipe.Append(context.Background(), ev))
	f.untilDone(o, ev.ID)
	sends, err := o.SendsOfEvent(context.Background(), ev.ID)
	require.NoError(t, err)
	require.Len(t, sends, 2)
}

func TestARouteThatLeadsNowhereStaysInTheVerdict(t *testing.T) {
	right, wrong := newEcho("right"), newEcho("wrong")
	right.want = func(*sdk.Event) Verdict { return Verdict{Routes: []string{"one", "e2"}} }
	wrong.want = func(*sdk.Event) Verdict { return Verdict{Routes: []string{"warehous", "two", "shp"}} }
	f := newFixture(t, nil, ruleList{right, wrong}, Config{})
	for i := range 2 {
		ev := text("1@s.whatsapp.net", i)
		require.NoError(t, f.pipe.Append(context.Background(), ev))
		verdict := string(f.untilDone(f.store, ev.ID).Verdict)
		require.Contains(t, verdict, `"rules":[{"rule":"right","result":"ok"},{"rule":"wrong","result":"ok","unrouted":["warehous","shp"]}]`, "whose mistake it is")
		require.Contains(t, verdict, `"unrouted":["shp","warehous"]`)
	}
	require.Equal(t, map[string]float64{"wrong": 2}, unrouted(t, f), "events, not routes")
}

// unrouted is wildcat_rule_unrouted_total by rule.
func unrouted(t *testing.T, f *fixture) map[string]float64 {
	t.Helper()
	families, err := f.pipe.metrics.registerer.(*prometheus.Registry).Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "wildcat_rule_unrouted_total" {
				out[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

func TestAReceiptUnderThePersonsOtherNameIsTheSameReceipt(t *testing.T) {
	f := newFixture(t, nil, ruleList{}, Config{})
	receipt := func(chat, alt string) *sdk.Event {
		return &sdk.Event{
			Type: sdk.TypeReceipt, Account: "a", Chat: chat, ChatAlt: alt, WAID: "X", Time: time.Unix(1, 0),
			Receipt: &sdk.Receipt{Kind: "read", MessageIDs: []string{"X"}, From: chat},
		}
	}
	require.NoError(t, f.pipe.Append(context.Background(), receipt("5@lid", "")))
	require.NoError(t, f.pipe.Append(context.Background(), receipt("5@s.whatsapp.net", "5@lid")))
	evs, err := f.store.ListEvents(context.Background(), "a", "", 10)
	require.NoError(t, err)
	require.Len(t, evs, 1)
}

// lostAnswer stores a settlement, and has the outbox make its deliveries, before it fails.
type lostAnswer struct {
	*sqlite.Store
	left atomic.Int32
}

func (l *lostAnswer) Settle(ctx context.Context, s *store.Settlement) error {
	if err := l.Store.Settle(ctx, s); err != nil || l.left.Add(-1) < 0 {
		return err
	}
	var done []store.DeliveryFinish
	for _, d := range s.Deliveries {
		done = append(done, store.DeliveryFinish{ID: d.ID, State: store.DeliveryOK})
	}
	if missed, err := l.FinishDeliveries(ctx, done); err != nil || len(missed) > 0 {
		return err
	}
	return errOutage
}

func TestWhatWasDeliveredWhileASettlementFailedIsNotDeliveredAgain(t *testing.T) {
	o := &lostAnswer{Store: openStore(t, t.TempDir()+"/w.db")}
	o.left.Store(1)
	f := newFixture(t, o, ruleList{}, Config{})
	ev := text("1@s.whatsapp.net", 0)
	require.NoError(t, f.pipe.Append(context.Background(), ev))
	next := text("1@s.whatsapp.net", 1)
	require.NoError(t, f.pipe.Append(context.Background(), next))
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.queued["1@s.whatsapp.net"]) > 0
	}, 20*time.Second, time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Equal(t, []uint64{2}, f.queued["1@s.whatsapp.net"], "the first event's deliveries are made")
}
