package whatsapp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"go.mau.fi/libsignal/logger"
	"go.mau.fi/whatsmeow"
	wastore "go.mau.fi/whatsmeow/store"
	"google.golang.org/protobuf/proto"

	"github.com/wildcathub/wildcat/core/store"
)

// ErrOtherNetwork says that the data belongs to another network: an account of the
// real WhatsApp that logs in to a sandbox is told 401, upon which whatsmeow deletes its keys.
var ErrOtherNetwork = errors.New("the data folder belongs to another WhatsApp network")

// live is the name of the real network.
const live = "live"

// Network is how WhatsApp is reached. It is one for the whole process, since what
// whatsmeow trusts is: call Install once, before the first client.
type Network struct {
	// Name is "live", or a sandbox's root key in hex.
	Name string
	// HTTP reaches WhatsApp's hosts.
	HTTP *http.Client
	root *[32]byte
}

// Timeouts of one connection. The handshake behind them has whatsmeow's own, 20 s.
const (
	dialTimeout   = 10 * time.Second
	headerTimeout = 15 * time.Second
)

// Live is the real WhatsApp, through the proxy that the environment names.
func Live() *Network {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	return &Network{Name: live, HTTP: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: d.DialContext,
		TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 8,
	}}}
}

// InstallConfig is what WhatsApp is told about this program.
type InstallConfig struct {
	// DeviceName is shown on the phone under linked devices.
	DeviceName string
	// Version, if not zero, is the version of WhatsApp Web to be.
	Version [3]uint32
}

// Install sets what whatsmeow keeps per process. It is not safe once a client exists.
func (n *Network) Install(cfg InstallConfig) {
	if logger.Logger == nil {
		// libsignal prints to standard output otherwise, and sets that up with a race.
		var silent logger.Loggable = mute{}
		logger.Setup(&silent)
	}
	if n.root != nil {
		whatsmeow.WACertPubKey = *n.root
	}
	if cfg.DeviceName != "" {
		wastore.DeviceProps.Os = proto.String(cfg.DeviceName)
	}
	if v := wastore.WAVersionContainer(cfg.Version); !v.IsZero() {
		wastore.SetWAVersion(v)
		// SetWAVersion does not change what goes over the wire.
		wastore.BaseClientPayload.UserAgent.AppVersion = v.ProtoAppVersion()
	}
}

// LatestVersion asks WhatsApp which version of its web client is current, which keeps
// "client outdated" away. On a sandbox, and when there is no answer within timeout, it
// is zero: then the version that whatsmeow was built with is used.
func (n *Network) LatestVersion(ctx context.Context, timeout time.Duration, log *slog.Logger) [3]uint32 {
	if n.root != nil {
		return [3]uint32{}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := whatsmeow.GetLatestVersion(ctx, n.HTTP)
	if err != nil {
		log.Warn("WhatsApp's current version is unknown", "component", "whatsapp", "err", err)
		return [3]uint32{}
	}
	return *v
}

// The place of the pin.
const (
	pinNamespace = "hub"
	pinKey       = "network"
)

// Pinned returns the name of the network that the data belongs to, "" if none yet.
func Pinned(ctx context.Context, kv store.KV) (string, error) {
	name, err := kv.GetKV(ctx, pinNamespace, pinKey)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read pinned network: %w", err)
	}
	return string(name), nil
}

// Pin ties the data to this network when it is first used, and refuses another one
// later, with ErrOtherNetwork, before any connection.
func (n *Network) Pin(ctx context.Context, kv store.KV) error {
	old, err := kv.GetKV(ctx, pinNamespace, pinKey)
	if errors.Is(err, store.ErrNotFound) {
		if err = kv.SwapKV(ctx, pinNamespace, pinKey, nil, []byte(n.Name)); err == nil {
			return nil
		}
		if errors.Is(err, store.ErrStale) {
			old, err = kv.GetKV(ctx, pinNamespace, pinKey)
		}
	}
	if err != nil {
		return fmt.Errorf("pin network: %w", err)
	}
	if string(old) != n.Name {
		return fmt.Errorf("%w: it was used with %s, and now with %s is configured", ErrOtherNetwork, called(string(old)), called(n.Name))
	}
	return nil
}

func called(name string) string {
	if name == live {
		return "the real WhatsApp"
	}
	if len(name) > 8 {
		name = name[:8]
	}
	return "the sandbox " + name
}

// Close drops idle connections.
func (n *Network) Close() { n.HTTP.CloseIdleConnections() }

// parseRoot reads a root key of 64 hex digits.
func parseRoot(s string) (*[32]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		return nil, errors.New("root key is not 64 hex digits")
	}
	return (*[32]byte)(b), nil
}

type mute struct{}

func (mute) Debug(string, string)   {}
func (mute) Info(string, string)    {}
func (mute) Warning(string, string) {}
func (mute) Error(string, string)   {}
func (mute) Configure(string)       {}
