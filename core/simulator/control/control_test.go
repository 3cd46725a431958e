package control_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

// call uses the control API as a program does.
func call(t testing.TB, s *simulator.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, bytes.NewBufferString(body))
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(raw)
}

func TestTheControlAPIPlaysAWholeConversation(t *testing.T) {
	s := newServer(t, "")
	api := newChecker(t, s)
	status, body := api.do("GET", "/sandbox/root-key", "")
	require.Equal(t, 200, status)
	require.Equal(t, fmt.Sprintf("{\"root_key\":\"%x\"}\n", s.RootKey()), body)

	status, _ = api.do("POST", "/sandbox/phones", `{"number":"+15550001","name":"Ann"}`)
	require.Equal(t, 201, status)
	status, _ = api.do("POST", "/sandbox/phones", `{"number":"15550002","name":"Ben"}`)
	require.Equal(t, 201, status)

	c := simtest.NewClient(t, s)
	qr, err := c.GetQRChannel(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Connect())
	code, err := json.Marshal(map[string]string{"qr": (<-qr).Code})
	require.NoError(t, err)
	status, body = api.do("POST", "/sandbox/phones/15550001/scan", string(code))
	require.Equal(t, 200, status, body)
	for range qr {
	}
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.Connected])

	status, body = api.do("POST", "/sandbox/phones/15550002/send", `{"to":"15550001","text":"one"}`)
	require.Equal(t, 200, status)
	require.Contains(t, body, `"id":"3A`)
	status, _ = api.do("POST", "/sandbox/send-batch", `{"messages":[{"from":"15550002","to":"15550001","text":"two"},{"from":"15550002","to":"15550001","text":"three"}]}`)
	require.Equal(t, 200, status)
	require.Equal(t, []string{"one", "two", "three"}, c.WaitTexts(3))

	c.Say("15550002", "answer")
	_, err = s.Phone("15550002").WaitReceived(simtest.Within(t, 10*time.Second), 1)
	require.NoError(t, err)
	status, body = api.do("GET", "/sandbox/phones/15550002/received?after=0", "")
	require.Equal(t, 200, status)
	var got struct{ Messages []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Len(t, got.Messages, 1)
	require.Equal(t, "answer", got.Messages[0]["text"])
	require.Equal(t, "15550001", got.Messages[0]["from"])
	require.EqualValues(t, 1, got.Messages[0]["copies"])
	status, body = api.do("GET", "/sandbox/phones/15550002/received?after=1", "")
	require.Equal(t, 200, status)
	require.Equal(t, "{\"messages\":[]}\n", body)

	status, body = api.do("GET", "/sandbox/devices", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"jid":"15550001:1@s.whatsapp.net"`)
	require.Contains(t, body, `"online":true`)
	status, _ = api.do("POST", "/sandbox/devices/15550001:1@s.whatsapp.net/cut", "")
	require.Equal(t, 200, status)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.Disconnected])
	status, body = api.do("GET", "/sandbox/stats", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"last_ack_ns":1`)
	status, body = api.do("GET", "/sandbox/invariants", "")
	require.Equal(t, 200, status)
	require.Equal(t, "{\"count\":0,\"violations\":[]}\n", body)
	status, _ = api.do("POST", "/sandbox/phones/15550001/unlink", "")
	require.Equal(t, 200, status)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.LoggedOut])
}

func TestTheControlAPINamesItsErrors(t *testing.T) {
	s := newServer(t, "")
	simtest.AddPhone(t, s, "15550001")
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/sandbox/phones", `{"number":"15550001"}`, 409, "number_taken"},
		{"POST", "/sandbox/phones", `{"number":"hello"}`, 400, "bad_number"},
		{"POST", "/sandbox/phones", `{"numbre":"1"}`, 400, "bad_json"},
		{"POST", "/sandbox/phones/15550001/scan", `{"qr":"x"}`, 400, "bad_qr"},
		{"POST", "/sandbox/phones/15550009/send", `{}`, 404, "unknown_number"},
		{"POST", "/sandbox/phones/15550001/send", `{"to":"15550009","text":"x"}`, 404, "unknown_number"},
		{"POST", "/sandbox/devices/15550001:1@s.whatsapp.net/cut", ``, 404, "unknown_device"},
		{"GET", "/sandbox/phones/15550001/received?after=x", ``, 400, "bad_after"},
		{"GET", "/sandbox/nothing", ``, 404, "not_found"},
	} {
		status, body := call(t, s, c.method, c.path, c.body)
		require.Equal(t, c.status, status, c.path)
		require.Contains(t, body, `"code":"`+c.code+`"`, c.path)
		require.Contains(t, body, `"ok":false`)
	}
}

func TestTheControlAPIAnswersThisMachineOnly(t *testing.T) {
	s := newServer(t, "")
	for name, value := range map[string]string{"Host": "evil.example", "Origin": "http://evil.example"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/sandbox/phones", bytes.NewBufferString(`{"number":"15550001"}`))
		require.NoError(t, err)
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusForbidden, resp.StatusCode, name)
	}
	other, err := simulator.New(simulator.Options{})
	require.NoError(t, err)
	require.ErrorIs(t, other.Start("0.0.0.0:0"), simulator.ErrNotLoopback)
	require.ErrorIs(t, other.Start(":0"), simulator.ErrNotLoopback)
	require.NoError(t, other.Close())
	_, err = simulator.ClientFor("http://10.0.0.1:80")
	require.ErrorIs(t, err, simulator.ErrNotLoopback)
}
