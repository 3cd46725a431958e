package simulator_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestAnotherServerOverTheSameFolderGoesOnWhereTheFirstStopped(t *testing.T) {
	dir := t.TempDir()
	first, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root()})
	require.NoError(t, err)
	require.NoError(t, first.Start("127.0.0.1:0"))
	_, err = simulator.New(simulator.Options{Dir: dir})
	require.ErrorIs(t, err, simulator.ErrDirInUse)
	ctx := simtest.Within(t, 60*time.Second)
	c, d := paired(t, first, simtest.AddPhone(t, first, "15550001"))
	simtest.AddPhone(t, first, "15550002")
	one := c.send("15550002", "one")
	_, err = first.Phone("15550002").SendText(ctx, "15550001", "two")
	require.NoError(t, err)
	c.waitTexts(1)
	c.waitDelivered(one) // it would wait with what comes later
	require.NoError(t, d.WaitDrained(ctx))
	c.Disconnect()
	require.NoError(t, d.WaitOffline(ctx))
	_, err = first.Phone("15550002").SendText(ctx, "15550001", "three")
	require.NoError(t, err)
	keys, key := d.PreKeys(), first.RootKey()
	require.NoError(t, first.Close())
	require.NoError(t, first.Close(), "twice is harmless")

	second := newServer(t, dir)
	require.Equal(t, key, second.RootKey())
	d = second.Device(d.JID().String())
	require.NotNil(t, d)
	require.Equal(t, keys, d.PreKeys())
	require.Equal(t, 1, d.Pending())
	require.Equal(t, "one", second.Phone("15550002").Received(0)[0].Text)
	c.s = second
	c.renew(true)
	require.NoError(t, c.Connect())
	require.Equal(t, []string{"two", "three"}, c.waitTexts(2))
	c.send("15550002", "four")
	list, err := second.Phone("15550002").WaitReceived(ctx, 2)
	require.NoError(t, err)
	require.Equal(t, "four", list[1].Text)
}

// serveUntilKilled is what this test's executable does as a child.
func serveUntilKilled(dir, addr string) {
	s, err := simulator.New(simulator.Options{Dir: dir, Root: simtest.Root(), Control: control.Handler})
	if err == nil {
		err = s.Start(addr)
	}
	fmt.Println(s.Addr(), err)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// process is a simulator that can be killed.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
	dir  string
	http http.Client
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), "SIMULATOR_TEST_DIR="+p.dir, "SIMULATOR_TEST_ADDR="+p.addr)
	p.cmd.Stderr = os.Stderr
	_, err := p.cmd.StdinPipe()
	require.NoError(p.t, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(p.t, err)
	fields := strings.Fields(line)
	require.Equal(p.t, "<nil>", fields[1], line)
	p.addr = fields[0]
}

func (p *process) kill() {
	require.NoError(p.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // "signal: killed"
	p.http.CloseIdleConnections()
}

func (p *process) Install(c *whatsmeow.Client) {
	h, err := simulator.ClientFor("http://" + p.addr)
	require.NoError(p.t, err)
	var out struct {
		Key string `json:"root_key"`
	}
	p.call("GET", "/sandbox/root-key", nil, &out)
	key, err := hex.DecodeString(out.Key)
	require.NoError(p.t, err)
	simulator.Trust([32]byte(key))
	c.SetWebsocketHTTPClient(h)
	c.SetPreLoginHTTPClient(h)
	c.SetMediaHTTPClient(h)
}

func (p *process) try(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+p.addr+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s %s", method, path, resp.Status, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

func (p *process) call(method, path string, in, out any) {
	p.t.Helper()
	require.NoError(p.t, p.try(method, path, in, out))
}

func (p *process) received(number string) []simulator.Message {
	var out struct{ Messages []simulator.Message }
	p.call("GET", "/sandbox/phones/"+number+"/received?after=0", nil, &out)
	return out.Messages
}

func TestAKilledServerLosesNothingThatItAcknowledged(t *testing.T) {
	long(t)
	p := &process{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	p.start()
	defer func() { p.kill() }()
	for _, number := range []string{"15550001", "15550002"} {
		p.call("POST", "/sandbox/phones", map[string]string{"number": number, "name": "x"}, nil)
	}
	c := newClient(t, p)
	qr, err := c.GetQRChannel(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Connect())
	p.call("POST", "/sandbox/phones/15550001/scan", map[string]string{"qr": (<-qr).Code}, nil)
	for range qr {
	}
	waitEvent(c, simtest.AnyOf[*events.Connected])
	c.Disconnect()
	c.renew(true)
	require.NoError(t, c.Connect())

	// The server is killed three times with a burst under way. The client never sends while it
	// receives: whatsmeow loads a session, encrypts, and stores it with no lock against a decryption
	// in between, and what that overwrites comes back as undecryptable and out of order.
	const total = 90
	sent, sentBack := 0, 0
	for round := range 3 {
		for ; sent < total*(round+1)/3; sent++ {
			text := fmt.Sprint("to the hub ", sent)
			p.call("POST", "/sandbox/phones/15550002/send", map[string]string{"to": "15550001", "text": text}, nil)
			if sent%30 < 10 {
				c.waitTexts(sent + 1)
				c.send("15550002", fmt.Sprint("from the hub ", sentBack))
				sentBack++
			}
		}
		// A new client takes over, since only that keeps the order; the old one, still
		// connected, refuses from here on.
		c.renew(true)
		p.kill()
		p.start()
		c.Forget()
		require.NoError(t, c.Connect())
		waitEvent(c, simtest.AnyOf[*events.Connected])
	}
	want := make([]string, total)
	for i := range want {
		want[i] = fmt.Sprint("to the hub ", i)
	}
	require.Equal(t, want, c.waitTexts(total))
	require.Eventually(t, func() bool { return len(p.received("15550002")) >= sentBack }, 20*time.Second, 10*time.Millisecond)
	for i, m := range p.received("15550002") {
		require.Equal(t, fmt.Sprint("from the hub ", i), m.Text)
		require.Equal(t, i+1, m.N)
		require.Equal(t, 1, m.Copies)
	}
	var invariants struct{ Count int }
	p.call("GET", "/sandbox/invariants", nil, &invariants)
	require.Zero(t, invariants.Count)
}
