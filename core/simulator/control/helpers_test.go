package control_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	_ "modernc.org/sqlite"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control"
)

func TestMain(m *testing.M) {
	// A whatsmeow client that disconnects while a frame waits for its handler keeps the
	// goroutine that read it: its fault.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"),
		goleak.IgnoreTopFunction("go.mau.fi/whatsmeow.(*Client).handleHistorySyncNotificationLoop")) // for good, once sent history
}

// root is shared by all servers of the tests: what whatsmeow trusts is process-wide.
var root = [32]byte{8: 7, 31: 64}

func newServer(t testing.TB, dir string) *simulator.Server {
	t.Helper()
	s, err := simulator.New(simulator.Options{Dir: dir, Root: &root, Control: control.Handler})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		s.Verify(t)
	})
	return s
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func addPhone(t testing.TB, s *simulator.Server, number string) *simulator.Phone {
	t.Helper()
	p, err := s.AddPhone(number, "Name of "+number)
	require.NoError(t, err)
	return p
}

// client is an unmodified whatsmeow client with its SQLite store, which reconnects.
type client struct {
	*whatsmeow.Client
	t     testing.TB
	tasks sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{}
	events  []any
}

func newClient(t testing.TB, s *simulator.Server) *client {
	t.Helper()
	db, err := sqlstore.New(t.Context(), "sqlite", "file:"+filepath.Join(t.TempDir(), "device.db")+
		"?_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate", waLog.Noop)
	require.NoError(t, err)
	device, err := db.GetFirstDevice(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cli := whatsmeow.NewClient(device, waLog.Noop)
	cli.BackgroundEventCtx = ctx
	cli.EnableAutoReconnect = false         // it reads a counter that logging in writes, unlocked
	cli.EmitAppStateEventsOnFullSync = true // a change may be part of the first sync
	s.Install(cli)
	c := &client{Client: cli, t: t}
	cli.AddEventHandler(c.take)
	t.Cleanup(func() {
		// Not Disconnect: it writes what the reading goroutine of a connection that is just
		// being closed by the server reads, unlocked.
		cancel()
		c.tasks.Wait()
		require.NoError(t, db.Close())
	})
	return c
}

func (c *client) take(evt any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := evt.(*events.Disconnected); ok {
		c.tasks.Go(func() {
			for c.BackgroundEventCtx.Err() == nil {
				if err := c.Connect(); err == nil || errors.Is(err, whatsmeow.ErrAlreadyConnected) {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	c.events = append(c.events, evt)
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// wait waits until done, called with the lock held, is true.
func (c *client) wait(what string, done func() bool) {
	c.t.Helper()
	ctx := within(c.t, 30*time.Second)
	for {
		c.mu.Lock()
		if done() {
			c.mu.Unlock()
			return
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			require.FailNow(c.t, "timeout", "waiting for %s", what)
		}
	}
}

// waitEvent waits for an event of a type that match accepts.
func waitEvent[E any](c *client, match func(E) bool) E {
	c.t.Helper()
	var found E
	c.wait(fmt.Sprintf("%T", found), func() bool {
		for _, evt := range c.events {
			if e, ok := evt.(E); ok && match(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func anyOf[E any](E) bool { return true }

// pair links the client to the phone and waits until it is ready.
func (c *client) pair(p *simulator.Phone) *simulator.Device {
	c.t.Helper()
	ctx := within(c.t, 30*time.Second)
	qr, err := c.GetQRChannel(ctx)
	require.NoError(c.t, err)
	require.NoError(c.t, c.Connect())
	d, err := p.LinkQR(ctx, (<-qr).Code)
	require.NoError(c.t, err)
	for range qr {
	}
	waitEvent(c, anyOf[*events.Connected])
	return d
}

func (c *client) send(to, text string) string {
	c.t.Helper()
	resp, err := c.SendMessage(within(c.t, 30*time.Second), types.NewJID(to, types.DefaultUserServer),
		&waE2E.Message{Conversation: proto.String(text)})
	require.NoError(c.t, err)
	return resp.ID
}

// waitTexts waits for n messages and returns their texts.
func (c *client) waitTexts(n int) []string {
	c.t.Helper()
	var texts []string
	c.wait(fmt.Sprint(n, " messages"), func() bool {
		texts = nil
		for _, evt := range c.events {
			if m, ok := evt.(*events.Message); ok && m.Info.Category != "peer" { // keys and history are no one's words
				texts = append(texts, m.Message.GetConversation()+m.Message.GetExtendedTextMessage().GetText())
			}
		}
		return len(texts) >= n
	})
	return texts
}
