// SPDX-License-Identifier: Apache-2.0

package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/wildcathub/wildcat/sdk"
	"github.com/wildcathub/wildcat/sdk/wire"
)

// serveEnv holds, in the copy of the test binary, the name of the test that serves.
const serveEnv = "WILDCAT_SDKTEST_SERVE"

// serving says whether this process is a copy that was started by spawn for t.
func serving(t *testing.T) bool { return os.Getenv(serveEnv) == t.Name() }

// exit ends the copy before the test binary prints what it thinks of the tests.
func exit() { os.Exit(0) }

// remote is a connector in a process of its own, without the hub's supervision.
type remote struct {
	client *plugin.Client
	config *plugin.ClientConfig
	peer   *wire.Peer
	dir    string

	mu     sync.Mutex
	stream *wire.Stream
}

// spawn starts a copy of the test binary that serves the connector of the test name.
func spawn(t *testing.T, name string) sdk.Connector {
	t.Helper()
	var pattern []string
	for part := range strings.SplitSeq(name, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	cmd := exec.CommandContext(context.Background(), os.Args[0], "-test.run="+strings.Join(pattern, "/"), "-test.count=1") //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), serveEnv+"="+name)
	dir, err := os.MkdirTemp("", "sdk-") // short: a socket's path has about 100 bytes
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, plugin.EnvUnixSocketDir+"="+dir)
	config := &plugin.ClientConfig{
		HandshakeConfig: wire.Handshake(), VersionedPlugins: wire.Plugins(), Cmd: cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, AutoMTLS: true, SkipHostEnv: true,
		StartTimeout: patience, GRPCDialOptions: wire.DialOptions(), Logger: hclog.NewNullLogger(), Stderr: os.Stderr,
	}
	r := &remote{client: plugin.NewClient(config), config: config, dir: dir}
	t.Cleanup(func() {
		r.end()
		_ = os.RemoveAll(dir)
	})
	protocol, err := r.client.Client()
	if err != nil {
		t.Fatalf("start the connector in a process of its own: %v", err)
	}
	raw, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	r.peer, _ = raw.(*wire.Peer)
	return r
}

// Info implements sdk.Connector.
func (r *remote) Info() sdk.Info {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	i, err := r.peer.Describe(ctx)
	if err != nil {
		i.Doc = err.Error()
	}
	return i
}

// Configure implements sdk.Connector.
func (r *remote) Configure(with json.RawMessage) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.peer.Validate(ctx, with); err != nil {
		return err
	}
	return r.peer.Configure(ctx, with)
}

// Start implements sdk.Connector.
func (r *remote) Start(ctx context.Context, h sdk.Host) error {
	if err := r.peer.Start(ctx, h, r.config.TLSConfig); err != nil {
		return err
	}
	st, err := r.peer.Open(ctx, wire.StreamConfig{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = st
	return err
}

// Deliver implements sdk.Connector.
func (r *remote) Deliver(ctx context.Context, d sdk.Delivery) sdk.Result {
	r.mu.Lock()
	st := r.stream
	r.mu.Unlock()
	if st == nil {
		return sdk.Result{Reason: "not started"}
	}
	res, _ := st.Deliver(ctx, d)
	return res
}

// Stop implements sdk.Connector: the connector drains, and its process remains.
func (r *remote) Stop(ctx context.Context) error {
	err := r.peer.Drain(ctx)
	var gone *wire.CallError
	if errors.As(err, &gone) && gone.Code == "Unavailable" {
		return errors.New("the process has ended: " + gone.Message)
	}
	return err
}

func (r *remote) end() {
	r.mu.Lock()
	st := r.stream
	r.mu.Unlock()
	if st != nil {
		st.Close()
	}
	r.client.Kill()
	if r.peer != nil {
		r.peer.Close()
	}
}
