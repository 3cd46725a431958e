package account_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
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
		return &cutConn{Conn: conn, c: c}, nil
	}
	return &http.Transport{DialContext: dial, DialTLSContext: dial}
}

type cutConn struct {
	net.Conn
	c *cutter
	// deaf: what answers the last write is not heard, however fast it is.
	deaf atomic.Bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	c.c.mu.Lock()
	last := c.c.left == 1
	c.c.left = max(c.c.left-1, 0)
	c.c.mu.Unlock()
	if !last {
		return c.Conn.Write(p)
	}
	c.deaf.Store(true)
	n, err := c.Conn.Write(p)
	_ = c.Close()
	return n, err
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.deaf.Load() {
		return 0, net.ErrClosed
	}
	return n, err
}
