package api

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/keys"
)

// Each check writes to the database: whoever has no key must not be able to keep it busy.
func TestStrangersDoNotDecideHowOftenTheDatabaseIsWritten(t *testing.T) {
	r := newRig(t)
	h := r.make1(t, keys.Request{Scope: keys.Read})
	r.checks = []Check{{Name: "store", OK: true}}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequestWithContext(gone, "GET", "/readyz", nil)
	req.Host = "127.0.0.1:3000"
	r.server.Handler().ServeHTTP(httptest.NewRecorder(), req)
	for range 20 {
		require.Equal(t, 200, r.do("GET /readyz", "").Code, "one that hung up is not what others are told")
	}
	require.Equal(t, 1, r.readied)
	r.checks = []Check{{Name: "store", Error: "away"}}
	require.Equal(t, 503, r.do("GET /readyz", "", h).Code)
	require.Equal(t, 503, r.do("GET /readyz", "", h).Code)
	require.Equal(t, 3, r.readied)
	require.Equal(t, 200, r.do("GET /readyz", "").Code)
	r.later += readyEvery
	require.Equal(t, 503, r.do("GET /readyz", "").Code)
	require.Equal(t, 4, r.readied)
}
