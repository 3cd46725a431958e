package whatsapp

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// ErrNotLoopback refuses a sandbox on another machine: whoever runs it is WhatsApp to
// this process.
var ErrNotLoopback = errors.New("a sandbox is reached at a loopback address only")

// rootKeyPath is where a sandbox tells its key; the contract that any simulator can honour.
const rootKeyPath = "/sandbox/root-key"

// Waiting for a sandbox that is not up yet.
const (
	rootKeyMin     = 100 * time.Millisecond
	rootKeyMax     = 2 * time.Second
	rootKeyTimeout = 5 * time.Second
	rootKeyLimit   = 4 << 10
)

// Sandbox is the simulator at a URL such as http://127.0.0.1:4000. It waits for the
// simulator's root key until ctx ends; a bad URL fails at once.
func Sandbox(ctx context.Context, rawURL string, log *slog.Logger) (*Network, error) {
	addr, err := sandboxAddr(rawURL)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", rawURL, err)
	}
	client := sandboxClient(addr)
	wait := rootKeyMin
	for {
		root, err := fetchRoot(ctx, client, addr)
		if err == nil {
			return &Network{Name: hex.EncodeToString(root[:]), HTTP: client, root: root}, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("sandbox at %s: %w", addr, err)
		}
		log.Warn("waiting for the sandbox", "component", "whatsapp", "address", addr, "err", err, "duration", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, rootKeyMax)
	}
}

// KnownSandbox is a sandbox whose root key is remembered from an earlier run, as
// Pinned tells it: it need not be up yet.
func KnownSandbox(rawURL, rootKey string) (*Network, error) {
	addr, err := sandboxAddr(rawURL)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", rawURL, err)
	}
	root, err := parseRoot(rootKey)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", rawURL, err)
	}
	return &Network{Name: rootKey, HTTP: sandboxClient(addr), root: root}, nil
}

// sandboxAddr returns the URL's host and port, which must be loopback.
func sandboxAddr(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", errors.New("not a URL")
	}
	if u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return "", errors.New("want http://HOST:PORT and nothing more")
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
		return "", errors.New("want http://HOST:PORT, the port included")
	}
	host := u.Hostname()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return "", ErrNotLoopback
	}
	return net.JoinHostPort(host, u.Port()), nil
}

// sandboxClient dials addr whatever the URL says, for https as well: what comes from
// DialTLSContext counts as being past TLS, so the sandbox needs no certificate.
func sandboxClient(addr string) *http.Client {
	d := &net.Dialer{Timeout: dialTimeout}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dial, DialTLSContext: dial, ResponseHeaderTimeout: headerTimeout,
			IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 8,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func fetchRoot(ctx context.Context, client *http.Client, addr string) (*[32]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, rootKeyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+rootKeyPath, nil)
	if err != nil {
		return nil, fmt.Errorf("ask for the root key: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for the root key: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask for the root key: status %d", resp.StatusCode)
	}
	var body struct {
		RootKey string `json:"root_key"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, rootKeyLimit)).Decode(&body); err != nil {
		return nil, fmt.Errorf("read the root key: %w", err)
	}
	return parseRoot(body.RootKey)
}
