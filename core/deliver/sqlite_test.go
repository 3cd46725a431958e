package deliver_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/deliver"
	"github.com/wildcathub/wildcat/core/egress"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/plugins/webhook"
	"github.com/wildcathub/wildcat/sdk"
)

func openStore(t testing.TB, dir string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir}, sqlite.Deps{})
	require.NoError(t, err)
	return s
}

func eventID(chat, n int) string { return fmt.Sprintf("%016x%016x", chat+1, n) }

// appendAndSettle stores the n-th event of a chat with a delivery for each endpoint.
func appendAndSettle(t testing.TB, s store.Events, chat, n int, endpoints ...string) ([]store.Delivery, *sdk.Event) {
	t.Helper()
	ctx := context.Background()
	jid := fmt.Sprintf("49170%07d@s.whatsapp.net", chat)
	ev := &sdk.Event{
		ID: eventID(chat, n), Type: sdk.TypeMessage, Account: "shop", Chat: jid, Time: time.Now(),
		Message: &sdk.Message{ID: fmt.Sprintf("3EB0%d.%d", chat, n), Chat: jid, From: jid, Time: time.Now(), Kind: sdk.KindText, Text: "hello"},
	}
	a, err := s.AppendEvent(ctx, store.Append{Event: ev, Epoch: 1})
	require.NoError(t, err)
	ev.Seq = a.Seq
	st := &store.Settlement{EventID: ev.ID, Account: ev.Account, Chat: ev.Chat, Seq: a.Seq, Epoch: 1, Verdict: []byte("{}")}
	for i, ep := range endpoints {
		st.Deliveries = append(st.Deliveries, store.Delivery{
			ID: fmt.Sprintf("%02x%s", i+1, ev.ID[2:]), EventID: ev.ID, Endpoint: ep, Account: ev.Account, Chat: ev.Chat, Seq: a.Seq,
			State: store.DeliveryQueued, Due: time.Now(), CreatedAt: time.Now(),
		})
	}
	require.NoError(t, s.Settle(ctx, st))
	return st.Deliveries, ev
}

func outbox(t testing.TB, s *sqlite.Store, cfg deliver.Config, eps ...deliver.Endpoint) *deliver.Outbox {
	t.Helper()
	o, err := deliver.New(cfg, deliver.Deps{Store: s, Events: s, Epoch: 1})
	require.NoError(t, err)
	for _, ep := range eps {
		o.AddEndpoint(ep)
	}
	require.NoError(t, o.Start(context.Background()))
	return o
}

// received is one line of the receiver's log.
type received struct {
	ID      string `json:"id"`
	Chat    string `json:"chat"`
	Seq     uint64 `json:"seq"`
	Prev    uint64 `json:"prev"`
	Ordered bool   `json:"ordered"`
	Status  int    `json:"status"`
}

// receiver verifies what it gets and writes it to a synced file before it answers.
type receiver struct {
	t        testing.TB
	verifier *standardwebhooks.Webhook
	answer   atomic.Pointer[func(received) int]
	mu       sync.Mutex
	file     *os.File
	badSig   atomic.Int32
}

func newReceiver(t testing.TB, secret string) (*receiver, *httptest.Server) {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	f, err := os.Create(filepath.Join(t.TempDir(), "received.jsonl"))
	require.NoError(t, err)
	r := &receiver{t: t, verifier: v, file: f}
	srv := httptest.NewServer(r)
	t.Cleanup(func() { srv.Close(); _ = f.Close() })
	return r, srv
}

func (r *receiver) answers(f func(received) int) { r.answer.Store(&f) }

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	if r.verifier.Verify(body, req.Header) != nil {
		r.badSig.Add(1)
	}
	var m struct {
		EventID string `json:"eventId"`
		ChatID  string `json:"chatId"`
		Seq     uint64 `json:"seq"`
		Prev    uint64 `json:"prev"`
		Ordered bool   `json:"ordered"`
	}
	_ = json.Unmarshal(body, &m)
	got := received{ID: m.EventID, Chat: m.ChatID, Seq: m.Seq, Prev: m.Prev, Ordered: m.Ordered, Status: 200}
	if f := r.answer.Load(); f != nil {
		got.Status = (*f)(got)
	}
	line, _ := json.Marshal(got)
	r.mu.Lock()
	_, _ = r.file.Write(append(line, '\n'))
	_ = r.file.Sync()
	r.mu.Unlock()
	w.WriteHeader(got.Status)
}

func (r *receiver) log() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, err := os.ReadFile(r.file.Name())
	require.NoError(r.t, err)
	var out []received
	sc := bufio.NewScanner(bytes.NewReader(data))
	for sc.Scan() {
		var x received
		require.NoError(r.t, json.Unmarshal(sc.Bytes(), &x))
		out = append(out, x)
	}
	return out
}

// check holds the log to: every event arrived (I1), first successes of what is
// marked ordered follow seq and prev names their predecessor (I2), signatures verify (I4).
func (r *receiver) check(events int) (duplicates int) {
	r.t.Helper()
	require.Zero(r.t, r.badSig.Load())
	last, seen := map[string]uint64{}, map[string]bool{}
	for _, x := range r.log() {
		if x.Status != 200 {
			continue
		}
		if seen[x.ID] {
			duplicates++
			continue
		}
		seen[x.ID] = true
		if x.Ordered {
			require.Equal(r.t, last[x.Chat], x.Prev, "chat %s seq %d", x.Chat, x.Seq)
			require.Greater(r.t, x.Seq, last[x.Chat])
		}
		last[x.Chat] = max(last[x.Chat], x.Seq)
	}
	require.Len(r.t, seen, events)
	return duplicates
}

func newWebhook(t testing.TB, url, secret string) *webhook.Webhook {
	t.Helper()
	g, err := egress.New(egress.Config{AllowLoopback: true})
	require.NoError(t, err)
	client := g.Client(0)
	t.Cleanup(client.CloseIdleConnections)
	w := webhook.New(webhook.Deps{HTTP: client})
	with, err := json.Marshal(map[string]string{"url": url, "secret": secret})
	require.NoError(t, err)
	require.NoError(t, w.Configure(with))
	return w
}

func eventuallyCount(t testing.TB, s *sqlite.Store, endpoint string, state store.DeliveryState, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		by, _, err := s.CountDeliveries(context.Background(), endpoint)
		require.NoError(t, err)
		return by[state] == n
	}, 60*time.Second, 10*time.Millisecond)
}

func TestWebhookEndToEndOverSQLite(t *testing.T) {
	secret, err := webhook.NewSecret(rand.Reader)
	require.NoError(t, err)
	r, srv := newReceiver(t, secret)
	var down atomic.Bool
	down.Store(true)
	r.answers(func(received) int {
		if down.Load() {
			return 503
		}
		return 200
	})
	s := openStore(t, t.TempDir())
	defer func() { require.NoError(t, s.Close()) }()
	cfg := deliver.Config{Retry: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, time.Second, time.Minute, time.Hour}, Probes: []time.Duration{50 * time.Millisecond}}

	o := outbox(t, s, cfg, deliver.Endpoint{ID: "wh_1", Connector: newWebhook(t, srv.URL, secret)})
	const chats, per = 20, 20
	for n := 1; n <= per; n++ {
		for chat := range chats {
			o.Enqueue(appendAndSettle(t, s, chat, n, "wh_1"))
		}
	}
	require.Eventually(t, func() bool {
		st, err := o.Status(t.Context(), "wh_1")
		return err == nil && st.State == "failing"
	}, 20*time.Second, 10*time.Millisecond)
	require.NoError(t, o.Stop(t.Context()))

	// A restart finds everything, and what was persisted about the endpoint.
	o = outbox(t, s, cfg, deliver.Endpoint{ID: "wh_1", Connector: newWebhook(t, srv.URL, secret)})
	down.Store(false)
	eventuallyCount(t, s, "wh_1", store.DeliveryOK, chats*per)
	require.NoError(t, o.Stop(t.Context()))
	require.Zero(t, r.check(chats*per), "nothing twice without a crash")
}

func TestTenThousandWaitingOverSQLite(t *testing.T) {
	if testing.Short() {
		t.Skip("fills a database")
	}
	for name, chats := range map[string]int{"one chat": 1, "500 chats": 500} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			defer func() { require.NoError(t, s.Close()) }()
			const total = 10000
			var wg sync.WaitGroup
			for w := range 25 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := w; i < total; i += 25 {
						appendAndSettle(t, s, i%chats, i, "wh_1")
					}
				}()
			}
			wg.Wait()
			c := &counting{last: map[string]uint64{}}
			start := time.Now()
			o := outbox(t, s, deliver.Config{}, deliver.Endpoint{ID: "wh_1", Connector: c})
			eventuallyCount(t, s, "wh_1", store.DeliveryOK, total)
			t.Logf("%.0f deliveries a second", total/time.Since(start).Seconds())
			require.NoError(t, o.Stop(t.Context()))
			require.EqualValues(t, total, c.n.Load())
			require.Zero(t, c.disorder.Load())
		})
	}
}

// counting is a connector that answers at once and checks order.
type counting struct {
	n, disorder atomic.Int64
	mu          sync.Mutex
	last        map[string]uint64
}

func (c *counting) Info() sdk.Info                        { return sdk.Info{Type: "counting", InFlight: 64} }
func (c *counting) Configure(json.RawMessage) error       { return nil }
func (c *counting) Start(context.Context, sdk.Host) error { return nil }
func (c *counting) Stop(context.Context) error            { return nil }

func (c *counting) Deliver(_ context.Context, d sdk.Delivery) sdk.Result {
	c.mu.Lock()
	if c.last[d.Event.Chat] >= d.Event.Seq {
		c.disorder.Add(1)
	}
	c.last[d.Event.Chat] = d.Event.Seq
	c.mu.Unlock()
	c.n.Add(1)
	return sdk.Result{Status: sdk.OK}
}

func BenchmarkDeliver(b *testing.B) {
	for _, from := range []string{"memory", "store"} {
		b.Run(from, func(b *testing.B) {
			s := openStore(b, b.TempDir())
			defer func() { _ = s.Close() }()
			type settled struct {
				ds []store.Delivery
				ev *sdk.Event
			}
			c := &counting{last: map[string]uint64{}}
			var o *deliver.Outbox
			if from == "memory" {
				// Scanned while the store is empty, so that everything comes by Enqueue.
				o = outbox(b, s, deliver.Config{}, deliver.Endpoint{ID: "wh_1", Connector: c})
				time.Sleep(100 * time.Millisecond)
			}
			all := make([]settled, b.N)
			var wg sync.WaitGroup
			const writers, chats = 25, 500
			for w := range writers {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for i := w; i < b.N; i += writers {
						ds, ev := appendAndSettle(b, s, i%chats, i, "wh_1")
						all[i] = settled{ds, ev}
					}
				}()
			}
			wg.Wait()
			b.ResetTimer()
			if from == "memory" {
				for _, x := range all {
					o.Enqueue(x.ds, x.ev)
				}
			} else {
				o = outbox(b, s, deliver.Config{}, deliver.Endpoint{ID: "wh_1", Connector: c})
			}
			for c.n.Load() < int64(b.N) {
				time.Sleep(time.Millisecond)
			}
			require.NoError(b, o.Stop(context.Background()))
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
			require.Zero(b, c.disorder.Load())
		})
	}
}
