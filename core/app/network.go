package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/core/whatsapp"
)

// network is the WhatsApp that this process lives on, for its whole life.
type network struct {
	*whatsapp.Network
	// sandbox is set if it runs in this process.
	sandbox *simulator.Server
}

const (
	// versionTimeout bounds the question for WhatsApp's current version at the start.
	versionTimeout = 5 * time.Second
	// sandboxTimeout is how long a start waits for a sandbox that is known already.
	sandboxTimeout = 2 * time.Second
)

// openNetwork decides which WhatsApp it is, and refuses one that the data does not
// belong to. The first start on a sandbox waits until that is up.
func openNetwork(ctx context.Context, cfg *config.Config, kv store.KV, deps Deps) (*network, error) {
	n := &network{}
	var err error
	switch {
	case cfg.WhatsApp.Network != config.NetworkSandbox:
		n.Network = whatsapp.Live()
	case cfg.WhatsApp.URL != "":
		n.Network, err = reachSandbox(ctx, cfg.WhatsApp.URL, kv, deps)
	default:
		if n.sandbox, err = simulator.New(simulator.Options{
			Dir: filepath.Join(cfg.Data, "sandbox"), Logger: deps.Logger, Control: control.Handler,
			Trace: 2000, // stanzas, for the page
		}); err != nil {
			return nil, fmt.Errorf("open sandbox: %w", err)
		}
		if err = n.sandbox.Start("127.0.0.1:0"); err == nil {
			n.Network, err = whatsapp.Sandbox(ctx, n.sandbox.URL(), deps.Logger)
		}
	}
	if err == nil {
		err = n.Pin(ctx, kv)
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	n.Install(whatsapp.InstallConfig{
		DeviceName: cfg.WhatsApp.DeviceName, Version: n.LatestVersion(ctx, versionTimeout, deps.Logger),
	})
	if cfg.WhatsApp.Network == config.NetworkSandbox {
		url := cfg.WhatsApp.URL
		if n.sandbox != nil {
			url = n.sandbox.URL()
		}
		deps.Logger.Warn("SANDBOX: this hub talks to a simulated WhatsApp, not to the real one", "component", "app", "address", url)
	}
	return n, nil
}

// reachSandbox asks the sandbox for its key. One that is down at a later start is
// taken at the key it had: its accounts reconnect once it is back.
func reachSandbox(ctx context.Context, url string, kv store.KV, deps Deps) (*whatsapp.Network, error) {
	pinned, err := whatsapp.Pinned(ctx, kv)
	if err != nil {
		return nil, err
	}
	known, err := whatsapp.KnownSandbox(url, pinned)
	if pinned == "" || err != nil { // another network is refused by Pin
		return whatsapp.Sandbox(ctx, url, deps.Logger)
	}
	short, cancel := context.WithTimeout(ctx, sandboxTimeout)
	defer cancel()
	if n, err := whatsapp.Sandbox(short, url, deps.Logger); err == nil {
		return n, nil
	}
	return known, ctx.Err()
}

func (n *network) close() error {
	if n.Network != nil {
		n.Close()
	}
	if n.sandbox != nil {
		return n.sandbox.Close()
	}
	return nil
}
