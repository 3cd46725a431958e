package account_test

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// httpTransport goes nowhere: nobody listens at addr.
type httpTransport struct{ addr string }

func (t *httpTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	_, err := dialRefused(r.Context(), t.addr)
	return nil, err
}

// mute reaches addr, which takes the connection and says nothing.
func mute(addr string) http.RoundTripper {
	d := &net.Dialer{}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	return &http.Transport{DialContext: dial, DialTLSContext: dial}
}

// cutter cuts a connection right after a chosen write.
type cutter struct {
	mu   sync.Mutex
	left int
}

// after has the n-th write from now be the connection's last; 0 cuts nothing.
func (c *cutter) after(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = n
}

func (c *cutter) through(addr string) http.RoundTripper {
	d := &net.Dialer{}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return &cutConn{conn, c}, nil
	}
	return &http.Transport{DialContext: dial, DialTLSContext: dial}
}

type cutConn struct {
	net.Conn
	c *cutter
}

func (c *cutConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	if c.c.left > 0 {
		if c.c.left--; c.c.left == 0 {
			_ = c.Close()
		}
	}
	return n, err
}
