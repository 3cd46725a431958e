package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

var errDown = errors.New("database at mongodb://u:hunter2@db is down")

var noon = time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)

// world is everything behind the API, in memory.
type world struct {
	mu         sync.Mutex
	down       bool
	accounts   map[string]store.Account
	live       map[string]string
	connectErr error

	sent    []send.Request
	sendErr error
	block   bool
	panics  bool

	messages   []store.Message
	query      store.MessageQuery
	sends      []store.Send
	sendQ      store.SendQuery
	files      map[string]string
	blobQ      store.BlobQuery
	hooks      []store.Webhook
	hookErr    error
	deliveries []store.Delivery
	deliveryQ  store.DeliveryQuery
	replayErr  error
	enabled    []string // connectors
	disabled   []string
	connErr    error
	trace      map[string]Trace
	checks     []Check
	readied    int

	rules        []RuleStatus
	rulesFailure *RulesFailure
	rulesErr     error
	rolledBack   []string
	later        time.Duration // than noon
}

func (w *world) now() time.Time { return noon.Add(w.later) }

func newWorld() *world {
	w := &world{accounts: map[string]store.Account{}, live: map[string]string{}, trace: map[string]Trace{}}
	w.accounts["shop"] = store.Account{ID: "shop", Name: "The shop", Collection: "auth_shop", State: "connected", JID: "1:2@s.whatsapp.net", CreatedAt: noon, UpdatedAt: noon}
	w.live["shop"] = ""
	w.accounts["new"] = store.Account{ID: "new", Name: "new", Collection: "auth_new", State: "pairing", CreatedAt: noon, UpdatedAt: noon}
	w.live["new"] = "2@abc,def"
	w.accounts["old"] = store.Account{ID: "old", Name: "old", Collection: "auth_old", State: "logged_out", Reason: "device_removed", CreatedAt: noon, UpdatedAt: noon}
	w.accounts["banned"] = store.Account{ID: "banned", Name: "banned", Collection: "auth_banned", State: "banned", Reason: "temporary_ban", CreatedAt: noon, UpdatedAt: noon}
	return w
}

func (w *world) enter() error {
	if w.panics {
		panic("boom with a secret")
	}
	if w.down {
		return errDown
	}
	return nil
}

func (w *world) Create(_ context.Context, a store.Account) (store.Account, error) {
	if _, taken := w.accounts[a.ID]; taken {
		return a, fmt.Errorf("create account: %w", store.ErrExists)
	}
	a.State = "created"
	w.accounts[a.ID] = a
	return a, w.enter()
}

func (w *world) Get(_ context.Context, id string) (store.Account, error) {
	a, found := w.accounts[id]
	if !found {
		return a, fmt.Errorf("get: %w", store.ErrNotFound)
	}
	return a, w.enter()
}

func (w *world) List(context.Context) ([]store.Account, error) {
	var list []store.Account
	for _, a := range w.accounts {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b store.Account) int { return strings.Compare(a.ID, b.ID) })
	return list, w.enter()
}

func (w *world) Delete(ctx context.Context, id string) error {
	_, err := w.Get(ctx, id)
	delete(w.accounts, id)
	return err
}

func (w *world) Connect(ctx context.Context, id string) error {
	a, err := w.Get(ctx, id)
	if err != nil || w.connectErr != nil {
		return errors.Join(err, w.connectErr)
	}
	a.State = "connecting"
	w.accounts[id] = a
	return nil
}

func (w *world) Disconnect(ctx context.Context, id string) error {
	_, err := w.Get(ctx, id)
	return errors.Join(err, w.connectErr)
}

func (w *world) Logout(ctx context.Context, id string) error { _, err := w.Get(ctx, id); return err }

func (w *world) Live(id string) (string, bool) { qr, held := w.live[id]; return qr, held }

func (w *world) Send(ctx context.Context, r send.Request) (send.Result, error) {
	w.mu.Lock()
	w.sent = append(w.sent, r)
	w.mu.Unlock()
	if w.block {
		<-ctx.Done()
		if r.Key == "" {
			return send.Result{}, send.ErrWithdrawn
		}
		return send.Result{MessageID: "3EB0AA"}, send.ErrPending
	}
	return send.Result{MessageID: "3EB0AA", At: noon}, w.sendErr
}

func (w *world) Ask(_ context.Context, r send.Request) (send.Result, error) {
	for _, old := range w.sent {
		if old.Key == r.Key {
			return send.Result{MessageID: "3EB0AA", At: noon}, w.sendErr
		}
	}
	return send.Result{}, store.ErrNotFound
}

func (w *world) ListSends(_ context.Context, q store.SendQuery) ([]store.Send, error) {
	w.sendQ = q
	return w.sends[:min(len(w.sends), q.Limit)], w.enter()
}

func (w *world) Message(_ context.Context, account, id string) (store.Message, error) {
	for _, m := range w.messages {
		if m.Account == account && m.Message.ID == id {
			return m, w.enter()
		}
	}
	return store.Message{}, errors.Join(w.enter(), fmt.Errorf("message: %w", store.ErrNotFound))
}

func (w *world) ListMessages(_ context.Context, q store.MessageQuery) ([]store.Message, int, error) {
	w.query = q
	end := min(len(w.messages), q.Offset+q.Limit)
	return w.messages[min(q.Offset, end):end], len(w.messages), w.enter()
}

func (w *world) OpenBlob(_ context.Context, id string) (io.ReadSeekCloser, store.BlobInfo, error) {
	content, found := w.files[id]
	if !found {
		return nil, store.BlobInfo{}, errors.Join(w.enter(), fmt.Errorf("blob: %w", store.ErrNotFound))
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{strings.NewReader(content), io.NopCloser(nil)}, w.file(id), w.enter()
}

func (w *world) file(id string) store.BlobInfo {
	return store.BlobInfo{
		ID: id, Account: "shop", Name: "shop_" + id + "_1.jpg", MIME: "image/jpeg", Size: int64(len(w.files[id])), SHA256: "ab12", CreatedAt: noon,
		Meta: map[string]string{"messageId": "M1", "chatId": "9@s.whatsapp.net", "width": "640", "ptt": "false"},
	}
}

func (w *world) ListBlobs(_ context.Context, q store.BlobQuery) ([]store.BlobInfo, error) {
	w.blobQ = q
	var list []store.BlobInfo
	for id := range w.files {
		list = append(list, w.file(id))
	}
	return list, w.enter()
}

func (w *world) ListChats(_ context.Context, account string) ([]store.ChatSummary, error) {
	var list []store.ChatSummary
	for _, m := range w.messages {
		if m.Account == account {
			list = append(list, store.ChatSummary{Chat: m.Chat, Messages: 7, Last: m})
		}
	}
	return list, w.enter()
}

func (w *world) AddWebhook(_ context.Context, hook store.Webhook) (store.Webhook, bool, error) {
	if w.hookErr != nil {
		return hook, false, w.hookErr
	}
	for _, h := range w.hooks {
		if h.URL == hook.URL && h.Account == hook.Account {
			return h, false, nil
		}
	}
	w.hooks = append(w.hooks, hook)
	return hook, true, w.enter()
}

func (w *world) ListWebhooks(context.Context) ([]store.Webhook, error) { return w.hooks, w.enter() }

func (w *world) DeleteWebhook(_ context.Context, id string) error {
	for i, h := range w.hooks {
		if h.ID == id {
			w.hooks = slices.Delete(w.hooks, i, i+1)
			return nil
		}
	}
	return fmt.Errorf("delete webhook: %w", store.ErrNotFound)
}

func (w *world) ListDeliveries(_ context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	w.deliveryQ = q
	return w.deliveries[:min(len(w.deliveries), q.Limit)], w.enter()
}

func (w *world) Delivery(_ context.Context, id string) (store.Delivery, error) {
	for _, d := range w.deliveries {
		if d.ID == id {
			return d, w.enter()
		}
	}
	return store.Delivery{}, fmt.Errorf("delivery: %w", store.ErrNotFound)
}

func (w *world) Replay(_ context.Context, id string) (store.Delivery, error) {
	return store.Delivery{ID: id, State: store.DeliveryQueued, Generation: 1, Due: noon, CreatedAt: noon, UpdatedAt: noon}, w.replayErr
}

func (w *world) Trace(_ context.Context, account, id string) (Trace, error) {
	t, found := w.trace[account+"/"+id]
	if !found {
		return t, fmt.Errorf("trace: %w", store.ErrNotFound)
	}
	return t, w.enter()
}

func (w *world) ConnectorStatus(context.Context) ([]ConnectorStatus, error) {
	return []ConnectorStatus{{
		ID: "connector:jsonl", Name: "jsonl", Use: "./bin/x", Enabled: true, State: "running", Events: []string{"message"},
		Accounts: []string{}, Deliveries: map[store.DeliveryState]int{store.DeliveryOK: 3},
	}}, w.enter()
}

func (w *world) EnableConnector(_ context.Context, id string) error {
	w.enabled = append(w.enabled, id)
	return w.connErr
}

func (w *world) DisableConnector(_ context.Context, id string) error {
	w.disabled = append(w.disabled, id)
	return w.connErr
}

func (w *world) DiscardWaiting(_ context.Context, id string) (int, error) {
	return len(id), w.connErr
}

var version1 = RuleVersion{Version: "0123456789ab", Number: 7, Since: noon, Hub: "h1", Cause: "reload", Count: 2}

func (w *world) RuleStatus() RulesStatus {
	return RulesStatus{RuleVersion: version1, Rules: w.rules, Failure: w.rulesFailure}
}

func (w *world) RuleVersions(context.Context) ([]RuleVersion, error) {
	return []RuleVersion{version1}, w.enter()
}

func (w *world) ReloadRules(context.Context) (RulesChange, error) {
	return RulesChange{RuleVersion: version1, Before: "ba9876543210", Restart: []string{"webhooks"}}, w.rulesErr
}

func (w *world) RollbackRules(_ context.Context, version string) (RulesChange, error) {
	w.rolledBack = append(w.rolledBack, version)
	return RulesChange{RuleVersion: version1, Before: version1.Version}, w.rulesErr
}

func (w *world) Ready(ctx context.Context) []Check {
	w.readied++
	if ctx.Err() != nil {
		return []Check{{Name: "store", Error: ctx.Err().Error()}}
	}
	return w.checks
}

// shelf is a database's map, in memory.
type shelf struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *shelf) GetKV(_ context.Context, namespace, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[namespace+"\n"+key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return v, nil
}

func (s *shelf) SetKV(_ context.Context, namespace, key string, value []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[namespace+"\n"+key] = value
	return nil
}

func (s *shelf) SwapKV(_ context.Context, namespace, key string, old, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if current, ok := s.values[namespace+"\n"+key]; ok != (old != nil) || !bytes.Equal(current, old) {
		return store.ErrStale
	}
	if s.values[namespace+"\n"+key] = value; value == nil {
		delete(s.values, namespace+"\n"+key)
	}
	return nil
}

// rig is an API over a world.
type rig struct {
	*world
	keys   *keys.Ring
	server *Server
	logs   *bytes.Buffer
	reg    *prometheus.Registry
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	cfg := Config{Server: config.Default().Server, Network: config.NetworkSandbox, Version: "test", SendTimeout: 50 * time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	w, logs, reg := newWorld(), &bytes.Buffer{}, prometheus.NewRegistry()
	ring, err := keys.New(t.Context(), keys.Config{Loopback: config.Loopback(cfg.Server.Host), Disabled: !config.Loopback(cfg.Server.Host)},
		keys.Deps{Store: &shelf{values: map[string][]byte{}}, Now: func() time.Time { return w.now() }})
	require.NoError(t, err)
	s, err := New(cfg, Deps{
		Keys:     ring,
		Accounts: w, Sender: w, Sends: w, Messages: w, Blobs: w, Webhooks: w, Deliveries: w, Tracer: w, Connectors: w, Rules: w, Health: w,
		Gatherer: reg, Registerer: reg, Now: func() time.Time { return w.now() },
		Logger: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Rand:   strings.NewReader(strings.Repeat("deterministic", 100)),
	})
	require.NoError(t, err)
	return &rig{world: w, keys: ring, server: s, logs: logs, reg: reg}
}

// do makes a request: "METHOD /path", a body, and headers as "Name: value".
func (r *rig) do(request, body string, headers ...string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(request, " ")
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, path, reader)
	req.Host = "127.0.0.1:3000"
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	r.server.Handler().ServeHTTP(rec, req)
	return rec
}

// withMedia is the message M1 with a file that is not there.
func withMedia(status string) store.Message {
	m := message("M1")
	m.Message.Media = &sdk.Media{MIME: "image/jpeg", Status: status}
	return m
}

func message(id string) store.Message {
	return store.Message{
		EventID: "ev_" + id, Account: "shop", Chat: "9@s.whatsapp.net", CreatedAt: noon, UpdatedAt: noon,
		Message: &sdk.Message{ID: id, Chat: "9@s.whatsapp.net", From: "9@s.whatsapp.net", Time: noon, Kind: sdk.KindText, Text: "hi <there>"},
	}
}
