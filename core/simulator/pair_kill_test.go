package simulator_test

import (
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// gate is the network between clients and a process: it can lose what goes one way, with the
// sender none the wiser.
type gate struct {
	t        *testing.T
	p        *process
	ln       net.Listener
	work     sync.WaitGroup
	loseUp   atomic.Bool
	loseDown atomic.Bool

	mu    sync.Mutex
	conns []net.Conn
}

func newGate(t *testing.T, p *process) *gate {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gate{t: t, p: p, ln: ln}
	addr := p.addr // the same after a restart
	g.work.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = in.Close()
				continue
			}
			g.mu.Lock()
			g.conns = append(g.conns, in)
			g.mu.Unlock()
			g.work.Go(func() { pipe(out, in, &g.loseUp) })
			g.work.Go(func() { pipe(in, out, &g.loseDown) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, ln.Close())
		g.work.Wait()
	})
	return g
}

// cut ends all connections.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
}

// pipe copies until either end closes, and then closes both.
func pipe(to, from net.Conn, lose *atomic.Bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !lose.Load() {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (g *gate) Install(c *whatsmeow.Client) {
	h, err := simulator.ClientFor("http://" + g.ln.Addr().String())
	require.NoError(g.t, err)
	var out struct {
		Key string `json:"root_key"`
	}
	g.p.call("GET", "/sandbox/root-key", nil, &out)
	key, err := hex.DecodeString(out.Key)
	require.NoError(g.t, err)
	simulator.Trust([32]byte(key))
	c.SetWebsocketHTTPClient(h)
	c.SetPreLoginHTTPClient(h)
	c.SetMediaHTTPClient(h)
}

func (p *process) companions(number string) []string {
	p.t.Helper()
	var out struct {
		Phones []struct {
			Number     string
			Companions []string
		}
	}
	p.call("GET", "/sandbox/phones", nil, &out)
	for _, phone := range out.Phones {
		if phone.Number == number {
			return phone.Companions
		}
	}
	return nil
}

func (p *process) pending(number string) (n int) {
	p.t.Helper()
	var out struct {
		Devices []struct {
			JID     string
			Pending int
		}
	}
	p.call("GET", "/sandbox/devices", nil, &out)
	for _, d := range out.Devices {
		if strings.HasPrefix(d.JID, number+":") {
			n += d.Pending
		}
	}
	return n
}

// A client stores the pairing before it signs, so from then on it believes that it is paired,
// and a login that is refused makes it delete itself. Whatever is lost after that, the signature
// or the answer to it, and although the server is killed: the client is a companion.
func TestAServerThatIsKilledWhileAClientPairsKnowsTheClient(t *testing.T) {
	long(t)
	for name, lose := range map[string]func(*gate) *atomic.Bool{
		"before the signature":   func(g *gate) *atomic.Bool { return &g.loseUp },
		"between signature, 515": func(g *gate) *atomic.Bool { return &g.loseDown },
	} {
		t.Run(name, func(t *testing.T) {
			p := &process{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
			p.start()
			defer func() { p.kill() }()
			for _, number := range []string{"15550001", "15550002"} {
				p.call("POST", "/sandbox/phones", map[string]string{"number": number, "name": "x"}, nil)
			}
			g := newGate(t, p)
			lost := lose(g)
			c := newClient(t, g)
			codes, shown := c.showCodes()
			c.PrePairCallback = func(types.JID, string, string) bool { lost.Store(true); return true }
			var scans sync.WaitGroup
			scans.Go(func() {
				// Answers, if at all, with an error: the process is killed meanwhile.
				_ = p.try("POST", "/sandbox/phones/15550001/scan", map[string]string{"qr": codes[0]}, nil)
			})
			require.Equal(t, whatsmeow.QRChannelSuccess, last(shown))
			if lost == &g.loseDown {
				require.Eventually(t, func() bool { return len(p.companions("15550001")) == 1 }, 20*time.Second, time.Millisecond)
			} else {
				require.Empty(t, p.companions("15550001"), "who has not signed is not seen")
			}
			p.kill()
			scans.Wait()
			p.start()
			lost.Store(false)

			c.renew(true)
			c.Forget()
			require.NoError(t, c.Connect())
			waitEvent(c, simtest.AnyOf[*events.Connected])
			require.Equal(t, []string{"15550001:1@s.whatsapp.net"}, p.companions("15550001"))
			c.send("15550002", "paired")
			require.Eventually(t, func() bool { return len(p.received("15550002")) == 1 }, 20*time.Second, time.Millisecond)
			p.call("POST", "/sandbox/phones/15550002/send", map[string]string{"to": "15550001", "text": "indeed"}, nil)
			require.Equal(t, []string{"indeed"}, c.waitTexts(1))
			require.Eventually(t, func() bool { return p.pending("15550001") == 0 }, 20*time.Second, time.Millisecond)
			c.send("15550002", "good night") // the receipt is out: whatsmeow minds a close that overtakes it
		})
	}
}

// With the server alive, what is lost with the connection is no different.
func TestAClientWhoseSignatureWasLostIsACompanionAtItsLogin(t *testing.T) {
	long(t)
	s := newServer(t, "")
	owner := simtest.AddPhone(t, s, "15550001")
	p := &process{t: t, addr: s.Addr()}
	g := newGate(t, p)
	c := newClient(t, gateTo{g, s})
	codes, shown := c.showCodes()
	c.PrePairCallback = func(types.JID, string, string) bool { g.loseUp.Store(true); return true }
	ctx := simtest.Within(t, 60*time.Second)
	done := make(chan error, 1)
	go func() {
		_, err := owner.LinkQR(ctx, codes[0])
		done <- err
	}()
	require.Equal(t, whatsmeow.QRChannelSuccess, last(shown))
	g.cut()
	require.ErrorIs(t, <-done, simulator.ErrPairRefused)
	require.Empty(t, owner.Companions())
	g.loseUp.Store(false)

	// Anyone else who claims the number is refused.
	thief := newClient(t, s)
	thief.Store.ID, thief.Store.LID = c.Store.ID, c.Store.LID
	require.NoError(t, thief.Connect())
	require.Equal(t, events.ConnectFailureLoggedOut, waitEvent(thief, simtest.AnyOf[*events.LoggedOut]).Reason)
	require.Empty(t, owner.Companions())

	c.renew(true)
	c.Forget()
	require.NoError(t, c.Connect())
	waitEvent(c, simtest.AnyOf[*events.Connected])
	require.Len(t, owner.Companions(), 1)
	c.s = s
	_, second := paired(t, s, owner)
	require.Equal(t, "15550001:2@s.whatsapp.net", second.JID().String())
	c.send("15550001", "to myself")
}

// gateTo points clients at a gate in front of a server of this process.
type gateTo struct {
	*gate
	s *simulator.Server
}

func (g gateTo) Install(c *whatsmeow.Client) {
	g.s.Install(c)
	h, err := simulator.ClientFor("http://" + g.ln.Addr().String())
	require.NoError(g.t, err)
	c.SetWebsocketHTTPClient(h)
	c.SetPreLoginHTTPClient(h)
}
