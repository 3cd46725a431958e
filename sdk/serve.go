// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// Serve makes this process a connector: call it from main, and nothing after it.
// It returns when the hub has told the process to end, and exits the process when
// the hub is gone. create makes a fresh, unconfigured connector and may be called
// several times.
//
// Standard output belongs to the handshake; whatever is written to it later goes
// to standard error, which the hub logs. A panic in Deliver fails that delivery; a
// panic in another goroutine ends the process, and the hub starts it again.
func Serve(create func() Connector) {
	if os.Getenv(HandshakeKey) != HandshakeValue {
		i := create().Info()
		_, _ = fmt.Fprintf(os.Stderr, "%s %s: %s\nThis is a Wildcat connector. The hub starts it: name it under connectors: in wildcat.yaml.\n",
			i.Type, i.Version, i.Doc)
		os.Exit(2)
	}
	stderr := os.Stderr
	if os.Getenv(LifelineEnv) == "stdin" {
		go watchParent(os.Stdin, os.Getppid, os.Exit) // ends with the process
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	p := &servePlugin{create: create, log: log, stderr: stderr}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: HandshakeKey, MagicCookieValue: HandshakeValue},
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {PluginName: p}},
		GRPCServer:       p.newGRPC,
		Logger:           hclog.New(&hclog.LoggerOptions{Output: stderr, Level: hclog.Error}),
	})
	if p.s == nil {
		os.Exit(1) // go-plugin has said why
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := p.s.stop(ctx); err != nil {
		log.Error("connector did not stop cleanly", "err", err)
	}
}

// servePlugin is the connector's half of a go-plugin plugin.
type servePlugin struct {
	create func() Connector
	log    *slog.Logger
	stderr *os.File
	s      *server
	broker *plugin.GRPCBroker
	std    sync.Once
}

// newGRPC makes the gRPC server; go-plugin calls it before GRPCServer.
func (p *servePlugin) newGRPC(opts []grpc.ServerOption) *grpc.Server {
	p.s = newServer(p.create, p.dial, p.log)
	return grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage),
		grpc.ChainUnaryInterceptor(p.redirectStd, p.s.recoverUnary))...)
}

// redirectStd undoes, with the first call that arrives, what go-plugin does after
// the handshake: it puts pipes in the place of os.Stdout and os.Stderr whose
// contents travel over gRPC, and block the writer when nobody reads them.
func (p *servePlugin) redirectStd(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	p.std.Do(func() { os.Stdout, os.Stderr = p.stderr, p.stderr })
	return next(ctx, req)
}

func (p *servePlugin) dial(id uint32) (Host, error) {
	conn, err := p.broker.DialWithOptions(id, grpc.WithDefaultCallOptions(
		grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)))
	if err != nil {
		return nil, err
	}
	return newHostClient(conn), nil // the connection lives as long as the process
}

// GRPCServer implements plugin.GRPCPlugin.
func (p *servePlugin) GRPCServer(b *plugin.GRPCBroker, g *grpc.Server) error {
	p.broker = b
	p.s.register(g)
	return nil
}

var errOtherSide = errors.New("not served on this side")

// GRPCClient implements plugin.GRPCPlugin; the hub's half is in package wire.
func (*servePlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errOtherSide
}

// Server implements plugin.Plugin.
func (*servePlugin) Server(*plugin.MuxBroker) (any, error) { return nil, errOtherSide }

// Client implements plugin.Plugin.
func (*servePlugin) Client(*plugin.MuxBroker, *rpc.Client) (any, error) { return nil, errOtherSide }

// watchParent ends the process when the hub is gone: its end of the pipe closes, or
// another process has become the parent. Deliveries in flight are lost on purpose;
// the hub, when it is back, delivers them again.
func watchParent(lifeline io.Reader, parent func() int, exit func(int)) {
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, lifeline)
		close(gone)
	}()
	first := parent()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-gone:
			exit(0)
			return
		case <-tick.C:
			if parent() != first {
				exit(0)
				return
			}
		}
	}
}
