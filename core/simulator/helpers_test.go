package simulator_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	_ "modernc.org/sqlite"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SIMULATOR_TEST_DIR"); dir != "" {
		serveUntilKilled(dir, os.Getenv("SIMULATOR_TEST_ADDR"))
		return
	}
	simtest.Run(m)
}

func newServer(t testing.TB, dir string) *simulator.Server {
	t.Helper()
	return simtest.Serve(t, simulator.Options{Dir: dir})
}

// long leaves a test out of the short form, in which all of these run under the race detector
// at each submission; make race runs the whole.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes over a second: the short form leaves it out")
	}
}

// installer points a client at a server.
type installer interface{ Install(*whatsmeow.Client) }

// client is an unmodified whatsmeow client with its SQLite store.
type client struct {
	*whatsmeow.Client
	t    testing.TB
	s    installer
	db   *sqlstore.Container
	path string

	tasks sync.WaitGroup

	simtest.Inbox // its lock guards the rest, too
	messages      []*events.Message
	seen          map[string]bool
	refuse        func(*events.Message) bool
	closed        bool // no more tasks
}

// newClient makes a client with an empty store.
func newClient(t testing.TB, s installer) *client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "device.db")
	c := &client{t: t, s: s, db: simtest.OpenKeys(t, path), path: path}
	t.Cleanup(func() { require.NoError(t, c.db.Close()) })
	c.renew(false)
	return c
}

// renew puts a new whatsmeow client over the same store; safe is the configuration that loses nothing.
func (c *client) renew(safe bool) {
	c.t.Helper()
	device, err := c.db.GetFirstDevice(c.t.Context())
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cli := whatsmeow.NewClient(device, waLog.Noop)
	cli.BackgroundEventCtx = ctx
	cli.EnableAutoReconnect = false // it reads a counter that logging in writes, unlocked; see reconnect
	cli.SynchronousAck, cli.EnableDecryptedEventBuffer = safe, safe
	c.s.Install(cli)
	c.Lock()
	c.Client = cli
	c.Unlock()
	cli.AddEventHandlerWithSuccessStatus(func(evt any) bool { return c.take(cli, evt) })
	c.t.Cleanup(func() {
		// Not Disconnect: it writes what the reading goroutine of a connection that is just
		// being closed by the server reads, unlocked.
		cancel()
		c.Lock()
		c.closed = true
		c.Unlock()
		c.tasks.Wait()
	})
}

// onlyKey says whether a message hands over a sender key and says nothing else.
func onlyKey(m *waE2E.Message) bool {
	if m.GetSenderKeyDistributionMessage() == nil {
		return false
	}
	rest := proto.Clone(m).(*waE2E.Message)
	rest.SenderKeyDistributionMessage, rest.MessageContextInfo = nil, nil
	return proto.Size(rest) == 0
}

func (c *client) take(from *whatsmeow.Client, evt any) bool {
	c.Lock()
	defer c.Unlock()
	if m, ok := evt.(*events.Message); ok {
		if from != c.Client {
			return false // a client that was given up handles what it had left
		}
		if c.refuse != nil && c.refuse(m) {
			return false
		}
		if onlyKey(m.Message) {
			return true // a key, which comes as a message of its own under the id of the one that it opens
		}
		// As every receiver has to: a message may be handled twice when its connection broke.
		if key := m.Info.Chat.User + m.Info.ID + string(m.Info.Edit); c.seen[key] {
			return true
		} else if c.seen == nil {
			c.seen = map[string]bool{key: true}
		} else {
			c.seen[key] = true
		}
		if m.Info.Category != "peer" { // keys and history from the own phone: nothing that anyone wrote
			c.messages = append(c.messages, m)
		}
	}
	if _, ok := evt.(*events.Disconnected); ok && from == c.Client && !c.closed {
		c.tasks.Go(func() { simtest.Reconnect(from) })
	}
	c.Put(evt)
	return true
}

// seenEvents are the events so far: a test that fails must not hold the lock.
func (c *client) seenEvents() []any {
	c.Lock()
	defer c.Unlock()
	return slices.Clone(c.Events())
}

// wait waits until done, called with the lock held, is true.
func (c *client) wait(what string, done func() bool) {
	c.t.Helper()
	c.Wait(c.t, what, done)
}

// waitEvent waits for an event of a type that match accepts.
func waitEvent[E any](c *client, match func(E) bool) E {
	c.t.Helper()
	return simtest.WaitEvent(c.t, &c.Inbox, match)
}

// pair links a new client to the phone and waits until it is ready.
func (c *client) pair(p *simulator.Phone) *simulator.Device {
	c.t.Helper()
	ctx := simtest.Within(c.t, 30*time.Second)
	qr, err := c.GetQRChannel(ctx)
	require.NoError(c.t, err)
	require.NoError(c.t, c.Connect())
	item := <-qr
	require.Equal(c.t, "code", item.Event)
	d, err := p.LinkQR(ctx, item.Code)
	require.NoError(c.t, err)
	for item = range qr {
	}
	require.Equal(c.t, whatsmeow.QRChannelSuccess, item)
	waitEvent(c, simtest.AnyOf[*events.Connected])
	// What a new companion is sent and asks for is over, so that nothing of it mixes with what follows.
	for _, name := range appstate.AllPatchNames {
		waitEvent(c, func(e *events.AppStateSyncComplete) bool { return e.Name == name })
	}
	require.NoError(c.t, d.WaitDrained(ctx))
	return d
}

func paired(t testing.TB, s *simulator.Server, p *simulator.Phone) (*client, *simulator.Device) {
	t.Helper()
	c := newClient(t, s)
	return c, c.pair(p)
}

func (c *client) send(to, text string) string {
	c.t.Helper()
	resp, err := c.SendMessage(simtest.Within(c.t, 30*time.Second), types.NewJID(to, types.DefaultUserServer),
		&waE2E.Message{Conversation: proto.String(text)})
	require.NoError(c.t, err)
	return resp.ID
}

// waitDelivered waits for the receipts that phones send for a message: the recipient's, and the
// owner's for its copy.
func (c *client) waitDelivered(id string) {
	c.t.Helper()
	for _, kind := range []types.ReceiptType{types.ReceiptTypeDelivered, types.ReceiptTypeSender} {
		waitEvent(c, func(r *events.Receipt) bool { return r.MessageIDs[0] == id && r.Type == kind })
	}
}

// waitTexts waits for n messages and returns their texts.
func (c *client) waitTexts(n int) []string {
	c.t.Helper()
	c.wait(fmt.Sprint(n, " messages"), func() bool { return len(c.messages) >= n })
	c.Lock()
	defer c.Unlock()
	out := make([]string, len(c.messages))
	for i, m := range c.messages {
		out[i] = m.Message.GetConversation() + m.Message.GetExtendedTextMessage().GetText()
	}
	return out
}
