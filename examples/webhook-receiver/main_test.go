// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func newReceiver(t *testing.T, l *eventLog, at time.Time) *receiver {
	t.Helper()
	key, err := parseSecret(secret)
	require.NoError(t, err)
	return &receiver{key: key, log: l, now: func() time.Time { return at }}
}

func send(t *testing.T, h http.Handler, id, body string, sign func(http.Header)) int {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	at := time.Unix(1614265330, 0)
	sig, err := wh.Sign(id, at, []byte(body))
	require.NoError(t, err)
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", "1614265330")
	req.Header.Set("webhook-signature", sig)
	req.Header.Set("X-Wildcat-Event", "message")
	req.Header.Set("X-Wildcat-Attempt", "1")
	if sign != nil {
		sign(req.Header)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec.Code
}

func TestSignedEventIsWrittenOnce(t *testing.T) {
	var out bytes.Buffer
	r := newReceiver(t, newLog(&out, nil), time.Unix(1614265331, 0))
	require.Equal(t, 204, send(t, r, "a", `{"text": "hi"}`, nil))
	require.Equal(t, 204, send(t, r, "a", `{"text": "hi"}`, nil), "a repetition is a success")
	require.Equal(t, 204, send(t, r, "b", `{}`, func(h http.Header) {
		h.Set("webhook-signature", "v1,AAAA v2,x "+h.Get("webhook-signature"))
	}))
	require.Equal(t, `{"id":"a","type":"message","attempt":"1","event":{"text":"hi"}}
{"id":"b","type":"message","attempt":"1","event":{}}
`, out.String())
}

func TestWhatIsNotOursIsRefused(t *testing.T) {
	var out bytes.Buffer
	r := newReceiver(t, newLog(&out, nil), time.Unix(1614265331, 0))
	require.Equal(t, 401, send(t, r, "a", `{}`, func(h http.Header) { h.Set("webhook-signature", "v1,AAAA") }))
	require.Equal(t, 401, send(t, r, "a", `{}`, func(h http.Header) { h.Del("webhook-signature") }))
	require.Equal(t, 401, send(t, r, "a", `{}`, func(h http.Header) { h.Set("webhook-id", "b") }))
	require.Equal(t, 401, send(t, r, "a", `{}`, func(h http.Header) { h.Set("webhook-timestamp", "x") }))
	late := newReceiver(t, newLog(&out, nil), time.Unix(1614265330, 0).Add(6*time.Minute))
	require.Equal(t, 401, send(t, late, "a", `{}`, nil))
	require.Equal(t, 400, send(t, r, "a", `{`, nil))
	require.Empty(t, out.String())
	_, err := parseSecret("MfKQ")
	require.Error(t, err)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWhatCouldNotBeWrittenIsAskedForAgain(t *testing.T) {
	r := newReceiver(t, newLog(failing{}, nil), time.Unix(1614265331, 0))
	require.Equal(t, 500, send(t, r, "a", `{}`, nil))
}

func TestLogSurvivesARestart(t *testing.T) {
	var out bytes.Buffer
	l := newLog(&out, nil)
	require.NoError(t, l.load(strings.NewReader(`{"id":"a","type":"message","attempt":"1","event":{}}`+"\n"+`{"id":"b","ty`)))
	require.NoError(t, l.append(line{ID: "a", Event: []byte("{}")}))
	require.NoError(t, l.append(line{ID: "b", Event: []byte("{}")}))
	require.Equal(t, "\n"+`{"id":"b","type":"","attempt":"","event":{}}`+"\n", out.String())
}

func TestRunListensAndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	file := filepath.Join(t.TempDir(), "events.jsonl")
	done := make(chan error, 1)
	pr, pw, err := os.Pipe()
	require.NoError(t, err)
	go func() { done <- run(ctx, "127.0.0.1:0", secret, file, pw) }()
	buf := make([]byte, 256)
	n, err := pr.Read(buf)
	require.NoError(t, err)
	url := strings.TrimSpace(strings.TrimPrefix(string(buf[:n]), "listening on "))
	resp, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	cancel()
	require.NoError(t, <-done)
	require.FileExists(t, file)
	require.Error(t, run(t.Context(), "127.0.0.1:0", "nope", "", pw))
	http.DefaultClient.CloseIdleConnections()
	_ = pr.Close()
	_ = pw.Close()
}
