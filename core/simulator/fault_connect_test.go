package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// again makes the client log in anew, into whatever waits for it there.
func (c *client) again(d *simulator.Device) {
	c.t.Helper()
	c.Disconnect()
	require.NoError(c.t, d.WaitOffline(simtest.Within(c.t, 10*time.Second)))
	c.Forget()
	require.NoError(c.t, c.Connect())
}

// waitDeleted waits until whatsmeow has deleted its device. It is seen in the store:
// what whatsmeow itself holds of it is written with no lock.
func (c *client) waitDeleted() {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		kept, err := c.db.GetAllDevices(c.t.Context())
		return err == nil && len(kept) == 0
	}, 10*time.Second, 10*time.Millisecond)
}

func TestEachLoginFailureGivesItsEvent(t *testing.T) {
	long(t)
	failed := func(reason events.ConnectFailureReason) func(*testing.T, *client) {
		return func(_ *testing.T, c *client) {
			waitEvent(c, func(e *events.ConnectFailure) bool { return e.Reason == reason && e.Message == "sorry" })
		}
	}
	out := func(reason events.ConnectFailureReason) func(*testing.T, *client) {
		return func(t *testing.T, c *client) {
			e := waitEvent(c, func(e *events.LoggedOut) bool { return e.Reason == reason })
			require.True(t, e.OnConnect)
			c.waitDeleted()
		}
	}
	back := func(_ *testing.T, c *client) { waitEvent(c, simtest.AnyOf[*events.Connected]) }
	refresh := func(t *testing.T, c *client) {
		require.EqualError(t, waitEvent(c, simtest.AnyOf[*events.CATRefreshError]).Error, "no token")
	}
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	var c *client
	var d *simulator.Device
	for code, check := range map[int]func(*testing.T, *client){
		400: failed(400), 409: failed(409), 418: failed(418),
		401: out(401), 403: out(403), 406: out(406),
		402: func(t *testing.T, c *client) {
			e := waitEvent(c, simtest.AnyOf[*events.TemporaryBan])
			require.Equal(t, events.TempBanReason(104), e.Code)
			require.Equal(t, time.Hour, e.Expire)
		},
		405: func(_ *testing.T, c *client) { waitEvent(c, simtest.AnyOf[*events.ClientOutdated]) },
		413: refresh, 414: refresh,
		500: back, 503: back,
	} {
		if c == nil {
			c, d = paired(t, s, owner)
		}
		c.RefreshCAT = func(context.Context) error { return errors.New("no token") }
		r := fault(t, s, simulator.Fault{
			Action: simulator.FaultLoginFailure, Device: "15550001", Code: code, Times: 1, Text: "sorry", BanCode: 104, ExpireS: 3600,
		})
		c.again(d)
		check(t, c)
		require.Equal(t, 1, r.Hits(), "code %d", code)
		require.False(t, d.Removed(), "the server forgets nobody for it")
		if code == 401 || code == 403 || code == 406 {
			c = nil // its device is deleted
		}
	}
}

func TestALoginFailureOfADeviceComesAsOftenAsItSays(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	c, d := paired(t, s, owner)
	other, otherDevice := paired(t, s, owner)
	_, err := d.LoginFailure(42, 1)
	require.ErrorIs(t, err, simulator.ErrFault)
	r, err := d.LoginFailure(503, 3)
	require.NoError(t, err)
	other.again(otherDevice)
	waitEvent(other, simtest.AnyOf[*events.Connected])
	require.Zero(t, r.Hits())
	c.again(d)
	waitEvent(c, simtest.AnyOf[*events.Connected])
	require.Equal(t, 3, r.Hits())
	require.EqualValues(t, 2, d.Logins(), "one of pairing, one now: what is refused is no login")
}

func TestStreamErrorsAreNotLoginFailures(t *testing.T) {
	long(t)
	t.Run("401 logs out", func(t *testing.T) {
		s, c, d, _ := faulty(t)
		d.StreamError(401)
		require.False(t, waitEvent(c, simtest.AnyOf[*events.LoggedOut]).OnConnect)
		require.NoError(t, d.WaitOffline(simtest.Within(t, 10*time.Second)))
		c.waitDeleted()
		require.Zero(t, s.Stats().Violations)
	})
	t.Run("409 does not come back", func(t *testing.T) {
		_, c, d, _ := faulty(t)
		logins := d.Logins()
		d.StreamError(409)
		waitEvent(c, simtest.AnyOf[*events.StreamReplaced])
		require.NoError(t, d.WaitOffline(simtest.Within(t, 10*time.Second)))
		require.Eventually(t, func() bool { return !c.IsConnected() }, 10*time.Second, time.Millisecond)
		c.Lock()
		defer c.Unlock()
		for _, evt := range c.Events() {
			_, gone := evt.(*events.Disconnected)
			require.False(t, gone, "which is what makes clients come back")
		}
		require.Equal(t, logins, d.Logins())
	})
	t.Run("503 comes back", func(t *testing.T) {
		_, c, d, _ := faulty(t)
		c.Forget()
		d.StreamError(503)
		waitEvent(c, simtest.AnyOf[*events.Disconnected])
		waitEvent(c, simtest.AnyOf[*events.Connected])
	})
	t.Run("515 comes back without having been away", func(t *testing.T) {
		_, c, d, _ := faulty(t)
		c.Forget()
		logins := d.Logins()
		d.StreamError(515)
		waitEvent(c, simtest.AnyOf[*events.Connected])
		require.Equal(t, logins+1, d.Logins())
		c.Lock()
		defer c.Unlock()
		for _, evt := range c.Events() {
			_, gone := evt.(*events.Disconnected)
			require.False(t, gone)
		}
	})
	t.Run("in a stanza's place", func(t *testing.T) {
		s, c, _, stranger := faulty(t)
		fault(t, s, simulator.Fault{Action: simulator.FaultStreamError, Direction: simulator.Out, Tag: "message", Code: 516, Times: 1})
		_, err := stranger.SendText(simtest.Within(t, 10*time.Second), "15550001", "hello")
		require.NoError(t, err)
		waitEvent(c, func(e *events.StreamError) bool { return e.Code == "516" })
		require.Equal(t, []string{"hello"}, c.waitTexts(1))
	})
}

func TestTheWebsocketMayBeRefusedForATime(t *testing.T) {
	s, c, d, _ := faulty(t)
	r := fault(t, s, simulator.Fault{Action: simulator.FaultSocketStatus, Times: 1})
	require.Equal(t, 503, r.Fault().Code)
	c.Disconnect()
	require.NoError(t, d.WaitOffline(simtest.Within(t, 10*time.Second)))
	require.ErrorContains(t, c.Connect(), "503")
	require.NoError(t, c.Connect())
}

func TestASpoiledHandshakeAndHalfAHandshakeAreTriedAgain(t *testing.T) {
	long(t)
	for _, action := range []simulator.FaultAction{simulator.FaultHandshakeSpoil, simulator.FaultHandshakeHalf} {
		t.Run(string(action), func(t *testing.T) {
			if underRace && action == simulator.FaultHandshakeHalf {
				t.Skip("whatsmeow sets up its socket after the handshake with no lock against its close")
			}
			s, c, d, _ := faulty(t)
			r := fault(t, s, simulator.Fault{Action: action, Times: 2})
			c.Disconnect()
			require.NoError(t, d.WaitOffline(simtest.Within(t, 10*time.Second)))
			c.Forget()
			err := c.Connect()
			if action == simulator.FaultHandshakeSpoil {
				require.ErrorContains(t, err, "handshake")
				require.Error(t, c.Connect())
				require.NoError(t, c.Connect())
			} else {
				// The client has said its last word and counts as connected until the close.
				require.NoError(t, err)
			}
			waitEvent(c, simtest.AnyOf[*events.Connected])
			require.Equal(t, 2, r.Hits())
		})
	}
}

// whatsmeow waits 20 s for the answer: a bare websocket stands in for it.
func TestAHandshakeThatHangsEndsWithTheClientOrTheServer(t *testing.T) {
	s := newServer(t, "")
	r := fault(t, s, simulator.Fault{Action: simulator.FaultHandshakeHang})
	dial := func() *websocket.Conn {
		h := s.HTTPClient()
		t.Cleanup(h.CloseIdleConnections)
		ws, resp, err := websocket.Dial(simtest.Within(t, 10*time.Second), "wss://web.whatsapp.com/ws/chat", &websocket.DialOptions{HTTPClient: h})
		require.NoError(t, err)
		if resp.Body != nil {
			_ = resp.Body.Close()
		}
		require.NoError(t, ws.Write(simtest.Within(t, 10*time.Second), websocket.MessageBinary, append(socket.WAConnHeader[:4:4], 0, 0, 1, 0)))
		return ws
	}
	first := dial()
	require.Eventually(t, func() bool { return r.Hits() == 1 }, 10*time.Second, time.Millisecond)
	require.Equal(t, 1, s.Stats().Connections)
	require.NoError(t, first.CloseNow())
	require.Eventually(t, func() bool { return s.Stats().Connections == 0 }, 10*time.Second, time.Millisecond)
	second := dial() // left to the server's Close
	t.Cleanup(func() { _ = second.CloseNow() })
	require.Eventually(t, func() bool { return r.Hits() == 2 }, 10*time.Second, time.Millisecond)
}

func TestACloseRightBehindTheFailure(t *testing.T) {
	s, err := simulator.New(simulator.Options{Root: simtest.Root(), Linger: time.Hour})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	c := newClient(t, s)
	d := c.pair(simtest.AddPhone(t, s, "15550001"))
	fault(t, s, simulator.Fault{Action: simulator.FaultLoginFailure, Code: 500, Times: 1})
	r := fault(t, s, simulator.Fault{Action: simulator.FaultNoLinger, Tag: "failure", Code: 500})
	c.again(d)
	// With the hour that the server would wait else, this passes by the fault only.
	waitEvent(c, simtest.AnyOf[*events.Disconnected])
	waitEvent(c, simtest.AnyOf[*events.Connected])
	require.Equal(t, 1, r.Hits())
}

func TestAStanzaIsInjectedAsItIs(t *testing.T) {
	s, c, d, stranger := faulty(t)
	ctx := simtest.Within(t, 10*time.Second)
	from := types.NewJID(stranger.Number(), types.DefaultUserServer)
	require.NoError(t, d.Inject(waBinary.Node{
		Tag: "chatstate", Attrs: waBinary.Attrs{"from": from}, Content: []waBinary.Node{{Tag: "composing"}},
	}))
	require.Equal(t, types.ChatPresenceComposing, waitEvent(c, simtest.AnyOf[*events.ChatPresence]).State)
	require.Zero(t, d.Pending())
	c.Disconnect()
	require.NoError(t, d.WaitOffline(ctx))
	require.ErrorIs(t, d.Inject(waBinary.Node{Tag: "ib"}), simulator.ErrOffline)
	require.Error(t, d.Inject(waBinary.Node{Tag: "ib", Attrs: waBinary.Attrs{"x": 1.5}}), "the wire has no fractions")
	receipt := waBinary.Node{Tag: "receipt", Attrs: waBinary.Attrs{"from": from, "id": "3EB0AA", "t": "1700000000", "type": "read"}}
	require.NoError(t, d.InjectQueued(receipt))
	require.Equal(t, 1, d.Pending())
	require.NoError(t, c.Connect())
	require.Equal(t, types.ReceiptTypeRead, waitEvent(c, simtest.AnyOf[*events.Receipt]).Type)
	require.NoError(t, d.WaitDrained(ctx))
	require.Error(t, d.InjectQueued(waBinary.Node{Tag: "chatstate", Attrs: waBinary.Attrs{"id": "1"}}))
	require.Error(t, d.InjectQueued(waBinary.Node{Tag: "message"}))
	require.NotNil(t, s.Phone("15550002"))
}

func TestFaultsThatMakeNoSenseAreRefusedInWords(t *testing.T) {
	for text, words := range map[string]string{
		`{"action": "explode"}`:                                                     `action "explode": want one of`,
		`{"action": "drop"}`:                                                        `direction is missing`,
		`{"action": "drop", "direction": "up"}`:                                     `direction "up": want "in" or "out"`,
		`{"action": "ack-error", "direction": "out", "code": 479}`:                  `ack-error is of "in" only`,
		`{"action": "ack-error", "tag": "iq", "code": 479}`:                         `tag "iq": ack-error is for <message> only`,
		`{"action": "ack-error"}`:                                                   `code 0: want 1 to 999`,
		`{"action": "drop", "direction": "in", "device": "bob"}`:                    `device "bob": want a number, or a JID`,
		`{"action": "handshake-hang", "device": "15550001"}`:                        `device: it is not known yet`,
		`{"action": "login-failure", "direction": "in", "code": 401}`:               `direction: login-failure has none`,
		`{"action": "drop", "direction": "in", "nth": 2, "times": 2}`:               `nth names one match only`,
		`{"action": "drop", "direction": "in", "probability": 1.5}`:                 `probability 1.5`,
		`{"action": "delay", "direction": "in"}`:                                    `delay_ms is missing`,
		`{"action": "hold", "direction": "in", "order": "sideways"}`:                `order "sideways"`,
		`{"action": "mutate", "direction": "in", "mutation": "nicer"}`:              `mutation "nicer": want one of [corrupt-ciphertext`,
		`{"action": "media-status", "code": 200}`:                                   `code 200: want 400 to 599`,
		`{"action": "drop", "direction": "in", "times": -1, "copies": -1}`:          "times -1: want 1 or more, or 0 for no bound\ncopies -1",
		`{"action": "stream-error", "direction": "out"}`:                            `code 0: want 100 to 999`,
		`{"action": "hold", "direction": "in", "release_at": -1, "device": "15@x"}`: `release_at -1`,
	} {
		var f simulator.Fault
		require.NoError(t, json.Unmarshal([]byte(text), &f))
		err := f.Validate()
		require.ErrorIs(t, err, simulator.ErrFault, text)
		require.ErrorContains(t, err, words)
		_, err = newServer(t, "").AddFault(f)
		require.ErrorIs(t, err, simulator.ErrFault)
	}
}

func TestFaultsAreListedWithWhatTheyDid(t *testing.T) {
	s := newServer(t, "")
	one := fault(t, s, simulator.Fault{Name: "first", Action: simulator.FaultDrop, Direction: simulator.In, Device: "15550001:1@s.whatsapp.net"})
	two := fault(t, s, simulator.Fault{Action: simulator.FaultSocketStatus})
	require.Equal(t, []*simulator.FaultRule{one, two}, s.Faults())
	require.Same(t, two, s.Fault(two.ID()))
	raw, err := json.Marshal(one.Info())
	require.NoError(t, err)
	require.JSONEq(t, `{"id":1,"hits":0,"held":0,"fault":{"name":"first","action":"drop","direction":"in","device":"15550001:1@s.whatsapp.net"}}`, string(raw))
	one.Remove()
	require.Nil(t, s.Fault(one.ID()))
	require.Equal(t, []*simulator.FaultRule{two}, s.Faults())
	s.ClearFaults()
	require.Empty(t, s.Faults())
}
