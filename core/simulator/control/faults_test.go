package control_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestTheControlAPIMakesFaultsAndShowsStanzas(t *testing.T) {
	s := newServer(t, "")
	api := newChecker(t, s)
	ann, _ := simtest.AddPhone(t, s, "15550001"), simtest.AddPhone(t, s, "15550002")
	status, body := api.do("POST", "/sandbox/trace", `{"keep":500}`)
	require.Equal(t, 200, status)
	require.Equal(t, "{\"keep\":500}\n", body)
	c := simtest.NewClient(t, s)
	device := c.Pair(ann).JID().String()

	// A message is held until it is released.
	status, body = api.do("POST", "/sandbox/faults", `{"action":"hold","direction":"out","tag":"message","device":"15550001","id":"LATE1"}`)
	require.Equal(t, 201, status, body)
	require.Contains(t, body, `"id":1,`)
	status, _ = api.do("POST", "/sandbox/phones/15550002/send", `{"to":"15550001","text":"late","id":"LATE1"}`)
	require.Equal(t, 200, status)
	_, err := s.WaitStanza(simtest.Within(t, 10*time.Second), func(st simulator.Stanza) bool { return strings.HasPrefix(st.Fault, "hold") })
	require.NoError(t, err)
	status, body = api.do("GET", "/sandbox/faults", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"hits":1,"held":1`)
	status, body = api.do("POST", "/sandbox/faults/1/release", `{"order":"reversed"}`)
	require.Equal(t, 200, status)
	require.Equal(t, "{\"released\":1}\n", body)
	require.Equal(t, []string{"late"}, c.WaitTexts(1))
	status, _ = api.do("DELETE", "/sandbox/faults/1", "")
	require.Equal(t, 200, status)

	// A stanza out of nowhere.
	status, _ = api.do("POST", "/sandbox/devices/"+device+"/inject",
		`{"xml":"<chatstate from=\"15550002@s.whatsapp.net\"><composing media=\"audio\"/></chatstate>"}`)
	require.Equal(t, 200, status)
	simtest.WaitEvent(t, &c.Inbox, func(e *events.ChatPresence) bool { return e.Sender.User == "15550002" })

	// A ban: the next login is refused.
	status, body = api.do("POST", "/sandbox/devices/"+device+"/login-failure", `{"code":405,"times":1}`)
	require.Equal(t, 201, status, body)
	status, _ = api.do("POST", "/sandbox/devices/"+device+"/cut", "")
	require.Equal(t, 200, status)
	simtest.WaitEvent(t, &c.Inbox, simtest.AnyOf[*events.ClientOutdated])
	status, _ = api.do("DELETE", "/sandbox/faults", "")
	require.Equal(t, 200, status)
	_, body = api.do("GET", "/sandbox/faults", "")
	require.Equal(t, "{\"faults\":[]}\n", body)

	// What the trace kept of all that.
	status, body = api.do("GET", "/sandbox/trace?device=15550001&direction=out", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"tag":"chatstate"`)
	require.NotContains(t, body, `"direction":"in"`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/sandbox/trace/live?device="+device, nil)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && !strings.Contains(lines.Text(), `"tag":"success"`) {
	}
	require.Contains(t, lines.Text(), `"tag":"success"`)
	require.NoError(t, resp.Body.Close())

	for _, r := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/sandbox/faults", `{"action":"explode"}`, 400, "bad_fault"},
		{"POST", "/sandbox/faults/9/release", `{}`, 404, "unknown_fault"},
		{"DELETE", "/sandbox/faults/9", ``, 404, "unknown_fault"},
		{"GET", "/sandbox/trace?direction=up", ``, 400, "bad_direction"},
		{"GET", "/sandbox/trace?after=x", ``, 400, "bad_after"},
		{"POST", "/sandbox/trace", `{"keep":-1}`, 400, "bad_keep"},
		{"POST", "/sandbox/devices/" + device + "/inject", `{"xml":"<a><b></a>"}`, 400, "bad_stanza"},
		{"POST", "/sandbox/devices/" + device + "/inject", `{"xml":"` + strings.Repeat("<a>", 65) + strings.Repeat("</a>", 65) + `"}`, 400, "nested deeper"},
		{"POST", "/sandbox/devices/" + device + "/inject", `{"xml":"<a/><b/>"}`, 400, "bad_stanza"},
		{"POST", "/sandbox/devices/" + device + "/inject", `{"xml":"<iq id=\"1\"/>","queued":true}`, 400, "bad_stanza"},
	} {
		status, body := call(t, s, r.method, r.path, r.body)
		require.Equal(t, r.status, status, body)
		require.Contains(t, body, r.code)
	}
}
