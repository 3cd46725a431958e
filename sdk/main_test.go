// SPDX-License-Identifier: Apache-2.0

package sdk_test

import (
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/wildcathub/wildcat/sdk"
	"github.com/wildcathub/wildcat/sdk/wire"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a connector whose answers a test chooses.
type fake struct {
	info      sdk.Info
	configure func(json.RawMessage) error
	start     func(context.Context, sdk.Host) error
	deliver   func(context.Context, sdk.Delivery) sdk.Result
	stopped   chan struct{}
}

func (f *fake) Info() sdk.Info { return f.info }

func (f *fake) Configure(with json.RawMessage) error {
	if f.configure == nil {
		return nil
	}
	return f.configure(with)
}

func (f *fake) Start(ctx context.Context, h sdk.Host) error {
	if f.start == nil {
		return nil
	}
	return f.start(ctx, h)
}

func (f *fake) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	if f.deliver == nil {
		return sdk.Result{Status: sdk.OK}
	}
	return f.deliver(ctx, d)
}

func (f *fake) Stop(context.Context) error {
	if f.stopped != nil {
		close(f.stopped)
	}
	return nil
}

func connect(t *testing.T, f *fake) *wire.Peer {
	t.Helper()
	lis := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	sdk.RegisterForTest(g, func() sdk.Connector { return f }, nil)
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(lis) }()
	conn, err := grpc.NewClient("passthrough:///test",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	p := wire.NewPeer(conn, nil)
	t.Cleanup(func() {
		p.Close()
		require.NoError(t, conn.Close())
		g.Stop()
		<-served
	})
	return p
}

func started(t *testing.T, f *fake, cfg wire.StreamConfig) (*wire.Peer, *wire.Stream) {
	t.Helper()
	p := connect(t, f)
	require.NoError(t, p.Start(t.Context(), nil, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	st, err := p.Open(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(st.Close)
	return p, st
}

func event(chat string, seq uint64) *sdk.Event {
	return &sdk.Event{ID: chat + string(rune('a'+seq%26)), Type: sdk.TypeMessage, Account: "acc", Chat: chat, Seq: seq}
}

func deliver(ctx context.Context, st *wire.Stream, d sdk.Delivery) sdk.Result {
	r, _ := st.Deliver(ctx, d)
	return r
}
