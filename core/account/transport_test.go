package account_test

import "net/http"

// httpTransport goes nowhere: nobody listens at addr.
type httpTransport struct{ addr string }

func (t *httpTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	_, err := dialRefused(r.Context(), t.addr)
	return nil, err
}
