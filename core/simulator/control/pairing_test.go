package control_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestAClientPairsByCodeThroughTheControlAPI(t *testing.T) {
	s := newServer(t, "")
	simtest.AddPhone(t, s, "15550001")
	const path = "/sandbox/phones/15550001/enter-code"
	refused := func(code string, status int, want string) {
		t.Helper()
		got, body := call(t, s, "POST", path, `{"code":"`+code+`"}`)
		require.Equal(t, status, got, body)
		require.Contains(t, body, `"code":"`+want+`"`)
	}
	refused("ABCD-EFGH", 404, "unknown_pairing_code")
	refused("ABCD", 400, "bad_pairing_code")
	status, body := call(t, s, "POST", "/sandbox/phones/15550001/spoil-link", `{"how":"nicely"}`)
	require.Equal(t, 400, status, body)

	c := simtest.NewClient(t, s)
	require.NoError(t, c.Connect())
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.QR])
	code, err := c.PairPhone(simtest.Within(t, 30*time.Second), "15550001", true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	require.NoError(t, err)
	wrong := "ABCD-EFGH"
	if code == wrong {
		wrong = "ABCD-EFGJ"
	}
	refused(wrong, 409, "wrong_pairing_code")
	status, body = call(t, s, "POST", path, `{"code":"`+code+`"}`)
	require.Equal(t, 200, status, body)
	require.Contains(t, body, `"jid":"15550001:1@s.whatsapp.net"`)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.Connected])
}

func TestASpoiltLinkIsRefusedByTheClient(t *testing.T) {
	s := newServer(t, "")
	simtest.AddPhone(t, s, "15550001")
	status, body := call(t, s, "POST", "/sandbox/phones/15550001/spoil-link", `{"how":"signature"}`)
	require.Equal(t, 200, status, body)
	c := simtest.NewClient(t, s)
	require.NoError(t, c.Connect())
	qr := simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.QR]).Codes[0]
	status, body = call(t, s, "POST", "/sandbox/phones/15550001/scan", `{"qr":"`+qr+`"}`)
	require.Equal(t, 409, status)
	require.Contains(t, body, "signature-mismatch")
}

func TestASnapshotIsTakenOverHTTP(t *testing.T) {
	s := newServer(t, "")
	simtest.AddPhone(t, s, "15550001")
	status, body := call(t, s, http.MethodGet, "/sandbox/snapshot", "")
	require.Equal(t, 200, status)
	restored, err := simulator.New(simulator.Options{Snapshot: strings.NewReader(body), Control: control.Handler})
	require.NoError(t, err)
	require.NotNil(t, restored.Phone("15550001"))
	var again bytes.Buffer
	require.NoError(t, restored.Snapshot(&again))
	require.Equal(t, body, again.String())
	require.NoError(t, restored.Close())
}
