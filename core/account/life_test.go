package account_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

func nolog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestPairsByQRReceivesAndSends(t *testing.T) { onKeys(t, pairsByQRReceivesAndSends) }

func pairsByQRReceivesAndSends(t *testing.T, keys func(*hub)) {
	h := newHub(t, keys)
	_, dev := h.pair("a", "15550001")
	friend := h.phone("15550002")

	id := h.say(friend, "15550001", "hello")
	h.waitTexts("hello")
	require.NoError(t, dev.WaitDrained(within(t)))
	h.mu.Lock()
	ev := h.events[len(h.events)-1]
	h.mu.Unlock()
	require.Equal(t, sdk.TypeMessage, ev.Type)
	require.Equal(t, "a", ev.Account)
	require.Equal(t, "15550002@s.whatsapp.net", ev.Chat)
	require.Equal(t, id, ev.WAID)
	require.NotEmpty(t, ev.ChatAlt)
	require.Equal(t, "15550002@s.whatsapp.net", ev.Message.SenderPN)
	require.Equal(t, ev.ChatAlt, ev.Message.SenderLID)
	require.Equal(t, "Name of 15550002", ev.Message.Name)

	s := h.waitSender("a")
	r := whatsapp.Renderer{}
	to, payload, err := r.RenderText("+1 555-0002", "pong", nil, nil)
	require.NoError(t, err)
	waID := r.NewID()
	got, err := s.Send(within(t), whatsapp.Outgoing{ID: waID, To: to, Payload: payload})
	require.NoError(t, err)
	require.False(t, got.At.IsZero())
	m, err := friend.WaitMessage(within(t), func(m simulator.Message) bool { return m.ID == waID })
	require.NoError(t, err)
	require.Equal(t, "pong", m.Text)
	h.wait("a receipt of what was sent", func() bool {
		for _, ev := range h.events {
			if ev.Type == sdk.TypeReceipt && ev.Receipt.MessageIDs[0] == waID && !ev.Receipt.FromMe {
				return ev.Receipt.From == "15550002@s.whatsapp.net"
			}
		}
		return false
	})

	rec, err := h.Get(within(t), "a")
	require.NoError(t, err)
	require.Equal(t, dev.JID().String(), rec.JID)
	require.Equal(t, dev.LID().String(), rec.LID)
	require.True(t, rec.Connect)
	qr, held := h.Live("a")
	require.Empty(t, qr)
	require.True(t, held)
}

// Who sees that an account pairs must see the code, too.
func TestACodeIsThereAsSoonAsTheStateIsPairing(t *testing.T) {
	told := make(chan string, 64)
	h := newHub(t, func(h *hub) {
		h.onChange = func(id string, c sdk.AccountChange) {
			if c.State == account.StatePairing {
				qr, _ := h.Live(id)
				told <- qr
			}
		}
	})
	_, err := h.Create(within(t), store.Account{ID: "a"})
	require.NoError(t, err)
	h.waitState("a", account.StatePairing, "")
	select {
	case qr := <-told:
		require.NotEmpty(t, qr)
	case <-within(t).Done():
		t.Fatal("the change was not told")
	}
}

func TestOfflineMessagesArriveAfterDisconnectAndConnect(t *testing.T) {
	onKeys(t, offlineMessagesArriveAfterDisconnectAndConnect)
}

func offlineMessagesArriveAfterDisconnectAndConnect(t *testing.T, keys func(*hub)) {
	h := newHub(t, keys)
	_, dev := h.pair("a", "15550001")
	friend := h.phone("15550002")
	require.NoError(t, h.Disconnect(within(t), "a"))
	require.NoError(t, h.Disconnect(within(t), "a"))
	h.waitState("a", account.StateDisconnected, account.ReasonOperator)
	require.NoError(t, dev.WaitOffline(within(t)))
	require.False(t, dev.Removed(), "disconnecting must not unlink")

	var want []string
	for _, text := range []string{"one", "two", "three"} {
		h.say(friend, "15550001", text)
		want = append(want, text)
	}
	require.NoError(t, h.Connect(within(t), "a"))
	require.NoError(t, h.Connect(within(t), "a"))
	h.waitTexts(want...)
	require.NoError(t, dev.WaitDrained(within(t)))
}

func TestReconnectsAfterACut(t *testing.T) {
	h := newHub(t)
	_, dev := h.pair("a", "15550001")
	friend := h.phone("15550002")
	logins := dev.Logins()
	dev.Cut()
	h.wait("another login", func() bool { return dev.Logins() > logins })
	h.waitState("a", account.StateConnected, "")
	h.say(friend, "15550001", "still there?")
	h.waitTexts("still there?")
}

func TestAHubRestartRestoresItsAccounts(t *testing.T) { onKeys(t, aHubRestartRestoresItsAccounts) }

func aHubRestartRestoresItsAccounts(t *testing.T, keys func(*hub)) {
	h := newHub(t, keys)
	_, dev := h.pair("a", "15550001")
	friend := h.phone("15550002")
	before, err := h.Status("a")
	require.NoError(t, err)
	h.stop()
	require.NoError(t, dev.WaitOffline(within(t)))
	h.say(friend, "15550001", "while you were out")
	h.open()
	h.waitState("a", account.StateConnected, "")
	h.waitTexts("while you were out")
	after, err := h.Status("a")
	require.NoError(t, err)
	require.Greater(t, after.Epoch, before.Epoch, "a new owner fences the old one")
}

func TestASandboxRestartIsWaitedOut(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	sim := newSimulator(t, dir, "127.0.0.1:0")
	h := hubAt(t, t.TempDir(), func() *simulator.Server { mu.Lock(); defer mu.Unlock(); return sim })
	h.pair("a", "15550001")
	h.phone("15550002")
	addr := sim.Addr()
	require.NoError(t, sim.Close())
	h.waitState("a", account.StateReconnecting, account.ReasonDialFailed)
	next := newSimulator(t, dir, addr)
	mu.Lock()
	sim = next
	mu.Unlock()
	h.waitState("a", account.StateConnected, "")
	h.say(next.Phone("15550002"), "15550001", "good morning")
	h.waitTexts("good morning")
}

func TestAnUnlinkedAccountIsLoggedOutAndPairsAnew(t *testing.T) {
	onKeys(t, anUnlinkedAccountIsLoggedOutAndPairsAnew)
}

func anUnlinkedAccountIsLoggedOutAndPairsAnew(t *testing.T, keys func(*hub)) {
	h := newHub(t, keys)
	p, dev := h.pair("a", "15550001")
	require.NoError(t, dev.Unlink())
	h.waitState("a", account.StateLoggedOut, account.ReasonUnlinked)
	rec, err := h.Get(within(t), "a")
	require.NoError(t, err)
	require.Empty(t, rec.JID)
	require.False(t, rec.Connect)
	left, err := h.keys.List(within(t))
	require.NoError(t, err)
	require.Empty(t, left, "the keys are of no use any more")
	_, held := h.Live("a")
	require.False(t, held)

	require.NoError(t, h.Connect(within(t), "a"))
	h.scan("a", p)
}

func TestLoginFailureAfterUnlinkingWhileAway(t *testing.T) {
	h := newHub(t)
	_, dev := h.pair("a", "15550001")
	require.NoError(t, h.Disconnect(within(t), "a"))
	require.NoError(t, dev.Unlink())
	require.NoError(t, h.Connect(within(t), "a"))
	h.waitState("a", account.StateLoggedOut, account.ReasonUnlinked)
}

func TestAReplacedSessionIsNotFoughtOver(t *testing.T) {
	h := newHub(t)
	_, dev := h.pair("a", "15550001")
	logins := dev.Logins()
	dev.StreamError(409)
	s := h.waitState("a", account.StateReplaced, account.ReasonReplaced)
	require.NotEmpty(t, s.Text)
	require.False(t, s.Held)
	require.Equal(t, logins, dev.Logins())
	require.NoError(t, h.Connect(within(t), "a"))
	h.waitState("a", account.StateConnected, "")
}

func TestStreamErrorsThatPassAreReconnected(t *testing.T) {
	h := newHub(t)
	_, dev := h.pair("a", "15550001")
	for _, code := range []int{515, 503} {
		logins := dev.Logins()
		dev.StreamError(code)
		h.wait("another login", func() bool { return dev.Logins() > logins })
		h.waitState("a", account.StateConnected, "")
	}
}

func TestLogoutUnlinksOnThePhone(t *testing.T) {
	h := newHub(t)
	_, dev := h.pair("a", "15550001")
	require.NoError(t, h.Logout(within(t), "a"))
	require.NoError(t, dev.WaitRemoved(within(t)))
	h.waitState("a", account.StateLoggedOut, account.ReasonOperator)
	left, err := h.keys.List(within(t))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestDeleteRemovesEverything(t *testing.T) { onKeys(t, deleteRemovesEverything) }

func deleteRemovesEverything(t *testing.T, keys func(*hub)) {
	h := newHub(t, keys)
	_, dev := h.pair("a", "15550001")
	require.NoError(t, h.Delete(within(t), "a"))
	require.True(t, dev.Removed())
	_, err := h.Get(within(t), "a")
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = h.Status("a")
	require.ErrorIs(t, err, store.ErrNotFound)
	require.ErrorIs(t, h.Delete(within(t), "a"), store.ErrNotFound)
	left, err := h.keys.List(within(t))
	require.NoError(t, err)
	require.Empty(t, left)
	all, err := h.List(within(t))
	require.NoError(t, err)
	require.Empty(t, all)
	_, err = h.Create(within(t), store.Account{ID: "a"})
	require.NoError(t, err, "the name is free again")
	_, err = h.Create(within(t), store.Account{ID: "a"})
	require.ErrorIs(t, err, store.ErrExists)
}

// fastClock runs the waits of the state machine in no time, and records them.
type fastClock struct {
	mu    sync.Mutex
	waits []time.Duration
	limit time.Duration
}

func (c *fastClock) Now() time.Time { return time.Now() }

func (c *fastClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d >= c.limit {
		return nil // leases, logins: not in this test
	}
	c.waits = append(c.waits, d)
	return time.After(time.Millisecond)
}

func (c *fastClock) seen() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Duration(nil), c.waits...)
}

func TestWithNoNetworkTheStateSaysSoAndBacksOff(t *testing.T) {
	clock := &fastClock{limit: 9 * time.Second}
	h := newHub(t, func(h *hub) {
		h.clock = clock
		h.cfg.Reconnect.Min, h.cfg.Reconnect.Max = time.Second, 8*time.Second
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := ln.Addr().String()
	require.NoError(t, ln.Close())
	transport := whatsapp.Live()
	transport.HTTP.Transport = refused(addr)
	h.network = transport

	a, err := h.Create(within(t), store.Account{ID: "a"})
	require.NoError(t, err)
	require.Equal(t, account.StateCreated, a.State)
	s := h.waitState("a", account.StateReconnecting, account.ReasonDialFailed)
	require.True(t, s.Held)
	require.NotEmpty(t, s.Text)
	h.wait("six waits", func() bool { return len(clock.seen()) >= 6 })
	for i, d := range clock.seen()[:6] {
		top := min(time.Second<<i, 8*time.Second)
		require.GreaterOrEqual(t, d, top/2, "wait %d", i)
		require.LessOrEqual(t, d, top, "wait %d", i)
	}
	require.NoError(t, h.Disconnect(within(t), "a"))
	h.waitState("a", account.StateDisconnected, account.ReasonOperator)
	n := len(clock.seen())
	time.Sleep(50 * time.Millisecond)
	require.Len(t, clock.seen(), n, "nothing is tried any more")
}

func TestNobodyScans(t *testing.T) {
	clock := &fastClock{limit: 70 * time.Second}
	h := newHub(t, func(h *hub) { h.clock = clock })
	_, err := h.Create(within(t), store.Account{ID: "a"})
	require.NoError(t, err)
	h.waitState("a", account.StateDisconnected, account.ReasonPairingTimeout)
	rec, err := h.Get(within(t), "a")
	require.NoError(t, err)
	require.False(t, rec.Connect)
	qr, _ := h.Live("a")
	require.Empty(t, qr)
	require.NoError(t, h.Connect(within(t), "a"))
	h.wait("another round", func() bool { s, _ := h.Status("a"); return s.State == account.StatePairing })
}

func TestStopWithoutStartAndTwice(t *testing.T) {
	h := newHub(t)
	require.NoError(t, h.Stop(within(t)))
	require.NoError(t, h.Stop(within(t)))
	_, err := h.Create(within(t), store.Account{ID: "a"})
	require.ErrorIs(t, err, account.ErrStopped)
	require.ErrorIs(t, h.Connect(within(t), "a"), account.ErrStopped)
}

func TestAnotherOwnerIsLeftAlone(t *testing.T) {
	h := newHub(t)
	_, err := h.store.AcquireLease(within(t), "account/a", "somebody else", time.Hour)
	require.NoError(t, err)
	_, err = h.Create(within(t), store.Account{ID: "a"})
	require.NoError(t, err)
	h.waitState("a", account.StateReconnecting, account.ReasonOwnedElsewhere)
}

func TestKeysThatAnotherOwnerUsesAreNotRemoved(t *testing.T) {
	onKeys(t, keysThatAnotherOwnerUsesAreNotRemoved)
}

func keysThatAnotherOwnerUsesAreNotRemoved(t *testing.T, keys func(*hub)) {
	h := newHub(t, keys)
	_, dev := h.pair("a", "15550001")
	require.NoError(t, h.Disconnect(within(t), "a"))
	h.stop()
	open := h.openKeys
	h.openKeys = func(deps devices.Deps) (*devices.Container, error) { // before the accounts start
		if _, err := h.store.AcquireLease(within(t), "account/a", "somebody else", time.Hour); err != nil {
			return nil, err
		}
		if open != nil {
			return open(deps)
		}
		return devices.Open(t.Context(), filepath.Join(h.dir, "devices.db"), deps)
	}
	h.open()
	require.ErrorIs(t, h.Delete(within(t), "a"), store.ErrStale)
	_, err := h.keys.Device(within(t), dev.JID().String(), devices.Owner{})
	require.NoError(t, err)
}

func refused(addr string) *httpTransport { return &httpTransport{addr: addr} }

func dialRefused(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
