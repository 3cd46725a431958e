package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALoopbackListenerAnswersToLoopbackNamesOnly(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Server.AllowHosts = []string{"hub.example.com"} })
	for host, status := range map[string]int{
		"127.0.0.1:3000": 200, "127.1.2.3": 200, "localhost": 200, "LOCALHOST:99": 200, "localhost.:1": 200, "[::1]:3000": 200, "[::1]": 200,
		"hub.example.com": 200, "HUB.example.com:443": 200,
		"evil.example.com": 403, "127.0.0.1.evil.com:3000": 403, "localhost.evil.com": 403, "": 403, "0.0.0.0:3000": 403, "10.0.0.1": 403,
	} {
		rec := r.do("GET /ping", "", "Host: "+host)
		require.Equal(t, status, rec.Code, host)
		if status == 403 {
			require.Contains(t, rec.Body.String(), `"code":"host_not_allowed"`)
		}
	}
}

func TestAnOpenListenerAnswersToAnyName(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Server.Host = "0.0.0.0" })
	require.Equal(t, 200, r.do("GET /ping", "", "Host: hub.example.com").Code)
	require.Equal(t, 201, r.do("POST /accounts", `{"id":"a"}`, "Host: hub.example.com", "Origin: https://hub.example.com").Code)
	require.Equal(t, 403, r.do("POST /accounts", `{"id":"b"}`, "Host: hub.example.com", "Origin: https://evil.example.com").Code)
}

func TestOtherPeoplesWebPagesCannotWrite(t *testing.T) {
	for _, c := range []struct {
		header string
		status int
	}{
		{"Origin: https://evil.example.com", 403},
		{"Origin: null", 403},
		{"Origin: file://", 403},
		{"Origin: http://127.0.0.1.evil.com", 403},
		{"Sec-Fetch-Site: cross-site", 403},
		{"Origin: http://localhost:8080", 201},
		{"Origin: http://127.0.0.1:3000", 201},
		{"Sec-Fetch-Site: same-origin", 201},
		{"Accept: */*", 201},
	} {
		r := newRig(t)
		rec := r.do("POST /accounts", `{"id":"a"}`, c.header)
		require.Equal(t, c.status, rec.Code, c.header)
		_, created := r.accounts["a"]
		require.Equal(t, c.status == 201, created)
		require.Equal(t, 200, r.do("GET /ping", "", c.header).Code, "reading is for the browser's own rules")
	}
}

func TestABodyLargerThanConfiguredIsRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Server.MaxBody = 1024 })
	require.Equal(t, 413, r.do("POST /accounts", `{"id":"`+strings.Repeat("a", 2000)+`"}`).Code)
}

func TestRequestsAreCountedByTheirPattern(t *testing.T) {
	r := newRig(t)
	r.do("GET /accounts/shop", "")
	r.do("GET /v1/accounts/none", "")
	r.do("GET /no/such/thing", "")
	r.do("BREW /no/such/thing", "")
	exposed := r.do("GET /metrics", "").Body.String()
	for _, line := range []string{
		`wildcat_http_requests_total{code="200",method="GET",route="/accounts/:accountId"} 1`,
		`wildcat_http_requests_total{code="404",method="GET",route="/v1/accounts/:accountId"} 1`,
		`wildcat_http_requests_total{code="404",method="GET",route="unmatched"} 1`,
		`wildcat_http_requests_total{code="404",method="other",route="unmatched"} 1`,
		`wildcat_http_request_duration_seconds_count{method="GET",route="/accounts/:accountId"} 1`,
	} {
		require.Contains(t, exposed, line)
	}
}

func TestTheLogHoldsNoQuery(t *testing.T) {
	r := newRig(t)
	r.do("GET /messages?accountId=shop&token=hunter2", "")
	require.Contains(t, r.logs.String(), "path=/messages code=200")
	require.NotContains(t, r.logs.String(), "hunter2")
}

func TestServerStartsAndStops(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Server.Port = 0; c.SendTimeout = time.Minute })
	require.NoError(t, r.server.Stop(t.Context()), "without a start")
	require.NoError(t, r.server.Start(t.Context()))
	require.Error(t, r.server.Start(t.Context()))
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	base := "http://" + r.server.Addr().String()

	res, err := client.Get(base + "/ping")
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, res.Body)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 200, res.StatusCode)

	res, err = client.Head(base + "/ping")
	require.NoError(t, err)
	data, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Empty(t, data)

	// A request that waits for WhatsApp is let go when the hub stops.
	r.block = true
	answered := make(chan int, 1)
	go func() {
		res, err := client.Post(base+"/accounts/shop/message/send", "application/json", bytes.NewBufferString(`{"to":"9@lid","message":"x"}`))
		if err != nil {
			answered <- 0
			return
		}
		_ = res.Body.Close()
		answered <- res.StatusCode
	}()
	require.Eventually(t, func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.sent) == 1 }, 5*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, r.server.Stop(ctx))
	require.Equal(t, 503, <-answered)
	require.NoError(t, r.server.Stop(ctx), "twice")
	select {
	case err := <-r.server.Failed():
		t.Fatal(err)
	default:
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Server.Port = 0 })
	require.NoError(t, r.server.Start(t.Context()))
	defer func() { require.NoError(t, r.server.Stop(context.Background())) }()
	other := newRig(t, func(c *Config) {
		c.Server.Port = portOf(t, r.server.Addr().String())
	})
	require.ErrorContains(t, other.server.Start(t.Context()), "address already in use")
}
