package simtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wildcathub/wildcat/core/simulator"
)

// Client is an unmodified whatsmeow client with its SQLite store, which reconnects.
type Client struct {
	*whatsmeow.Client
	Inbox
	t     testing.TB
	tasks sync.WaitGroup
}

// NewClient makes a client with an empty store.
func NewClient(t testing.TB, s *simulator.Server) *Client {
	t.Helper()
	db := OpenKeys(t, filepath.Join(t.TempDir(), "device.db"))
	device, err := db.GetFirstDevice(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cli := whatsmeow.NewClient(device, waLog.Noop)
	cli.BackgroundEventCtx = ctx
	cli.EnableAutoReconnect = false         // it reads a counter that logging in writes, unlocked
	cli.EmitAppStateEventsOnFullSync = true // a change may be part of the first sync
	s.Install(cli)
	c := &Client{Client: cli, t: t}
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

func (c *Client) take(evt any) {
	c.Lock()
	defer c.Unlock()
	if _, ok := evt.(*events.Disconnected); ok {
		c.tasks.Go(func() { Reconnect(c.Client) })
	}
	c.Put(evt)
}

// Reconnect brings a client back that lost its connection, until its context ends.
func Reconnect(cli *whatsmeow.Client) {
	const pause = 20 * time.Millisecond
	for cli.BackgroundEventCtx.Err() == nil {
		if err := cli.Connect(); err == nil || errors.Is(err, whatsmeow.ErrAlreadyConnected) {
			return
		}
		select {
		case <-time.After(pause):
		case <-cli.BackgroundEventCtx.Done():
		}
	}
}

// ShowQR connects and returns the text of the QR code that a phone has to scan.
func (c *Client) ShowQR() string {
	c.t.Helper()
	qr, err := c.GetQRChannel(Within(c.t, patience))
	require.NoError(c.t, err)
	require.NoError(c.t, c.Connect())
	item := <-qr
	require.Equal(c.t, whatsmeow.QRChannelEventCode, item.Event)
	c.tasks.Go(func() {
		for range qr {
		}
	})
	return item.Code
}

// Pair links the client to the phone and waits until it is ready.
func (c *Client) Pair(p *simulator.Phone) *simulator.Device {
	c.t.Helper()
	d, err := p.LinkQR(Within(c.t, patience), c.ShowQR())
	require.NoError(c.t, err)
	WaitEvent(c.t, &c.Inbox, AnyOf[*events.Connected])
	return d
}

// Say sends a text to a number and returns its id.
func (c *Client) Say(to, text string) string {
	c.t.Helper()
	resp, err := c.SendMessage(Within(c.t, patience), types.NewJID(to, types.DefaultUserServer),
		&waE2E.Message{Conversation: proto.String(text)})
	require.NoError(c.t, err)
	return resp.ID
}

// WaitTexts waits for n messages and returns their texts.
func (c *Client) WaitTexts(n int) []string {
	c.t.Helper()
	var texts []string
	c.Wait(c.t, fmt.Sprint(n, " messages"), func() bool {
		texts = nil
		for _, evt := range c.Events() {
			if m, ok := evt.(*events.Message); ok && m.Info.Category != "peer" { // keys and history are no one's words
				texts = append(texts, m.Message.GetConversation()+m.Message.GetExtendedTextMessage().GetText())
			}
		}
		return len(texts) >= n
	})
	return texts
}
