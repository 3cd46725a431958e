package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/store"
)

// passedOn is what a client gets for a request that is passed on.
func passedOn(r *rig, request, body string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	method, path, _ := strings.Cut(request, " ")
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Host = "127.0.0.1:3000"
	r.server.Handler().ServeHTTP(closeNotifier{rec}, req)
	return rec
}

// A holder that dies with a message in its hands may have sent it: whoever is told to try
// again would send it twice.
func TestAMessageWhoseHolderDiedAfterItWasPassedOnIsUncertain(t *testing.T) {
	r, p := withPeers(t)
	holder := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer holder.Close()
	p.url = holder.URL
	rec := passedOn(r, "POST /accounts/shop/message/send", aText)
	require.Equal(t, 504, rec.Code, rec.Body.String())
	require.Contains(t, rec.Body.String(), `"send_uncertain"`)
	// What can be repeated without harm may be.
	for _, request := range []string{"GET /accounts/shop/status", "POST /accounts/shop/connect", "DELETE /accounts/shop"} {
		rec = passedOn(r, request, "")
		require.Equal(t, 503, rec.Code, request)
		require.Contains(t, rec.Body.String(), `"hub_unreachable"`)
	}
	// So may what did not arrive.
	holder.Close()
	rec = passedOn(r, "POST /accounts/shop/message/send", aText)
	require.Equal(t, 503, rec.Code)
	require.Contains(t, rec.Body.String(), `"hub_unreachable"`)
}

// It is the client's fault wherever the account is.
func TestABodyThatIsTooLargeIsRefusedAsOnTheHolder(t *testing.T) {
	r, p := withPeers(t)
	holder := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { _, _ = io.Copy(io.Discard, req.Body) }))
	defer holder.Close()
	p.url = holder.URL
	rec := passedOn(r, "POST /accounts/shop/message/send", strings.Repeat(" ", int(r.server.cfg.Server.MaxBody)+1))
	require.Equal(t, 413, rec.Code, rec.Body.String())
}

func TestConnectingAnAccountThatNobodyHoldsMayBeTriedAgain(t *testing.T) {
	for code, cause := range map[string]error{"account_moving": ErrMoving, "storage_unavailable": store.ErrAway} {
		r, _ := withPeers(t)
		r.connectErr = fmt.Errorf("ask: %w", cause)
		for _, request := range []string{"POST /accounts/shop/connect", "POST /v1/accounts/shop/disconnect"} {
			rec := r.do(request, "")
			require.Equal(t, 503, rec.Code, request)
			require.Contains(t, rec.Body.String(), fmt.Sprintf("%q", code))
		}
	}
}

// A holder that was stopped does not answer, and another hub has its accounts after a while.
func TestAHubThatHoldsTheAccountNoMoreIsNotWaitedFor(t *testing.T) {
	r, p := withPeers(t)
	p.hereErr = ErrMoving
	stopped := make(chan struct{})
	holder := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stopped }))
	defer holder.Close()
	defer close(stopped)
	p.url = holder.URL
	for request, want := range map[string]string{"POST /accounts/shop/connect": "hub_unreachable", "POST /accounts/shop/message/send": "send_uncertain"} {
		p.asked, p.moved = 0, "third"
		rec := passedOn(r, request, aText)
		require.Contains(t, rec.Body.String(), fmt.Sprintf("%q", want), request)
	}
}
