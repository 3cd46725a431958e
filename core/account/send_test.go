package account_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
	"github.com/wildcathub/wildcat/sdk"
)

func rendered(t *testing.T, to, text string) whatsapp.Outgoing {
	t.Helper()
	var r whatsapp.Renderer
	to, payload, err := r.RenderText(to, text, nil, nil)
	require.NoError(t, err)
	return whatsapp.Outgoing{ID: r.NewID(), To: to, Payload: payload}
}

// whatsmeow leaves out a device that it could not encrypt for, and reports success.
// Where it fails before the message is written, nothing left.
func TestASendDuringWhichTheDeviceStoreFailed(t *testing.T) {
	onKeys(t, aSendDuringWhichTheDeviceStoreFailed)
}

func aSendDuringWhichTheDeviceStoreFailed(t *testing.T, keys func(*hub)) {
	h := newHub(t, keys)
	h.pair("a", "15550001")
	friend := h.phone("15550002")
	for _, c := range []struct {
		method  string
		notSent bool
	}{
		{"GetManyLIDsForPNs", true},
		{"GetManySessions", true},
		{"IsTrustedIdentity", false},
		{"PutManySessions", true},
		{"GetPrivacyToken", false},
	} {
		s := h.waitSender("a")
		out := rendered(t, "15550002", c.method)
		h.faults.Fail(c.method, 1)
		_, err := s.Send(within(t), out)
		require.Error(t, err, c.method)
		require.Equal(t, c.notSent, errors.Is(err, whatsapp.ErrNotSent), "%s: %v", c.method, err)
		var refused *whatsapp.RefusedError
		require.False(t, errors.As(err, &refused), c.method)
		h.wait("another connection", func() bool { return h.senders["a"] != nil && h.senders["a"] != s })
		if c.notSent {
			for _, m := range friend.Received(0) {
				require.NotEqual(t, out.ID, m.ID, c.method)
			}
		}

		_, err = h.waitSender("a").Send(within(t), out)
		require.NoError(t, err, "the same message again")
		m, err := friend.WaitMessage(within(t), func(m simulator.Message) bool { return m.ID == out.ID })
		require.NoError(t, err)
		require.Equal(t, c.method, m.Text)
	}
}

// What is written first for a stranger is the question after its devices.
func TestASendThatIsCutOffBeforeItsMessageIsWritten(t *testing.T) {
	h := newHub(t)
	cut := &cutter{}
	h.network.HTTP.Transport = cut.through(h.sim().Addr())
	h.pair("a", "15550001")
	friend := h.phone("15550002")
	s := h.waitSender("a")
	out := rendered(t, "15550002", "hello")
	cut.after(1)
	_, err := s.Send(within(t), out)
	require.ErrorIs(t, err, whatsapp.ErrNotSent)
	h.wait("another connection", func() bool { return h.senders["a"] != nil && h.senders["a"] != s })
	require.Empty(t, friend.Received(0))
	_, err = h.waitSender("a").Send(within(t), out)
	require.NoError(t, err)
	_, err = friend.WaitMessage(within(t), func(m simulator.Message) bool { return m.ID == out.ID })
	require.NoError(t, err)
}

// A send whose time is over is no failure of the device store.
func TestASendThatRunsOutOfTimeKeepsTheConnection(t *testing.T) {
	h := newHub(t)
	_, dev := h.pair("a", "15550001")
	friend := h.phone("15550002")
	s := h.waitSender("a")
	logins := dev.Logins()
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	_, err := s.Send(ctx, rendered(t, "15550002", "too late"))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, whatsapp.ErrNotSent)
	out := rendered(t, "15550002", "in time")
	_, err = s.Send(within(t), out)
	require.NoError(t, err, "over the same connection")
	_, err = friend.WaitMessage(within(t), func(m simulator.Message) bool { return m.ID == out.ID })
	require.NoError(t, err)
	require.Equal(t, logins, dev.Logins())
}

func TestAConnectionThatIsOverSendsNothing(t *testing.T) {
	h := newHub(t)
	h.pair("a", "15550001")
	h.phone("15550002")
	s := h.waitSender("a")
	require.NoError(t, h.Disconnect(within(t), "a"))
	_, err := s.Send(within(t), rendered(t, "15550002", "too late"))
	require.ErrorIs(t, err, whatsapp.ErrNotSent)
}

func TestTheStateIsToldWhileADialHangs(t *testing.T) {
	h := newHub(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	require.NoError(t, err)
	defer func() { require.NoError(t, ln.Close()) }()
	h.network = whatsapp.Live()
	h.network.HTTP.Transport = mute(ln.Addr().String())
	_, err = h.Create(within(t), store.Account{ID: "a"})
	require.NoError(t, err)
	h.waitState("a", account.StateConnecting, "")
	start := time.Now()
	_, err = h.Get(within(t), "a")
	require.NoError(t, err)
	_, err = h.List(within(t))
	require.NoError(t, err)
	_, held := h.Live("a")
	require.True(t, held)
	require.Less(t, time.Since(start), 2*time.Second)
	require.NoError(t, h.Disconnect(within(t), "a"), "a dial can be broken off")
	require.Less(t, time.Since(start), 8*time.Second)
}

func TestManyAccountsLiveSideBySide(t *testing.T) {
	h := newHub(t)
	friend := h.phone("15559999")
	for _, id := range []string{"a", "b", "c", "d"} {
		h.pair(id, "1555000"+id2digit[id])
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		h.say(friend, "1555000"+id2digit[id], "to "+id)
	}
	h.wait("all texts", func() bool { return len(h.texts) == 4 })
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range h.events {
		if ev.Type == sdk.TypeMessage {
			require.Equal(t, "to "+ev.Account, ev.Message.Text)
		}
	}
}

var id2digit = map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}
