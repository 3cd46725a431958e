// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"sync"

	"github.com/hashicorp/go-plugin"
	"github.com/wildcathub/wildcat/sdk"
	pb "github.com/wildcathub/wildcat/sdk/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// Handshake is what go-plugin needs to know a connector by.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{MagicCookieKey: sdk.HandshakeKey, MagicCookieValue: sdk.HandshakeValue}
}

// Plugins is, by protocol version, what this hub can speak with.
func Plugins() map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: half{}}}
}

// DialOptions bound the messages that go-plugin's client would take without end.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithDefaultCallOptions(
		grpc.MaxCallRecvMsgSize(sdk.MaxMessage), grpc.MaxCallSendMsgSize(sdk.MaxMessage))}
}

// half is the hub's half of the go-plugin plugin; dispensing it gives a *Peer.
type half struct{}

var errOtherSide = errors.New("not served on this side")

// GRPCServer implements plugin.GRPCPlugin.
func (half) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return errOtherSide }

// GRPCClient implements plugin.GRPCPlugin.
func (half) GRPCClient(_ context.Context, b *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewPeer(conn, b), nil
}

// Server implements plugin.Plugin.
func (half) Server(*plugin.MuxBroker) (any, error) { return nil, errOtherSide }

// Client implements plugin.Plugin.
func (half) Client(*plugin.MuxBroker, *rpc.Client) (any, error) { return nil, errOtherSide }

// broker is what is used of go-plugin's.
type broker interface {
	NextId() uint32
	Accept(id uint32) (net.Listener, error)
}

// Peer is one running connector, called in the order Describe, Configure, Start,
// Open. Close releases what Start serves; the connection belongs to the caller.
type Peer struct {
	c      pb.ConnectorClient
	broker broker
	mu     sync.Mutex
	host   *grpc.Server
	wg     sync.WaitGroup
}

// NewPeer makes a peer of a connection; b may be nil when no Host is to be served.
func NewPeer(conn grpc.ClientConnInterface, b *plugin.GRPCBroker) *Peer {
	p := &Peer{c: pb.NewConnectorClient(conn)}
	if b != nil {
		p.broker = b
	}
	return p
}

// Describe asks what the connector is.
func (p *Peer) Describe(ctx context.Context) (sdk.Info, error) {
	m, err := p.c.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return sdk.Info{}, callError("describe", err)
	}
	return Info(m), nil
}

// Validate checks a configuration; mistakes are *sdk.ConfigError, joined.
func (p *Peer) Validate(ctx context.Context, with json.RawMessage) error {
	r, err := p.c.Validate(ctx, &pb.Config{With: with})
	if err != nil {
		return callError("validate", err)
	}
	return problems(r)
}

// Configure sets the configuration; mistakes are *sdk.ConfigError, joined.
func (p *Peer) Configure(ctx context.Context, with json.RawMessage) error {
	r, err := p.c.Configure(ctx, &pb.Config{With: with})
	if err != nil {
		return callError("configure", err)
	}
	return problems(r)
}

// Start serves host to the connector, under the connection's own TLS keys (nil:
// none), and starts the connector. host may be nil.
func (p *Peer) Start(ctx context.Context, host sdk.Host, keys *tls.Config) error {
	id, err := p.serveHost(host, keys)
	if err != nil {
		return fmt.Errorf("serve host: %w", err)
	}
	if _, err := p.c.Start(ctx, &pb.StartRequest{Host: id}); err != nil {
		return callError("start", err)
	}
	return nil
}

func (p *Peer) serveHost(host sdk.Host, keys *tls.Config) (uint32, error) {
	if host == nil || p.broker == nil {
		return 0, nil
	}
	id := p.broker.NextId()
	lis, err := p.broker.Accept(id)
	if err != nil {
		return 0, err
	}
	opts := []grpc.ServerOption{grpc.MaxRecvMsgSize(sdk.MaxMessage), grpc.MaxSendMsgSize(sdk.MaxMessage)}
	if keys != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(keys)))
	}
	g := grpc.NewServer(opts...)
	pb.RegisterHostServer(g, &hostServer{host: host})
	p.mu.Lock()
	p.host = g
	p.mu.Unlock()
	p.wg.Go(func() {
		_ = g.Serve(lis)
		_ = lis.Close() // removes the socket's file
	})
	return id, nil
}

// Open opens the stream; ctx bounds the opening only.
func (p *Peer) Open(ctx context.Context, cfg StreamConfig) (*Stream, error) {
	return open(ctx, p.c, cfg)
}

// Health is a connector's own view of itself.
type Health struct {
	// Serving is false when the connector says that it cannot work.
	Serving bool
	// Reason may say why it is not serving, or degraded.
	Reason string
	// Backlog counts deliveries that it has not answered.
	Backlog int
}

// Health asks for the connector's state.
func (p *Peer) Health(ctx context.Context) (Health, error) {
	r, err := p.c.Health(ctx, &pb.HealthRequest{})
	if err != nil {
		return Health{}, callError("health", err)
	}
	ok := r.GetState() != pb.HealthReply_STATE_NOT_SERVING
	return Health{Serving: ok, Reason: short(r.GetReason(), sdk.MaxReason), Backlog: int(r.GetBacklog())}, nil
}

// Drain lets the connector finish and release everything.
func (p *Peer) Drain(ctx context.Context) error {
	if _, err := p.c.Drain(ctx, &pb.DrainRequest{}); err != nil {
		return callError("drain", err)
	}
	return nil
}

// Close stops serving Host. It may be called twice.
func (p *Peer) Close() {
	p.mu.Lock()
	g := p.host
	p.mu.Unlock()
	if g != nil {
		g.Stop()
	}
	p.wg.Wait()
}

func problems(r *pb.Problems) error {
	var errs []error
	for _, p := range r.GetProblems() {
		errs = append(errs, &sdk.ConfigError{Path: p.GetPath(), Message: p.GetMessage()})
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// callError drops gRPC's wrapping and keeps the connector's words.
func callError(what string, err error) error {
	return fmt.Errorf("%s: %w", what, &CallError{Code: status.Code(err).String(), Message: status.Convert(err).Message()})
}

// CallError is a call that the connector refused, or that did not reach it.
type CallError struct {
	Code    string // gRPC's name of the code
	Message string
}

// Error implements error.
func (e *CallError) Error() string { return e.Message }
