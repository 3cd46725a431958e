package page_test

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
	// A client that was sent history keeps one goroutine for good, too.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"),
		goleak.IgnoreTopFunction("go.mau.fi/whatsmeow.(*Client).handleHistorySyncNotificationLoop"))
}

var root = [32]byte{8: 7, 31: 64}

func newServer(t testing.TB) *simulator.Server {
	t.Helper()
	s, err := simulator.New(simulator.Options{Root: &root, Control: control.Handler, Trace: 500})
	require.NoError(t, err)
	require.NoError(t, s.Start("127.0.0.1:0"))
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		s.Verify(t)
	})
	return s
}

func addPhone(t testing.TB, s *simulator.Server, number, name string) *simulator.Phone {
	t.Helper()
	p, err := s.AddPhone(number, name)
	require.NoError(t, err)
	return p
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// client is an unmodified whatsmeow client that reconnects.
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
	cli.EnableAutoReconnect = false // it reads a counter that logging in writes, unlocked
	s.Install(cli)
	c := &client{Client: cli, t: t}
	cli.AddEventHandler(c.take)
	t.Cleanup(func() {
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

// waitEvent waits for an event of a type that match accepts.
func waitEvent[E any](c *client, match func(E) bool) E {
	c.t.Helper()
	ctx := within(c.t)
	for {
		c.mu.Lock()
		for _, evt := range c.events {
			if e, ok := evt.(E); ok && match(e) {
				c.mu.Unlock()
				return e
			}
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			var none E
			require.FailNow(c.t, "timeout", "waiting for %s", fmt.Sprintf("%T", none))
		}
	}
}

func anyOf[E any](E) bool { return true }

// showQR connects and returns the text of the QR code that a phone has to scan.
func (c *client) showQR() string {
	c.t.Helper()
	qr, err := c.GetQRChannel(within(c.t))
	require.NoError(c.t, err)
	require.NoError(c.t, c.Connect())
	code := (<-qr).Code
	c.tasks.Go(func() {
		for range qr {
		}
	})
	return code
}

// say sends a text and returns its id.
func (c *client) say(to, text string) string {
	c.t.Helper()
	resp, err := c.SendMessage(within(c.t), types.NewJID(to, types.DefaultUserServer), &waE2E.Message{Conversation: proto.String(text)})
	require.NoError(c.t, err)
	return resp.ID
}
