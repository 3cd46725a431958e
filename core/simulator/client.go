package simulator

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.mau.fi/whatsmeow"
)

// HTTPClient returns a client whose every connection, whatever host it is meant for and
// whether it is meant to be encrypted, goes to this server. It is what whatsmeow has to be given
// in place of the real network. Close it with CloseIdleConnections.
func (s *Server) HTTPClient() *http.Client { return loopbackClient(s.Addr) }

// ClientFor is [Server.HTTPClient] for a server in another process, named by its URL. It
// refuses a URL that is not a loopback address.
func ClientFor(serverURL string) (*http.Client, error) {
	u, err := url.Parse(serverURL)
	if err != nil || u.Scheme != "http" || u.Port() == "" {
		return nil, fmt.Errorf("sandbox url %q: want http://127.0.0.1:PORT", serverURL)
	}
	if err = checkLoopback(u.Host); err != nil {
		return nil, err
	}
	return loopbackClient(func() string { return u.Host }), nil
}

func loopbackClient(addr func() string) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", addr())
	}
	// A connection from DialTLSContext counts as past its handshake, so plain HTTP is spoken over it.
	return &http.Client{Transport: &http.Transport{DialContext: dial, DialTLSContext: dial}}
}

// Install makes a whatsmeow client talk to this server. Call it before the client connects.
//
// It also sets whatsmeow.WACertPubKey, which is a variable of the process: while it holds
// this server's key no client of the process can reach the real WhatsApp, nor a server with
// another key. Several servers in one process share a key through Options.Root.
func (s *Server) Install(client *whatsmeow.Client) {
	Trust(s.RootKey())
	h := s.HTTPClient()
	client.SetWebsocketHTTPClient(h)
	client.SetPreLoginHTTPClient(h)
	client.SetMediaHTTPClient(h)
}

// Trust makes the whatsmeow clients of this process accept servers with this root key,
// and no others. Call it while no client is connecting.
func Trust(root [32]byte) {
	if whatsmeow.WACertPubKey != root { // unchanged, it is safe beside running clients
		whatsmeow.WACertPubKey = root
	}
}
