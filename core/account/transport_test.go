package account_test

import (
	"context"
	"net"
	"net/http"
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
