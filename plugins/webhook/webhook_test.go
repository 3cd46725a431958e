package webhook

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// guarded limits a client as core/egress does.
func guarded(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: 64 << 10, ResponseHeaderTimeout: 65 * time.Second}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func configured(t *testing.T, with map[string]any) *Webhook {
	t.Helper()
	w := New(Deps{HTTP: guarded(t)})
	raw, err := json.Marshal(with)
	require.NoError(t, err)
	require.NoError(t, w.Configure(raw))
	require.NoError(t, w.Start(t.Context(), nil))
	t.Cleanup(func() { require.NoError(t, w.Stop(context.Background())) })
	return w
}

func delivery() sdk.Delivery {
	return sdk.Delivery{Event: textEvent(), Attempt: 3, Ordered: true, Prev: 41}
}

// answering returns the result of a delivery to a server that answers like this.
func answering(t *testing.T, h http.HandlerFunc) sdk.Result {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	return configured(t, map[string]any{"url": srv.URL, "timeout": "1s"}).Deliver(t.Context(), delivery())
}

func TestRequestIsSignedAndComplete(t *testing.T) {
	var body []byte
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		_, _ = io.WriteString(w, "thanks")
	}))
	defer srv.Close()
	w := configured(t, map[string]any{"url": srv.URL + "/hook?token=x", "secret": secret, "headers": map[string]string{"authorization": "Bearer 1"}})
	r := w.Deliver(t.Context(), delivery())
	require.Equal(t, sdk.Result{Status: sdk.OK, Code: 200, Body: "thanks"}, r)
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "/hook?token=x", got.RequestURI)
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, textEvent().ID, got.Header.Get("webhook-id"))
	require.Equal(t, "message", got.Header.Get("X-Wildcat-Event"))
	require.Equal(t, "3", got.Header.Get("X-Wildcat-Attempt"))
	require.Equal(t, "Bearer 1", got.Header.Get("Authorization"))
	verifier, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	require.NoError(t, verifier.Verify(body, got.Header))
	want, err := render(delivery(), FormatLegacy)
	require.NoError(t, err)
	require.Equal(t, string(want), string(body))
}

func TestAnswers(t *testing.T) {
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	header := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	for _, c := range []struct {
		code int
		h    http.Header
		want sdk.Result
	}{
		{200, nil, sdk.Result{Status: sdk.OK}},
		{204, nil, sdk.Result{Status: sdk.OK}},
		{301, nil, sdk.Result{Reason: "redirect"}},
		{302, nil, sdk.Result{Reason: "redirect"}},
		{307, nil, sdk.Result{Reason: "redirect"}},
		{304, nil, sdk.Result{Reason: "redirect"}},
		{400, nil, sdk.Result{Reason: "bad_request", Limit: 3}},
		{405, nil, sdk.Result{Reason: "bad_request", Limit: 3}},
		{413, nil, sdk.Result{Reason: "bad_request", Limit: 3}},
		{414, nil, sdk.Result{Reason: "bad_request", Limit: 3}},
		{415, nil, sdk.Result{Reason: "bad_request", Limit: 3}},
		{422, nil, sdk.Result{Reason: "bad_request", Limit: 3}},
		{501, nil, sdk.Result{Reason: "bad_request", Limit: 3}},
		{401, nil, sdk.Result{Reason: "unauthorized"}},
		{403, nil, sdk.Result{Reason: "forbidden"}},
		{404, nil, sdk.Result{Reason: "not_found"}},
		{402, nil, sdk.Result{Reason: "client_error"}},
		{408, nil, sdk.Result{Reason: "client_error"}},
		{409, nil, sdk.Result{Reason: "client_error"}},
		{425, nil, sdk.Result{Reason: "client_error"}},
		{500, nil, sdk.Result{Reason: "server_error"}},
		{502, nil, sdk.Result{Reason: "server_error"}},
		{410, nil, sdk.Result{Status: sdk.Disable, Reason: "gone"}},
		{429, nil, sdk.Result{Reason: "rate_limited", Uncounted: true, After: plainAfter}},
		{429, header("Retry-After", "7"), sdk.Result{Reason: "rate_limited", Uncounted: true, After: 7 * time.Second}},
		{503, nil, sdk.Result{Reason: "unavailable"}},
		{503, header("Retry-After", "7"), sdk.Result{Reason: "unavailable", After: 7 * time.Second}},
		{500, header("Retry-After", "7"), sdk.Result{Reason: "server_error"}},
		{429, header("Retry-After", "-1"), sdk.Result{Reason: "rate_limited", Uncounted: true, After: time.Second}},
		{429, header("Retry-After", "0"), sdk.Result{Reason: "rate_limited", Uncounted: true, After: time.Second}},
		{429, header("Retry-After", "1000000000"), sdk.Result{Reason: "rate_limited", Uncounted: true, After: 24 * time.Hour}},
		{429, header("Retry-After", "99999999999999999999999"), sdk.Result{Reason: "rate_limited", Uncounted: true, After: 24 * time.Hour}},
		{429, header("Retry-After", "soon"), sdk.Result{Reason: "rate_limited", Uncounted: true, After: plainAfter}},
		{503, header("Retry-After", now.Add(90*time.Second).Format(http.TimeFormat)), sdk.Result{Reason: "unavailable", After: 90 * time.Second}},
		{503, header("Retry-After", now.Add(-time.Hour).Format(http.TimeFormat)), sdk.Result{Reason: "unavailable", After: time.Second}},
		{500, header("webhook-delivery", "disable"), sdk.Result{Status: sdk.Disable, Reason: "disabled_by_receiver"}},
		{200, header("webhook-delivery", "disable"), sdk.Result{Status: sdk.Disable, Reason: "disabled_by_receiver"}},
		{500, header("webhook-delivery", "abort-message"), sdk.Result{Status: sdk.Reject, Reason: "aborted"}},
		{200, header("webhook-delivery", "abort-message"), sdk.Result{Status: sdk.OK}},
		{500, header("webhook-delivery", "whatever"), sdk.Result{Reason: "server_error"}},
	} {
		c.want.Code = c.code
		require.Equal(t, c.want, classify(c.code, c.h, now), "%d %v", c.code, c.h)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	var hits atomic.Int32
	r := answering(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
	})
	require.Equal(t, "redirect", r.Reason)
	require.EqualValues(t, 1, hits.Load())
}

func TestBigAnswersAreReadInPart(t *testing.T) {
	r := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("x"), 10<<20))
	})
	require.Equal(t, sdk.OK, r.Status)
	require.Len(t, r.Body, keepBody)
}

func TestCompressedBombIsNotUnpacked(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 50<<20))
	require.NoError(t, z.Close())
	r := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	require.Equal(t, sdk.OK, r.Status)
	require.LessOrEqual(t, len(r.Body), 3*keepBody)
}

func TestHugeHeadersAreRefused(t *testing.T) {
	r := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Big", strings.Repeat("x", 9<<20))
	})
	require.Equal(t, sdk.Retry, r.Status)
	require.Equal(t, "network", r.Reason)
}

// raw serves one connection by hand after the request was read.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 64<<10)
			_, _ = c.Read(buf)
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func drip(c net.Conn, s string) {
	for i := range len(s) {
		if _, err := c.Write([]byte{s[i]}); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestDrippingHeadersTimeOut(t *testing.T) {
	u := raw(t, func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", 200)) })
	start := time.Now()
	r := configured(t, map[string]any{"url": u, "timeout": "1s"}).Deliver(t.Context(), delivery())
	require.Equal(t, sdk.Retry, r.Status)
	require.Equal(t, "timeout", r.Reason)
	require.Less(t, time.Since(start), 3*time.Second)
}

func TestDrippingBodyAfterSuccessIsASuccess(t *testing.T) {
	u := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
		drip(c, strings.Repeat("a", 200))
	})
	start := time.Now()
	r := configured(t, map[string]any{"url": u, "timeout": "1s"}).Deliver(t.Context(), delivery())
	require.Equal(t, sdk.OK, r.Status)
	require.Equal(t, "answer_incomplete", r.Reason)
	require.Less(t, time.Since(start), 3*time.Second)
}

func TestResetAfterTheStatusIsASuccess(t *testing.T) {
	u := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	r := configured(t, map[string]any{"url": u}).Deliver(t.Context(), delivery())
	require.Equal(t, sdk.OK, r.Status)
	require.Equal(t, "answer_incomplete", r.Reason)
}

func TestNobodyThereIsANetworkFailureThatTellsNoSecret(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	r := configured(t, map[string]any{"url": "http://user:hunter2@" + addr + "/x?token=s3cret"}).Deliver(t.Context(), delivery())
	require.Equal(t, "network", r.Reason)
	require.Contains(t, r.Body, "refused")
	require.NotContains(t, r.Body, "hunter2")
	require.NotContains(t, r.Body, "s3cret")
}

func TestReasonsOfFailure(t *testing.T) {
	r := configured(t, map[string]any{"url": "http://nothing.invalid/"}).Deliver(t.Context(), delivery())
	require.Equal(t, "dns", r.Reason)

	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	r = configured(t, map[string]any{"url": tls.URL}).Deliver(t.Context(), delivery())
	require.Equal(t, "tls", r.Reason, "a certificate nobody signed")
}

type blockedError struct{}

func (blockedError) Error() string       { return "no" }
func (blockedError) EgressBlocked() bool { return true }

func TestBlockedAddressHasItsOwnReason(t *testing.T) {
	w := New(Deps{HTTP: &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, blockedError{} })}})
	require.NoError(t, w.Configure([]byte(`{"url":"http://10.0.0.1/"}`)))
	require.Equal(t, "egress_blocked", w.Deliver(t.Context(), delivery()).Reason)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConfigurationMistakesNameTheirPath(t *testing.T) {
	for with, path := range map[string]string{
		`{}`:                                  "url",
		`{"url":"ftp://x/"}`:                  "url",
		`{"url":"http://"}`:                   "url",
		`{"url":"://"}`:                       "url",
		`{"url":3}`:                           "url",
		`{"url":"http://127.0.0.1:99999/"}`:   "url",
		`{"url":"http://127.0.0.1:0/"}`:       "url",
		`{"url":"http://[::1]:65536"}`:        "url",
		`{"url":"http://x","secret":"nope"}`:  "secret",
		`{"url":"http://x","timeout":"1h"}`:   "timeout",
		`{"url":"http://x","timeout":"fast"}`: "timeout",
		`{"url":"http://x","format":"xml"}`:   "format",

		`{"url":"http://x","headers":{"webhook-id":"1"}}`: "headers.webhook-id",
		`{"url":"http://x","headers":{"a b":"1"}}`:        "headers.a b",
		`{"url":"http://x","headers":{"a":"1\r\nb: 2"}}`:  "headers.a",
		`{"url":"http://x","ulr":"y"}`:                    "ulr",
		`{"url":"http://x","headers":{"a":5}}`:            "headers.a",
		`{"url":"http://x","headers":[]}`:                 "headers",
		`null`:                                            "url",
		`null x`:                                          "",
		`[]`:                                              "",
	} {
		err := New(Deps{}).Configure([]byte(with))
		var ce *sdk.ConfigError
		require.ErrorAs(t, err, &ce, with)
		require.Equal(t, path, ce.Path, with)
	}
}

func TestEveryConfigurationMistakeIsReported(t *testing.T) {
	mistakes := func(with string) string {
		err := New(Deps{}).Configure([]byte(with))
		require.Error(t, err)
		return err.Error()
	}
	require.Equal(t, strings.Join([]string{
		`ftm: unknown field "ftm"`,
		`headers: must be an object, not a number`,
		`timeot: unknown field "timeot", did you mean "timeout"?`,
		`url: is required`,
		`secret: must be whsec_ followed by the base64 of 16 to 128 bytes`,
		`timeout: must be a duration from 1s to 60s, such as 20s`,
		`format: must be legacy or envelope, did you mean "envelope"?`,
	}, "\n"), mistakes(`{"timeot":"1s","ftm":1,"headers":3,"secret":"nope","timeout":"2h","format":"envelop"}`))
	require.Equal(t, strings.Join([]string{
		`headers.a: must be text, not a number`,
		`headers.a b: is not a header name`,
		`headers.host: Host is set by the hub`,
	}, "\n"), mistakes(`{"url":"http://x","headers":{"host":"x","a b":"1","a":5}}`))
	require.Equal(t, `ulr: unknown field "ulr", did you mean "url"?`, mistakes(`{"ulr":"http://x"}`), "its absence goes without saying")
	require.Equal(t, "ulr: unknown field \"ulr\", did you mean \"url\"?\nurl: must begin with http:// or https://",
		mistakes(`{"ulr":"http://x","url":"ftp://x"}`), "what is there is read")
	require.Equal(t, `url: must be text, not a list`, mistakes(`{"url":[]}`))
	require.NotContains(t, mistakes(`{"url":"http://user:hunter2@"}`), "hunter2")
}

func TestUnusedWebhookIsHarmless(t *testing.T) {
	w := New(Deps{HTTP: guarded(t)})
	require.Error(t, w.Start(t.Context(), nil))
	require.NoError(t, w.Stop(t.Context()))
	require.NoError(t, w.Stop(t.Context()))
	require.Equal(t, sdk.Retry, w.Deliver(t.Context(), delivery()).Status)
	require.True(t, json.Valid(w.Info().Schema))
	require.Equal(t, 16, w.Info().InFlight)
}
