package soak

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

const (
	ackPatience   = 1000 * time.Millisecond // for the server's acknowledgement of one try
	sendPatience  = 5 * time.Second         // for one try as a whole
	loginPatience = 8 * time.Second         // from the handshake to "ready"
	stockPatience = time.Minute             // the same, while the client makes its first 812 prekeys
)

// client is an account as a hub holds it: one store, one whatsmeow client after the other.
type client struct {
	r      *run
	number string
	db     *sqlstore.Container
	jid    string // of its device
	device *store.Device

	// sessions keeps sends and decryptions apart: whatsmeow reads, encrypts and writes back
	// with no lock against a decryption in between. A hub has to do the same.
	sessions sync.Mutex
	resend   atomic.Pointer[time.Timer] // while it is held for a message that is sent again

	mu      sync.Mutex
	changed chan struct{}
	current *whatsmeow.Client // that is ready, or nil
	alive   *whatsmeow.Client // whose events count
	refuse  int               // how many messages its handler will refuse
	shown   map[string]string // text by id
	handled int
	lives   int
	sent    map[string]*waE2E.Message
}

func openClient(r *run, number string) *client {
	db := simtest.OpenKeys(r.t, filepath.Join(r.t.TempDir(), "device.db"))
	return &client{r: r, number: number, db: db, shown: map[string]string{}, sent: map[string]*waE2E.Message{}}
}

// pair links the client to its phone and ends the connection.
func (c *client) pair(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cli := whatsmeow.NewClient(c.db.NewDevice(), waLog.Noop)
	cli.BackgroundEventCtx = ctx
	cli.EnableAutoReconnect, cli.DisableLoginAutoReconnect = false, true
	c.r.server().Install(cli)
	linked := make(chan struct{})
	cli.AddEventHandler(func(evt any) {
		if _, ok := evt.(*events.PairSuccess); ok {
			close(linked)
		}
	})
	qr, err := cli.GetQRChannel(ctx)
	if err != nil {
		return err
	}
	if err = cli.Connect(); err != nil {
		return err
	}
	item := <-qr
	d, err := c.r.server().Phone(c.number).LinkQR(ctx, item.Code)
	if err != nil {
		return fmt.Errorf("link %s: %w", item.Event, err)
	}
	c.jid = d.JID().String()
	select {
	case <-linked:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// live keeps the client connected until ctx ends.
func (c *client) live(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.life(ctx); err != nil && ctx.Err() == nil {
			c.r.t.Errorf("client %s: %v", c.jid, err)
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

var errGone = errors.New("whatsmeow deleted its device")

// life is one whatsmeow client, from its first try to connect to its loss. An error is one
// that another life would meet too.
func (c *client) life(ctx context.Context) error {
	if c.device == nil {
		device, err := c.db.GetFirstDevice(ctx)
		if err != nil {
			return err
		}
		device.EventBuffer = &exclusiveBuffer{device.EventBuffer, c}
		device.Sessions = &exclusiveSessions{device.Sessions, c}
		c.device = device
	}
	device := c.device
	if device.ID == nil {
		return errGone
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cli := whatsmeow.NewClient(device, warner{&c.r.warnings, fmt.Sprint(c.jid, " life ", c.lives)})
	cli.BackgroundEventCtx = ctx
	cli.EnableAutoReconnect, cli.DisableLoginAutoReconnect = false, true
	cli.SynchronousAck, cli.EnableDecryptedEventBuffer = true, true
	cli.ManualHistorySyncDownload = true // its own way keeps a goroutine for good
	cli.GetMessageForRetry = func(_, _ types.JID, id types.MessageID) *waE2E.Message { return c.sentMessage(id) }
	cli.PreRetryCallback = func(*events.Receipt, types.MessageID, int, *waE2E.Message) bool { c.beginResend(); return true }
	ready, over := make(chan struct{}, 1), make(chan struct{}, 1)
	cli.AddEventHandlerWithSuccessStatus(func(evt any) bool {
		switch evt := evt.(type) {
		case *events.Message:
			ok := c.take(cli, evt)
			if !ok {
				signal(over)
			}
			return ok
		case *events.Connected:
			signal(ready)
		case *events.LoggedOut:
			c.r.t.Errorf("client %s was logged out: %v", c.jid, evt.Reason)
			signal(over)
		case *events.Disconnected, *events.ManualLoginReconnect, *events.StreamReplaced, *events.StreamError, *events.ConnectFailure:
			signal(over)
		}
		return true
	})
	c.set(func() { c.alive, c.lives = cli, c.lives+1 })
	defer c.set(func() { c.alive, c.current = nil, nil })
	c.r.server().Install(cli)
	if err := cli.Connect(); err != nil {
		return nil // it was refused, or the server is away: another time
	}
	select {
	case <-ready:
	case <-over:
		return nil
	case <-time.After(c.patience()):
		return nil
	case <-ctx.Done():
		return nil
	}
	c.set(func() { c.current = cli })
	select {
	case <-over:
	case <-ctx.Done():
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take is the handler of a message: the durable write of a hub.
func (c *client) take(from *whatsmeow.Client, m *events.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alive != from {
		return false // given up: its successor gets the message again
	}
	if c.refuse > 0 {
		c.refuse--
		c.alive = nil // and everything after it, so that the redelivery is in order
		return false
	}
	text := m.Message.GetConversation()
	if text == "" {
		return true // what a phone tells a companion that is new: keys, history
	}
	c.handled++
	if old, ok := c.shown[m.Info.ID]; ok && old != text {
		c.r.t.Errorf("client %s: message %s is both %q and %q", c.jid, m.Info.ID, old, text)
	}
	c.shown[m.Info.ID] = text
	c.r.progress()
	return true
}

func (c *client) shows(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.shown[id]
	return ok
}

func (c *client) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// ready waits for a whatsmeow client that is connected.
func (c *client) ready(ctx context.Context) (*whatsmeow.Client, error) {
	for {
		c.mu.Lock()
		if c.current != nil {
			defer c.mu.Unlock()
			return c.current, nil
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// send sends a message until it is acknowledged, always under its one id.
func (c *client) send(ctx context.Context, m *message) error {
	content := &waE2E.Message{Conversation: proto.String(m.text)}
	c.mu.Lock()
	c.sent[m.id] = content
	c.mu.Unlock()
	for tries := 0; ; tries++ {
		cli, err := c.ready(ctx)
		if err != nil {
			return fmt.Errorf("message %s after %d tries: %w", m.id, tries, err)
		}
		if err = c.try(ctx, cli, m, proto.CloneOf(content)); err == nil {
			return nil
		}
		pause(ctx, 10*time.Millisecond)
	}
}

func (c *client) try(ctx context.Context, cli *whatsmeow.Client, m *message, content *waE2E.Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendPatience)
	defer cancel()
	c.sessions.Lock()
	defer c.sessions.Unlock()
	_, err := cli.SendMessage(holding(ctx), types.NewJID(m.to, types.DefaultUserServer), content,
		whatsmeow.SendRequestExtra{ID: m.id, Timeout: ackPatience})
	return err
}

func (c *client) sentMessage(id string) *waE2E.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return proto.CloneOf(c.sent[id])
}

// patience is how long a login may take.
func (c *client) patience() time.Duration {
	if d := c.r.device(c); d == nil || d.PreKeys() < 5 {
		return stockPatience
	}
	return loginPatience
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
