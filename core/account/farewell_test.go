package account_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

// away pairs an account and disconnects it.
func (h *hub) away() *simulator.Device {
	h.t.Helper()
	_, dev := h.pair("a", "15550001")
	require.NoError(h.t, h.Disconnect(within(h.t), "a"))
	require.NoError(h.t, dev.WaitOffline(within(h.t)))
	return dev
}

func (h *hub) requireNoKeys() {
	h.t.Helper()
	left, err := h.keys.List(within(h.t))
	require.NoError(h.t, err)
	require.Empty(h.t, left)
}

// unreachable leads the next connections to nobody.
func (h *hub) unreachable() {
	n := whatsapp.Live()
	n.HTTP.Transport = refused("127.0.0.1:1")
	h.network = n
}

func TestDeletingADisconnectedAccountUnlinksIt(t *testing.T) {
	h := newHub(t)
	dev := h.away()
	require.NoError(t, h.Delete(within(t), "a"))
	require.NoError(t, dev.WaitRemoved(within(t)))
	_, err := h.Get(within(t), "a")
	require.ErrorIs(t, err, store.ErrNotFound)
	h.requireNoKeys()
}

func TestLoggingOutADisconnectedAccountUnlinksIt(t *testing.T) {
	h := newHub(t)
	dev := h.away()
	friend := h.phone("15550002")
	h.say(friend, "15550001", "before you go")
	require.NoError(t, h.Logout(within(t), "a"))
	require.NoError(t, dev.WaitRemoved(within(t)))
	h.waitState("a", account.StateLoggedOut, account.ReasonOperator)
	h.requireNoKeys()
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Empty(t, h.senders, "nothing is sent meanwhile")
}

func TestLoggingOutWhatThePhoneUnlinkedBefore(t *testing.T) {
	h := newHub(t)
	dev := h.away()
	require.NoError(t, dev.Unlink())
	require.NoError(t, h.Logout(within(t), "a"))
	h.waitState("a", account.StateLoggedOut, account.ReasonOperator)
	h.requireNoKeys()
}

func TestWithoutANetworkTheKeysGoAllTheSame(t *testing.T) {
	h := newHub(t)
	dev := h.away()
	h.unreachable()
	require.NoError(t, h.Logout(within(t), "a"))
	h.waitState("a", account.StateLoggedOut, account.ReasonKeysRemoved)
	h.requireNoKeys()
	require.False(t, dev.Removed())
	require.NoError(t, h.Delete(within(t), "a"))
	_, err := h.Get(within(t), "a")
	require.ErrorIs(t, err, store.ErrNotFound)
}

func TestDeletingWithoutANetworkRemovesEverything(t *testing.T) {
	h := newHub(t)
	h.away()
	h.unreachable()
	require.NoError(t, h.Delete(within(t), "a"))
	_, err := h.Get(within(t), "a")
	require.ErrorIs(t, err, store.ErrNotFound)
	h.requireNoKeys()
}

func TestStoppingBreaksOffALogout(t *testing.T) {
	for name, do := range map[string]func(*hub) error{
		"logout": func(h *hub) error { return h.Logout(within(t), "a") },
		"delete": func(h *hub) error { return h.Delete(within(t), "a") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			h.away()
			url, hello := silent(t)
			var err error
			h.network, err = whatsapp.Sandbox(within(t), url, nolog())
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() { done <- do(h) }()
			select {
			case <-hello:
			case <-within(t).Done():
				t.Fatal("nothing was dialled")
			}
			start := time.Now()
			_, err = h.Get(within(t), "a")
			require.NoError(t, err)
			require.NoError(t, h.Stop(within(t)))
			require.Less(t, time.Since(start), time.Second)
			require.ErrorIs(t, <-done, account.ErrStopped)
			left, err := h.keys.List(within(t))
			require.NoError(t, err)
			require.Len(t, left, 1, "it can be tried again")
		})
	}
}
