package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices"
	"github.com/wildcathub/wildcat/core/store"
)

// Deps is what a client works with.
type Deps struct {
	// Account is the id that events carry.
	Account string
	// Device is new for this client: see Client.
	Device *devices.Device
	// Handler stores events. It is called for one at a time.
	Handler Handler
	// Signal is told what happens to the connection. It must not block.
	Signal func(Signal)
	// Pairing, if set, is called when a phone has scanned a code, before anything is
	// saved; an error refuses the pairing. jid is the device's.
	Pairing func(ctx context.Context, jid string) error
	// HTTP is how WhatsApp is reached: Network.HTTP.
	HTTP *http.Client
	// Sends finds what was sent, for a device that could not decrypt it. Nil: only what
	// this client sent itself is found.
	Sends Sends
	// Logger, nil discards.
	Logger *slog.Logger
}

// Sends looks up sent messages.
type Sends interface {
	// SendByWAID returns an account's send with this WhatsApp id, or store.ErrNotFound.
	SendByWAID(ctx context.Context, account, waID string) (store.Send, error)
}

// Meow is the Client that whatsmeow makes.
type Meow struct {
	deps Deps
	log  *slog.Logger
	cli  *whatsmeow.Client
	line *line
	// jid is the device's own, copied: whatsmeow forgets it at a logout, while others read.
	jid types.JID

	// ctx is the parent of the socket and of all handlers; it ends with Close.
	ctx    context.Context //nolint:containedctx // whatsmeow's BackgroundEventCtx is one
	cancel context.CancelFunc

	// turn is held by the handler that runs, and by Close for good.
	turn chan struct{}
	// refusing: nothing is stored and so nothing acknowledged any more.
	refusing atomic.Bool
	ready    atomic.Bool
	conv     converter
	closing  sync.Once
	closed   chan struct{}
	closeErr error
}

var _ Client = (*Meow)(nil)

// The bounds of Close: the handler's durable write, an orderly goodbye, then force. A hub
// that has to let go of an account begins 2 s before another may connect it: the first of
// them must be over by then.
const (
	handlerGrace = 1500 * time.Millisecond
	closeGrace   = time.Second
)

// New makes a client; nothing happens before Connect. Close it in any case.
func New(deps Deps) (*Meow, error) {
	if deps.Device == nil || deps.Handler == nil || deps.Signal == nil || deps.HTTP == nil {
		return nil, errors.New("whatsapp: device, handler, signal and HTTP client are needed")
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	log := deps.Logger.With("component", "whatsapp", "account", deps.Account)
	dev := deps.Device.Store
	m := &Meow{deps: deps, log: log, jid: dev.GetJID(), turn: make(chan struct{}, 1), closed: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.conv = converter{account: deps.Account, own: names{pn: plain(dev.GetJID()), lid: plain(dev.GetLID())}, directory: dev.LIDs}

	cli := whatsmeow.NewClient(dev, quiet{log})
	cli.BackgroundEventCtx = m.ctx
	// Acknowledge what the handler stored, and nothing else.
	cli.SynchronousAck = true
	cli.EnableDecryptedEventBuffer = true
	// Reconnecting is the account's: with a new client, back-off and jitter.
	cli.EnableAutoReconnect = false
	cli.DisableLoginAutoReconnect = true
	cli.AutomaticMessageRerequestFromPhone = false
	// History is not taken in yet; without this it would be downloaded all the same.
	cli.ManualHistorySyncDownload = true
	cli.PrePairCallback = m.prePair
	cli.GetMessageForRetry = m.messageForRetry
	var sockets *http.Client
	m.line, sockets = newLine(deps.HTTP)
	cli.SetWebsocketHTTPClient(sockets)
	cli.SetPreLoginHTTPClient(sockets)
	cli.SetMediaHTTPClient(deps.HTTP)
	cli.AddEventHandlerWithSuccessStatus(m.handle)
	deps.Device.OnFailure(func(err error) {
		m.refusing.Store(true)
		m.deps.Signal(Signal{Kind: SignalDeviceFailed, Err: err})
	})
	m.cli = cli
	return m, nil
}

// Connect implements Client.
func (m *Meow) Connect(ctx context.Context) error {
	// The socket outlives ctx, and so lives under ours: only dialling ends with it.
	stop := context.AfterFunc(ctx, func() { m.line.hangUp(m.cancel) })
	defer stop()
	err := m.cli.ConnectContext(m.ctx)
	if err == nil && !m.line.settle() {
		err = errHungUp
	}
	if err != nil {
		return fmt.Errorf("connect to WhatsApp: %w", err)
	}
	return nil
}

// Close implements Client.
func (m *Meow) Close(ctx context.Context) error {
	m.closing.Do(func() {
		go func() {
			defer close(m.closed)
			m.closeErr = m.close()
		}()
	})
	select {
	case <-m.closed:
		return m.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close client: %w", ctx.Err())
	}
}

func (m *Meow) close() error {
	m.ready.Store(false)
	m.refusing.Store(true)
	m.line.hangUp(m.cancel)
	defer m.cancel()
	// The handler that runs may finish, and its message be acknowledged.
	select {
	case m.turn <- struct{}{}:
	case <-time.After(handlerGrace):
		m.log.Warn("handler is slow to end")
		m.cancel()
		m.turn <- struct{}{}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.cli.Disconnect()
	}()
	select {
	case <-done:
	case <-time.After(closeGrace):
		// It waits for a peer that does not answer.
		m.cancel()
		<-done
	}
	m.cancel()
	// Who waits for Close bounds the wait; that the device is retired is never assumed.
	return m.deps.Device.Retire(context.Background())
}

// Logout implements Client.
func (m *Meow) Logout(ctx context.Context) error {
	if err := m.cli.Logout(ctx); err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	return nil
}

// MarkRead implements Client.
func (m *Meow) MarkRead(ctx context.Context, chat, sender string, ids []string, at time.Time) error {
	to, err := parseJID(chat)
	if err != nil {
		return fmt.Errorf("mark read: %w", err)
	}
	var by types.JID
	if sender != "" {
		if by, err = parseJID(sender); err != nil {
			return fmt.Errorf("mark read: %w", err)
		}
	}
	if err := m.cli.MarkRead(ctx, ids, at, to, by); err != nil {
		return fmt.Errorf("mark read: %w", err)
	}
	return nil
}

// prePair is asked before a pairing is saved.
func (m *Meow) prePair(jid types.JID, _, _ string) bool {
	if m.deps.Pairing == nil {
		return true
	}
	if err := m.deps.Pairing(m.ctx, jid.String()); err != nil {
		m.log.Warn("pairing is refused", "err", err)
		return false
	}
	return true
}
