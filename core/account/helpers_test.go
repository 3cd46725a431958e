package account_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/store/sqlite"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

// root is shared by all servers of the tests: what whatsmeow trusts is process-wide.
var root = [32]byte{8: 7, 31: 64}

func TestMain(m *testing.M) {
	// All servers of the tests share one key, so that it is installed once, before any client.
	s, err := simulator.New(simulator.Options{Root: &root})
	if err != nil {
		panic(err)
	}
	simulator.Trust(s.RootKey())
	if err := s.Close(); err != nil {
		panic(err)
	}
	code := m.Run()
	if code == 0 {
		// A whatsmeow client that disconnects while a frame waits for its handler keeps
		// the goroutine that read it: its fault, and the only one excused.
		if err := goleak.Find(goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// within bounds one wait of a test.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// hub is accounts with a real store and real keys, and a handler that keeps events.
type hub struct {
	t      *testing.T
	dir    string
	sim    func() *simulator.Server
	store  *sqlite.Store
	keys   *devices.Container
	faults *devices.Faults
	*account.Manager
	network *whatsapp.Network
	cfg     account.Config
	clock   account.Clock
	// records stands in front of the store, as far as accounts are concerned.
	records *failingStore
	doubt   chan struct{}
	// openKeys opens the keys elsewhere than in a file.
	openKeys func(devices.Deps) (*devices.Container, error)
	// onChange is called for each change of state, in the account's goroutine.
	onChange func(id string, c sdk.AccountChange)

	mu      sync.Mutex
	events  []*sdk.Event
	texts   []string // of incoming messages, in the order in which they were stored, each once
	seen    map[string]int
	changes []sdk.AccountChange
	refuse  func(*sdk.Event) error
	senders map[string]whatsapp.Sender
	changed chan struct{}
}

func newSimulator(t *testing.T, dir, addr string) *simulator.Server {
	t.Helper()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: &root, NoWelcome: true, Linger: 50 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, s.Start(addr))
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.Empty(t, s.Violations())
	})
	return s
}

// newHub starts a hub against a simulator of its own.
func newHub(t *testing.T, options ...func(*hub)) *hub {
	t.Helper()
	sim := newSimulator(t, "", "127.0.0.1:0")
	return hubAt(t, t.TempDir(), func() *simulator.Server { return sim }, options...)
}

func hubAt(t *testing.T, dir string, sim func() *simulator.Server, options ...func(*hub)) *hub {
	t.Helper()
	h := &hub{
		t: t, dir: dir, sim: sim, faults: &devices.Faults{}, seen: map[string]int{},
		senders: map[string]whatsapp.Sender{}, changed: make(chan struct{}),
		cfg: account.Config{AutoConnect: true, Reconnect: config.ReconnectConfig{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond}},
	}
	for _, o := range options {
		o(h)
	}
	h.open()
	return h
}

// open starts the hub, again after stop.
func (h *hub) open() {
	t := h.t
	t.Helper()
	var err error
	h.store, err = sqlite.Open(t.Context(), sqlite.Config{Dir: h.dir}, sqlite.Deps{})
	require.NoError(t, err)
	h.records, h.doubt = &failingStore{Store: h.store}, make(chan struct{}, 1)
	if deps := (devices.Deps{Faults: h.faults}); h.openKeys != nil {
		h.keys, err = h.openKeys(deps)
	} else {
		h.keys, err = devices.Open(t.Context(), filepath.Join(h.dir, "devices.db"), deps)
	}
	require.NoError(t, err)
	h.network, err = whatsapp.Sandbox(within(t), h.sim().URL(), nolog())
	require.NoError(t, err)
	h.Manager, err = account.New(h.cfg, account.Deps{
		Store: h.records, Doubt: h.doubt, Devices: h.keys, Outbox: h, Clock: h.clock, Registerer: prometheus.NewRegistry(),
		NewClient: func(d whatsapp.Deps) (whatsapp.Client, error) {
			d.HTTP, d.Sends = h.network.HTTP, h.store
			return whatsapp.New(d)
		},
		Intake: func(string, uint64) whatsapp.Handler { return h.take },
		Changed: func(id string, _ uint64, c sdk.AccountChange) {
			if h.onChange != nil {
				h.onChange(id, c)
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changes = append(h.changes, c)
			h.notify()
		},
	})
	require.NoError(t, err)
	require.NoError(t, h.Start(t.Context()))
	t.Cleanup(h.stop)
}

func (h *hub) stop() {
	if h.Manager == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(h.t, h.Stop(ctx))
	require.NoError(h.t, h.keys.Close())
	require.NoError(h.t, h.store.Close())
	h.network.Close()
	h.Manager = nil
}

// notify wakes the waiters; the lock is held.
func (h *hub) notify() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// take is the handler: a set of events by what identifies them, as the pipeline's is.
func (h *hub) take(_ context.Context, ev *sdk.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		if err := h.refuse(ev); err != nil {
			return err
		}
	}
	key := string(ev.Type) + "/" + ev.Chat + "/" + ev.WAID
	if r := ev.Receipt; r != nil { // everyone who got a message says so, our own phone too
		key += "/" + r.Kind + "/" + r.From
	}
	h.seen[key]++
	if h.seen[key] == 1 {
		h.events = append(h.events, ev)
		if ev.Type == sdk.TypeMessage && !ev.Message.FromMe {
			h.texts = append(h.texts, ev.Message.Text)
		}
	}
	h.notify()
	return nil
}

func (h *hub) setRefuse(f func(*sdk.Event) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = f
}

// Run implements account.Outbox.
func (h *hub) Run(ctx context.Context, id string, _ uint64, s whatsapp.Sender) {
	h.mu.Lock()
	h.senders[id] = s
	h.notify()
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	delete(h.senders, id)
	h.notify()
	h.mu.Unlock()
}

// wait waits until done, which is called with the lock held.
func (h *hub) wait(what string, done func() bool) {
	h.t.Helper()
	ctx := within(h.t)
	tick := time.NewTicker(10 * time.Millisecond) // states change without a word to us
	defer tick.Stop()
	for {
		h.mu.Lock()
		ok, changed := done(), h.changed
		h.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			h.mu.Lock()
			defer h.mu.Unlock()
			require.FailNow(h.t, "waited in vain for "+what, "changes %v, texts %q", h.changes, h.texts)
		}
	}
}

func (h *hub) waitState(id, state, reason string) account.Status {
	h.t.Helper()
	var s account.Status
	h.wait(fmt.Sprintf("state %s (%s)", state, reason), func() bool {
		var err error
		s, err = h.Status(id)
		require.NoError(h.t, err)
		return s.State == state && (reason == "*" || s.Reason == reason)
	})
	return s
}

func (h *hub) waitTexts(want ...string) {
	h.t.Helper()
	h.wait(fmt.Sprintf("texts %q", want), func() bool { return len(h.texts) >= len(want) })
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Equal(h.t, want, slices.Clone(h.texts))
}

// waitSender waits until the account may send.
func (h *hub) waitSender(id string) (s whatsapp.Sender) {
	h.t.Helper()
	h.wait("sender", func() bool {
		s = h.senders[id]
		return s != nil
	})
	return s
}

func (h *hub) phone(number string) *simulator.Phone {
	h.t.Helper()
	p, err := h.sim().AddPhone(number, "Name of "+number)
	require.NoError(h.t, err)
	return p
}

// pair creates an account and scans its code; it returns the account's phone and device.
func (h *hub) pair(id, number string) (*simulator.Phone, *simulator.Device) {
	h.t.Helper()
	p := h.phone(number)
	_, err := h.Create(within(h.t), store.Account{ID: id, Name: "Name of " + id, Collection: "auth_" + id})
	require.NoError(h.t, err)
	return p, h.scan(id, p)
}

func (h *hub) scan(id string, p *simulator.Phone) *simulator.Device {
	h.t.Helper()
	s := h.waitState(id, account.StatePairing, "")
	h.wait("a code", func() bool { s, _ = h.Status(id); return s.QR != "" })
	dev, err := p.LinkQR(within(h.t), s.QR)
	require.NoError(h.t, err)
	h.waitState(id, account.StateConnected, "")
	return dev
}

func (h *hub) say(p *simulator.Phone, to, text string) string {
	h.t.Helper()
	id, err := p.SendText(within(h.t), to, text)
	require.NoError(h.t, err)
	return id
}

var errRefused = errors.New("the store is down")
